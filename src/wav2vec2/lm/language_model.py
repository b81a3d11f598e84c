"""The protocol through which a search uses a language model, n-gram or Transformer.

Log-probabilities are natural logarithms. Words (characters, in a character model) are indices into ``tokens``. A
history is an integer handle given out by the model, so that a search can keep histories in arrays.
"""

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Unit = Literal["words", "characters"]


class LanguageModel(Protocol):
    """Scores continuations of histories, many at once."""

    unit: Unit
    """The kind of tokens: words (in an n-gram model, whatever its text separates by spaces), or characters with ``|``
    between words."""
    tokens: Sequence[str]
    """Every word (or character) by its index, including the sentence marks and the unknown word."""
    unknown: int
    """Index of the token that stands for all other words; it is scored as any token."""

    def index(self, token: str) -> int:
        """Return the index of a word, ``unknown`` if the model lacks it."""

    def start(self) -> int:
        """Return the history at the beginning of a sentence."""

    def score(
        self, histories: NDArray[np.int64], tokens: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return the log-probability of ``tokens[i]`` after ``histories[i]`` and the history that follows; all (N,)."""

    def finish(self, histories: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the log-probability that the sentence ends after each history, (N,)."""

    def retain(self, histories: NDArray[np.int64]) -> None:
        """Allow the model to forget all histories but these and the start, so that its memory stays bounded."""


def histories_after(lm: LanguageModel, sentences: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """Return the history after each sequence of tokens that begins a sentence, (N,)."""
    histories = np.full(len(sentences), lm.start(), np.int64)
    for step in range(max(map(len, sentences), default=0)):
        going = np.array([row for row, tokens in enumerate(sentences) if step < len(tokens)])
        tokens = np.array([sentences[row][step] for row in going], np.int64)
        histories[going] = lm.score(histories[going], tokens)[1]
    return histories
