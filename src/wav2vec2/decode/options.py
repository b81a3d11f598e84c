"""The numbers that steer a beam search (section 4.4 and appendix C of the paper), the same for every decoder."""

import math
from dataclasses import dataclass
from typing import Literal

from wav2vec2.errors import UserError


@dataclass(frozen=True)
class SearchOptions:
    """What a search keeps and how it ranks: acoustic + lm_weight * LM + word_score * words + silence_score * silences.

    Scores are natural logarithms. Raises UserError for sizes below one and numbers that are not numbers.
    """

    beam: int = 50
    """Hypotheses kept after each frame; the paper tests with 1500 (n-gram) and 500 (Transformer)."""
    beam_tokens: int = 0
    """Symbols of a frame that extend a hypothesis, best first; 0 is all of them."""
    threshold: float = 50.0
    """Hypotheses this far (nats) below the best one are dropped."""
    lm_weight: float = 2.0
    word_score: float = -1.0
    """Added for every word."""
    unknown_score: float = -math.inf
    """Added for a word that the language model does not know."""
    silence_score: float = 0.0
    """Added for every word separator."""
    merge: Literal["max", "logadd"] = "max"
    """How paths of the same reading are joined: the best one counts, or their sum."""
    nbest: int = 1
    """Readings returned."""

    def __post_init__(self) -> None:
        if self.beam < 1 or self.nbest < 1 or self.beam_tokens < 0 or not self.threshold > 0:
            raise UserError("search: beam and nbest must be at least 1, beam_tokens at least 0, threshold positive")
        for name in ("lm_weight", "word_score", "silence_score"):
            if not math.isfinite(getattr(self, name)):
                raise UserError(f"search: {name} must be a finite number")
        if math.isnan(self.unknown_score) or self.unknown_score == math.inf:
            raise UserError("search: unknown_score must be a number or -inf")
