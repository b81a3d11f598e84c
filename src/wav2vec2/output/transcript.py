"""Transcripts as values and as JSON."""

import dataclasses
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Word:
    """A word of a transcript, or a symbol where the vocabulary has no word separator.

    start, end: centres of its first and last frame in seconds. confidence: from 0 to 1, or None if the search gives
    none.
    """

    text: str
    start: float
    end: float
    confidence: float | None = None


@dataclass(frozen=True)
class Alternative:
    """An entry of an n-best list. Scores are natural logarithms; `score` is what the search ranks by."""

    text: str
    score: float
    acoustic_score: float
    lm_score: float


@dataclass(frozen=True)
class Transcript:
    """The transcript of a recording.

    source: name of the recording. seconds: its length. score: log-probability (nats) of the best path, or what the
    search ranked by. nbest: the alternatives, best first, if more than one was asked for.
    """

    source: str
    text: str
    words: tuple[Word, ...]
    seconds: float
    score: float
    nbest: tuple[Alternative, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return plain values; confidences and an n-best list that do not exist are left out."""
        plain = dataclasses.asdict(self)
        plain["words"] = [{name: value for name, value in word.items() if value is not None} for word in plain["words"]]
        if not self.nbest:
            del plain["nbest"]
        return plain
