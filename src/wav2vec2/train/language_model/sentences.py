"""Sentences of token numbers for language models, held as one array.

A corpus of N tokens and L lines takes 4 N + 8 L bytes, whatever the words are.
"""

import hashlib
import heapq
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wav2vec2.errors import UserError


@dataclass(frozen=True)
class Sentences:
    """Encoded sentences: number i is ``tokens[bounds[i] : bounds[i + 1]]``, sentence marks at both ends included."""

    tokens: npt.NDArray[np.int32]
    bounds: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def __getitem__(self, number: int) -> npt.NDArray[np.int32]:
        """Return the tokens of one sentence."""
        return self.tokens[self.bounds[number] : self.bounds[number + 1]]

    @property
    def predicted(self) -> npt.NDArray[np.int64]:
        """Tokens that a model has to predict in each sentence: all but the first mark."""
        return np.diff(self.bounds) - 1

    @property
    def fingerprint(self) -> str:
        """A short hash of everything in it."""
        digest = hashlib.sha256(np.ascontiguousarray(self.tokens).tobytes())
        digest.update(np.ascontiguousarray(self.bounds).tobytes())
        return digest.hexdigest()[:16]


def held_out_lines(lines: Iterable[Sequence[str]], count: int) -> set[int]:
    """Numbers of ``count`` sentences chosen by a hash of their words alone, so that any model holds out the same.

    Raises:
        UserError: there are not more sentences than that.
    """
    total = 0

    def keyed() -> Iterator[tuple[bytes, int]]:
        nonlocal total
        for number, words in enumerate(lines):
            total = number + 1
            yield hashlib.sha256(" ".join(words).encode()).digest(), number

    chosen = heapq.nsmallest(count, keyed())
    if total <= count:
        raise UserError(f"data.hold_out: {count} of {total} sentences; hold out fewer")
    return {number for _, number in chosen}


def encode_sentences(sentences: Iterable[Sequence[int]], mark: int) -> Sentences:
    """Put sentences of token numbers into one array, ``mark`` at both ends of each."""
    tokens, bounds = array("i"), array("q", [0])
    for numbers in sentences:
        tokens.append(mark)
        tokens.extend(numbers)
        tokens.append(mark)
        bounds.append(len(tokens))
    return Sentences(np.frombuffer(tokens, np.int32) if tokens else np.zeros(0, np.int32), np.asarray(bounds, np.int64))
