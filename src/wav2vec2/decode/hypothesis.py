"""What every decoder takes and gives: log-probabilities in, n-best hypotheses out, never a model."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Emissions = NDArray[np.float32]
"""(T, V) log-probabilities (nats) of one utterance's frames."""


@dataclass(frozen=True)
class Hypothesis:
    """One reading of an utterance.

    ids: symbols, merged and without blanks, word separators included. frames: for each of them the first frame of its
    run; last_frames: the last one. score: what hypotheses are ranked by, in nats: acoustic_score + LM weight * lm_score
    + what the decoder adds for words. acoustic_score: log-probability of the symbols. lm_score: log-probability (nats)
    of the words under the language model, 0 without one. word_confidences: for each word the share of the n-best
    list's probability (0 to 1) whose readings have this word at this place; empty where a decoder does not tell. words:
    the words where a lexicon spells them otherwise than they are written (phones); empty: what the symbols spell.
    """

    ids: list[int]
    frames: list[int]
    score: float
    last_frames: list[int] = field(default_factory=list)
    acoustic_score: float = 0.0
    lm_score: float = 0.0
    word_confidences: tuple[float, ...] = ()
    words: tuple[str, ...] = ()


class Decoder(Protocol):
    """A search with all its options chosen."""

    def decode(self, emissions: Sequence[Emissions]) -> list[list[Hypothesis]]:
        """Decode utterances, each to its n-best list: best first, never empty (no frames: one empty hypothesis).

        Raises:
            UserError: log-probabilities that are NaN or of another width than the vocabulary.
        """

    def close(self) -> None:
        """Release workers and models; further calls are an error."""
