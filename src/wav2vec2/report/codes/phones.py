"""Which phone is spoken in every frame: pronunciations of words, and intervals of time from an alignment.

CTC emits a symbol in one or two frames somewhere within its sound, with blanks around it, so the times of characters
are marks rather than extents. Here every character extends halfway to its neighbours; at the edges of a word it extends
`REACH` seconds at most, so that pauses stay pauses. A word's phones share its time in proportion to its characters:
with n characters and m phones, phone j has the time of characters j n/m to (j + 1) n/m.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.errors import UserError
from wav2vec2.input_file import MOST_LINES, read_text
from wav2vec2.output.alignment import Alignment
from wav2vec2.output.timed import TimedWord

REACH = 0.1
SILENCE, UNKNOWN = "sil", ""

Pronounce = Callable[[str], Sequence[str] | None]
"""From a written word to its phones; None if they are not known."""


@dataclass(frozen=True)
class Interval:
    """What is spoken from `start` to `end` (seconds); the label is `UNKNOWN` where that is not known."""

    start: float
    end: float
    label: str


def character_intervals(alignment: Alignment) -> list[Interval]:
    """The extent of every character that has a time; labels are the characters as written."""
    return [
        Interval(float(edges[place]), float(edges[place + 1]), symbol)
        for _, symbols, edges in _words(alignment)
        for place, symbol in enumerate(symbols)
    ]


def phone_intervals(alignment: Alignment, pronounce: Pronounce) -> list[Interval]:
    """The extent of every phone; a word without a pronunciation is one unknown interval."""
    intervals = []
    for word, symbols, edges in _words(alignment):
        phones = pronounce(word) or [UNKNOWN]
        places = np.arange(len(phones) + 1) * (len(symbols) / len(phones))
        times = np.interp(places, np.arange(len(edges)), edges)
        intervals += [Interval(float(times[i]), float(times[i + 1]), phone) for i, phone in enumerate(phones)]
    return intervals


def frame_labels(intervals: Sequence[Interval], times: NDArray[np.float64]) -> list[str]:
    """The label of the interval that each time falls into, `SILENCE` where there is none.

    Args:
        intervals: in order, without overlap.
        times: in seconds, such as the centres of frames.
    """
    if not intervals:
        return [SILENCE] * len(times)
    starts = np.array([interval.start for interval in intervals])
    ends = np.array([interval.end for interval in intervals])
    places = np.searchsorted(starts, times, side="right") - 1
    inside = (places >= 0) & (times < ends[places])
    return [intervals[place].label if there else SILENCE for place, there in zip(places, inside, strict=True)]


def read_phn(text: str, source: str, *, sample_rate: int = SAMPLE_RATE, start: float = 0.0) -> list[Interval]:
    """Read a TIMIT .PHN file: lines of first sample, last sample and phone.

    Args:
        text: content of the file.
        source: its name, for errors.
        sample_rate: of the sample numbers.
        start: where the utterance begins in its recording, in seconds; subtracted from every time.

    Raises:
        UserError: a line is not of that form, or begins before the phone above it ends.
    """
    intervals: list[Interval] = []
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split()
        if not fields:
            continue
        try:
            first, last, label = int(fields[0]), int(fields[1]), fields[2]
        except (ValueError, IndexError):
            raise UserError(f"{source}: line {number} is not 'first-sample last-sample phone'; correct it") from None
        interval = Interval(first / sample_rate - start, last / sample_rate - start, label)
        if interval.end < interval.start or (intervals and interval.start < intervals[-1].end):
            raise UserError(
                f"{source}: line {number} begins before the phone above it ends; sort and correct the lines"
            )
        intervals.append(interval)
    return intervals


def _words(alignment: Alignment) -> list[tuple[str, list[str], NDArray[np.float64]]]:
    """For each word with a time: its text, its timed characters (N), and the edges of their extents (N + 1)."""
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


_VARIANT = re.compile(r"\(\d+\)$")
_EDGES = re.compile(r"^\W+|\W+$")
_STRESS = re.compile("[ˈˌ'\"]|(?<=[A-Za-z])[0-9]$")  # in IPA and in ARPAbet
_INSTALL = "pip install 'wav2vec2[phones]', or give a lexicon file of 'word phone phone ...' lines"


class Pronunciations:
    """The phones of words; a word is found in any letter case, with or without punctuation around it."""

    def __init__(self, phones: Mapping[str, Sequence[str]]) -> None:
        self._phones = {word_key(word): tuple(spelled) for word, spelled in phones.items()}

    def __call__(self, word: str) -> tuple[str, ...] | None:
        """The phones of a word; None if it is not known."""
        return self._phones.get(word_key(word))

    def __len__(self) -> int:
        return len(self._phones)


def word_key(word: str) -> str:
    """A word as it is looked up: case folded, without punctuation around it."""
    return _EDGES.sub("", word.casefold().replace("’", "'"))


def read_phone_lexicon(path: str | Path) -> Pronunciations:
    """Read a pronouncing dictionary as CMUdict, MFA and Kaldi have it: on each line, a word and its phones.

    The first of several pronunciations counts; `;;;` and `#` begin comments; stress marks are removed.

    Raises:
        UserError: the file cannot be read, has no entry, or has a line without phones.
    """
    try:
        lines = read_text(path, encoding="utf-8-sig", most=MOST_LINES).splitlines()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give a file of 'word phone phone ...'") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    phones: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith((";;;", "#")):
            continue
        word, *spelled = line.split(" #")[0].split()
        bare = tuple(filter(None, map(without_stress, spelled)))
        if not bare:
            raise UserError(f"{path}: line {number} has no phones; each line must be a word and its phones")
        phones.setdefault(word_key(_VARIANT.sub("", word)), bare)
    if not phones:
        raise UserError(f"{path}: has no words; each line must be a word and its phones")
    return Pronunciations(phones)


def espeak_pronunciations(words: Iterable[str], language: str) -> Pronunciations:
    """The phones (IPA, without stress) that espeak-ng gives each word on its own. Works offline.

    Raises UserError if phonemizer or espeak-ng is not installed, or espeak-ng does not have the language.
    """
    try:
        import espeakng_loader
        from phonemizer.backend import EspeakBackend
        from phonemizer.backend.espeak.wrapper import EspeakWrapper
        from phonemizer.separator import Separator
    except ImportError:
        raise UserError(f"espeak: phonemizer and espeakng-loader are not installed; {_INSTALL}") from None
    EspeakWrapper.set_library(espeakng_loader.get_library_path())
    EspeakWrapper.set_data_path(espeakng_loader.get_data_path())
    try:
        backend = EspeakBackend(language, language_switch="remove-flags")
    except RuntimeError as error:
        raise UserError(f"espeak: {' '.join(str(error).split())}; give another --language, such as en-us") from None
    asked = sorted({key for key in map(word_key, words) if key})
    spelled = backend.phonemize(asked, separator=Separator(phone=" ", word="|", syllable=""), strip=True)
    # one written word may be several spoken ones: 21 is "twenty one"
    phones = {
        word: tuple(filter(None, map(without_stress, text.replace("|", " ").split())))
        for word, text in zip(asked, spelled, strict=True)
    }
    return Pronunciations({word: text for word, text in phones.items() if text})


def without_stress(phone: str) -> str:
    """A phone without its stress mark: AH0 -> AH, ˈɑː -> ɑː."""
    return _STRESS.sub("", phone)
