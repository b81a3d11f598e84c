"""What a search asks of a language model, n-gram or Transformer.

Log-probabilities are natural logarithms. Words (of a character model: characters) are indices into ``tokens``; a
history is an integer handle that the model gives out, so that a search can keep histories in arrays.
"""

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Unit = Literal["words", "characters"]


class LanguageModel(Protocol):
    """Scores continuations of histories, many at once."""

    unit: Unit
    """What its tokens are: words, also for an n-gram over whatever stands between spaces; or characters, with ``|``
    between words."""
    tokens: Sequence[str]
    """Every word (or character) by its index, sentence marks and unknown included."""
    unknown: int
    """Index that stands for any other word; its score is the model's own for it."""

    def index(self, token: str) -> int:
        """Index of a word, ``unknown`` if the model does not know it."""

    def start(self) -> int:
        """The history of a sentence's beginning."""

    def score(
        self, histories: NDArray[np.int64], tokens: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Log-probability of ``tokens[i]`` after ``histories[i]``, and the history that follows; all (N,)."""

    def finish(self, histories: NDArray[np.int64]) -> NDArray[np.float32]:
        """Log-probability of the sentence's end after each history, (N,)."""

    def retain(self, histories: NDArray[np.int64]) -> None:
        """Every other history but the start may be forgotten: a search calls this so that memory stays bounded."""
