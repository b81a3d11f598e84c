"""From the times of a text's characters to labelled intervals of time, and from those to a label for every frame.

CTC writes a symbol in one or two frames somewhere in its sound and blanks around it, so the times of its characters
are marks, not extents. Here every character reaches to the middle of the gap to its neighbour; at the edges of a word
at most `REACH` seconds far, so that pauses stay pauses. A word's phones divide its time as evenly as its characters
stand for them: with n characters and m phones, phone j has the time of characters j n/m to (j + 1) n/m.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from wav2vec2.errors import UserError
from wav2vec2.output.alignment_files import Alignment, TimedWord

REACH = 0.1
SILENCE, UNKNOWN = "sil", ""

Pronounce = Callable[[str], Sequence[str] | None]
"""A written word -> its phones, None if they are not known."""


@dataclass(frozen=True)
class Interval:
    """Seconds from `start` to `end`, and what is said in them: `UNKNOWN` where that is not known."""

    start: float
    end: float
    label: str


def character_intervals(alignment: Alignment) -> list[Interval]:
    """Every character that has a time, in its own form, with its extent."""
    return [
        Interval(float(edges[place]), float(edges[place + 1]), symbol)
        for _, symbols, edges in _words(alignment)
        for place, symbol in enumerate(symbols)
    ]


def phone_intervals(alignment: Alignment, pronounce: Pronounce) -> list[Interval]:
    """Every phone with its share of its word's time; a word without a pronunciation is one unknown interval."""
    intervals = []
    for word, symbols, edges in _words(alignment):
        phones = pronounce(word) or [UNKNOWN]
        places = np.arange(len(phones) + 1) * (len(symbols) / len(phones))
        times = np.interp(places, np.arange(len(edges)), edges)
        intervals += [Interval(float(times[i]), float(times[i + 1]), phone) for i, phone in enumerate(phones)]
    return intervals


def frame_labels(intervals: Sequence[Interval], times: NDArray[np.float64]) -> list[str]:
    """The label of the interval that each time falls into, `SILENCE` where there is none.

    `intervals` are in order and do not overlap; `times` are seconds.
    """
    if not intervals:
        return [SILENCE] * len(times)
    starts = np.array([interval.start for interval in intervals])
    ends = np.array([interval.end for interval in intervals])
    places = np.searchsorted(starts, times, side="right") - 1
    inside = (places >= 0) & (times < ends[places])
    return [intervals[place].label if there else SILENCE for place, there in zip(places, inside, strict=True)]


def read_phn(text: str, source: str, *, sample_rate: int = 16_000, start: float = 0.0) -> list[Interval]:
    """Labels by hand in TIMIT's form: lines of first sample, last sample and phone.

    `start` seconds are taken off every time: where the utterance begins in its file. Raises UserError naming `source`
    and the line for anything else.
    """
    intervals: list[Interval] = []
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split()
        if not fields:
            continue
        try:
            first, last, label = int(fields[0]), int(fields[1]), fields[2]
        except (ValueError, IndexError):
            raise UserError(f"{source}: line {number} is not 'first-sample last-sample phone'; mend it") from None
        interval = Interval(first / sample_rate - start, last / sample_rate - start, label)
        if interval.end < interval.start or (intervals and interval.start < intervals[-1].end):
            raise UserError(f"{source}: line {number} begins before the phone above it ends; sort and mend the lines")
        intervals.append(interval)
    return intervals


def _words(alignment: Alignment) -> list[tuple[str, list[str], NDArray[np.float64]]]:
    """Words with a time: as written, their characters with a time, and the edges of these, one more."""
    timed = [(word.text, _timed(word)) for word in alignment.words]
    timed = [(text, symbols) for text, symbols in timed if symbols]
    result = []
    for number, (text, symbols) in enumerate(timed):
        before = timed[number - 1][1][-1][2] if number else -np.inf
        after = timed[number + 1][1][0][1] if number + 1 < len(timed) else np.inf
        first, last = symbols[0][1], symbols[-1][2]
        inner = [(left[2] + right[1]) / 2 for left, right in pairwise(symbols)]
        left = max(0.0, first - REACH, (before + first) / 2)
        right = min(alignment.seconds, last + REACH, (last + after) / 2)
        result.append((text, [symbol[0] for symbol in symbols], np.array([left, *inner, right])))
    return result


def _timed(word: TimedWord) -> list[tuple[str, float, float]]:
    return [(s.text, s.start, s.end) for s in word.characters if s.start is not None and s.end is not None]
