"""What was said, as values and as JSON."""

import dataclasses
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Word:
    """A word (or a symbol, where the vocabulary has no word separator); the centres of its first and last frame in
    seconds. confidence: 0 to 1, of searches that tell it.
    """

    text: str
    start: float
    end: float
    confidence: float | None = None


@dataclass(frozen=True)
class Reading:
    """One entry of an n-best list; scores in nats, as in `Hypothesis`."""

    text: str
    score: float
    acoustic_score: float
    lm_score: float


@dataclass(frozen=True)
class Transcript:
    """What was said in `source`. seconds: length of the audio; score: log-probability (nats) of the best path, or what
    the search ranked by; nbest: the readings, best first, where more than one was asked for.
    """

    source: str
    text: str
    words: tuple[Word, ...]
    seconds: float
    score: float
    nbest: tuple[Reading, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain values; what there is not (confidences, an n-best list) is left out."""
        plain = dataclasses.asdict(self)
        plain["words"] = [{name: value for name, value in word.items() if value is not None} for word in plain["words"]]
        if not self.nbest:
            del plain["nbest"]
        return plain
