"""What was said, as values and as JSON."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from wav2vec2.decode.hypothesis import Hypothesis
from wav2vec2.decode.words import hypothesis_text, word_frames
from wav2vec2.text.vocabulary import Vocabulary


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


def make_transcript(
    source: str,
    seconds: float,
    readings: Sequence[Hypothesis],
    vocabulary: Vocabulary,
    center: Callable[[int], float],
    *,
    nbest: int = 1,
) -> Transcript:
    """Write down an n-best list. center: seconds of a frame's middle."""
    best = readings[0]
    spans = word_frames(vocabulary, best)
    shares: Sequence[float | None] = best.word_confidences
    if len(shares) != len(spans):
        shares = [None] * len(spans)
    words = tuple(
        Word(text, center(first), center(last), share) for (text, first, last), share in zip(spans, shares, strict=True)
    )
    listed = tuple(
        Reading(hypothesis_text(vocabulary, reading), reading.score, reading.acoustic_score, reading.lm_score)
        for reading in readings[:nbest]
    )
    return Transcript(
        source, hypothesis_text(vocabulary, best), words, seconds, best.score, listed if nbest > 1 else ()
    )
