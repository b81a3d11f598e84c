"""A text with times: what the writers of captions, tables and TextGrids take, wherever the times come from.

Times are seconds from the start of the audio.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class TimedSymbol:
    """A character or a phone. start, end and score (0 to 1) are None, all three, if the vocabulary lacks it."""

    text: str
    start: float | None
    end: float | None
    score: float | None


@dataclass(frozen=True)
class TimedWord:
    """A word, with the times of its symbols if they are known. score: from 0 to 1, or None if there is none."""

    text: str
    start: float | None
    end: float | None
    score: float | None
    characters: tuple[TimedSymbol, ...] = ()


@dataclass(frozen=True)
class TimedText:
    """The words of a recording.

    name: what the recording is called in tables. seconds: its length. spaced: whether words are separated by spaces.
    """

    name: str
    seconds: float
    words: tuple[TimedWord, ...]
    spaced: bool = True


def timed_entries(
    entries: Sequence[TimedWord | TimedSymbol],
) -> list[tuple[float, float, str, float | None]]:
    """Return start, end, text and score of the entries that have a time."""
    return [
        (entry.start, entry.end, entry.text, entry.score)
        for entry in entries
        if entry.start is not None and entry.end is not None
    ]
