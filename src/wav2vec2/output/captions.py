"""Captions: the words of a recording in pieces that can be read while they are spoken, as SubRip (.srt) and WebVTT.

The rules are those of broadcasters: one or two lines of 42 columns, at most 20 characters a second, at least a second
and at most six, one caption at a time. A word is never split. Where the captions are cut is chosen for the whole
recording, so that the sum of what is wrong with each of them is least: a cut where no sentence ends and nobody pauses,
a pause or the end of a sentence in its midst, and words that come faster than they can be read.

Where speech is faster than 20 characters a second all the same, a caption stays until it has been read, and the next
one comes later than its first word, by two seconds at most.

Wide (East Asian) characters count twice. Words without a time are shown with the word before them.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from wav2vec2.output.timed import TimedText

COLUMNS, CHARACTERS_PER_SECOND = 42, 20
# Milliseconds.
SHORTEST, LONGEST, LATEST = 1000, 6000, 2000
_PAUSE = 1000  # ends a caption

_SENTENCE_END = re.compile(r"[.!?…。！？।؟]['\"”’»)\]]*$")
_CLAUSE_END = re.compile(r"[,;:，、；：،]$")


@dataclass(frozen=True)
class Caption:
    """One or two lines, and when they are shown: milliseconds from the start of the audio."""

    start: int
    end: int
    lines: tuple[str, ...]


@dataclass(frozen=True)
class _Word:
    """A word, its columns, when it is spoken (milliseconds), whether it ends a sentence, and what a cut after it costs.

    A cut costs nothing at the end of a sentence, and else the less the longer the pause is, up to half a second.
    """

    text: str
    width: int
    start: int
    end: int
    sentence: bool = False
    cut: float = 0.0


def captions(text: TimedText) -> list[Caption]:
    """Return the captions of a recording, in order, without overlap; none if no word has a time."""
    words = _placed(text)
    glue = 1 if text.spaced else 0
    pieces = _pieces(words, glue)
    found: list[Caption] = []
    free = 0
    for number, (first, last) in enumerate(pieces):
        lines = _lines(words[first : last + 1], glue)
        start = max(words[first].start, free)
        reading = -(-1000 * sum(map(columns, lines)) // CHARACTERS_PER_SECOND)
        wanted = max(words[last].end, start + max(SHORTEST, reading))
        if number + 1 < len(pieces):
            following = words[pieces[number + 1][0]].start
            end = min(wanted, max(following, min(start + max(SHORTEST, reading), following + LATEST)))
        else:
            end = min(wanted, max(round(1000 * text.seconds), words[last].end, start + reading))
        free = max(end, start + 1)
        found.append(Caption(start, free, lines))
    return found


def as_srt(text: TimedText) -> str:
    """Return SubRip captions; an arrow of ASCII characters within a word becomes a real one."""
    blocks = (
        f"{number}\n{_clock(caption.start, ',')} --> {_clock(caption.end, ',')}\n{_joined(caption, '-->', '→')}\n"
        for number, caption in enumerate(captions(text), 1)
    )
    return "\n".join(blocks)


def as_vtt(text: TimedText) -> str:
    """Return WebVTT captions, with the characters that its markup uses as entities."""
    blocks = (
        f"\n{_clock(caption.start, '.')} --> {_clock(caption.end, '.')}\n"
        f"{_joined(caption, '&', '&amp;').replace('<', '&lt;').replace('>', '&gt;')}\n"
        for caption in captions(text)
    )
    return "".join(["WEBVTT\n", *blocks])


def columns(text: str) -> int:
    """Number of columns: two for wide East Asian characters, none for combining marks and joiners."""
    if text.isascii():
        return len(text)
    return sum(
        2 if unicodedata.east_asian_width(char) in "WF" else unicodedata.category(char) not in ("Mn", "Me", "Cf")
        for char in text
    )


def _placed(text: TimedText) -> list[_Word]:
    """Return the words with times in order: a word without one takes the end of the word before it.

    Words before the first one with a time take its start. If there is none, nothing is returned.
    """
    starts = [word.start for word in text.words if word.start is not None]
    if not starts:
        return []
    placed: list[_Word] = []
    reached = round(1000 * starts[0])
    for word in text.words:
        start = reached if word.start is None else max(reached, round(1000 * word.start))
        reached = start if word.end is None else max(start, round(1000 * word.end))
        sentence = bool(_SENTENCE_END.search(word.text))
        placed.append(_Word(word.text, columns(word.text), start, reached, sentence))
    return [replace(word, cut=_cut(word, following.start)) for word, following in pairwise(placed)] + placed[-1:]


def _cut(word: _Word, following: int) -> float:
    """What is wrong with a cut between this word and the one that starts at `following`, from 0 to 1."""
    if word.sentence:
        return 0.0
    return (0.4 if _CLAUSE_END.search(word.text) else 1.0) * (1 - min(500, following - word.end) / 500)


def _pieces(words: list[_Word], glue: int) -> list[tuple[int, int]]:
    """Choose where the captions are cut: the first and the last word of each. Time grows linearly with the words."""
    best = [0.0] + [float("inf")] * len(words)  # the least cost of the words before this one
    came_from = [0] * len(words)
    for first in range(len(words)):
        for last, cost in _candidates(words, first, glue):
            if best[first] + cost < best[last + 1]:
                best[last + 1] = best[first] + cost
                came_from[last] = first
    pieces = []
    last = len(words) - 1
    while last >= 0:
        pieces.append((came_from[last], last))
        last = came_from[last] - 1
    return pieces[::-1]


def _candidates(words: list[_Word], first: int, glue: int) -> Iterator[tuple[int, float]]:
    """Yield where a caption that begins with word `first` may end, and what is wrong with it."""
    within = 0.0
    width = 0
    line, full_lines = 0, 0
    for last in range(first, len(words)):
        word = words[last]
        line = line + glue + word.width if line else word.width
        if line > COLUMNS and last > first:
            line, full_lines = word.width, full_lines + 1
        width += word.width + (glue if last > first else 0)
        # The first word may be longer than a line, or be spoken for longer than a caption lasts; then it stands alone.
        unfit = full_lines > 1 or line > COLUMNS or words[first].width > COLUMNS
        if last > first and (unfit or word.end - words[first].start > LONGEST):
            return
        yield last, within + 1.0 + word.cut + _haste(words, first, last, width) + _emptiness(width)
        if last + 1 < len(words):
            pause = words[last + 1].start - word.end
            if pause >= _PAUSE:
                return
            within += max(0.0, pause - 400) / 400
            if word.sentence:
                within += 1.5 if width >= COLUMNS // 2 else 0.3


def _haste(words: list[_Word], first: int, last: int, width: int) -> float:
    """What is wrong with the time that there is to read this caption, before the next one comes."""
    if last + 1 == len(words):
        return 0.0
    needed = max(SHORTEST, 1000 * width / CHARACTERS_PER_SECOND)
    missing = needed - (words[last + 1].start - words[first].start)
    return 1.0 + 4 * missing / 1000 if missing > 0 else 0.0


def _emptiness(width: int) -> float:
    """Full captions are better than a full one and an almost empty one."""
    return 0.3 * max(0.0, 1 - width / (2 * COLUMNS)) ** 2


def _lines(words: list[_Word], glue: int) -> tuple[str, ...]:
    """Return one line if it is short enough, else two of about the same width."""
    texts, between = [word.text for word in words], " " * glue
    whole = between.join(texts)
    if len(words) == 1 or columns(whole) <= COLUMNS:
        return (whole,)
    halves = ((between.join(texts[:cut]), between.join(texts[cut:])) for cut in range(1, len(words)))
    return min(halves, key=lambda lines: max(map(columns, lines)))


def _joined(caption: Caption, old: str, new: str) -> str:
    return "\n".join(caption.lines).replace(old, new)


def _clock(milliseconds: int, point: str) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{point}{rest:03}"
