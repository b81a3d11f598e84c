"""Random numbers that are functions of their coordinates.

Masks, distractors, Gumbel noise, dropout and LayerDrop are hashes of (seed, purpose, step, row, position), not draws
from a generator. They are equal on every device, under ``torch.compile``, at any number of ranks and after any restart,
and nothing has to be stored to resume.

The hash is a 32-bit xor-shift-multiply permutation in int64. Both multipliers are below 2**31, so that no product of
32-bit values overflows.

Legend: B utterances.
"""

from dataclasses import dataclass
from enum import IntEnum
from math import prod
from typing import TypeVar

import torch
from torch import Tensor

WORD = 0xFFFFFFFF
IntOrTensor = TypeVar("IntOrTensor", int, Tensor)


class Purpose(IntEnum):
    """What a random number is for; keeps the streams of one (seed, step) apart."""

    SPAN_COUNT = 1
    SPAN_START = 2
    CHANNEL_COUNT = 3
    CHANNEL_START = 4
    NEGATIVES = 5
    GUMBEL = 6
    LAYERDROP = 7
    DROPOUT = 8
    INPUT_GUMBEL = 9
    SPAN_LENGTH = 10
    BATCH_NEGATIVES = 11
    CODEBOOK_NEGATIVES = 12


def mix(word: IntOrTensor) -> IntOrTensor:
    """Permute 32-bit words (an int, or an int64 tensor of values in [0, 2**32))."""
    word = word ^ (word >> 16)
    word = (word * 0x21F0AAAD) & WORD
    word = word ^ (word >> 15)
    word = (word * 0x735A2D97) & WORD
    return word ^ (word >> 15)


def hash_int(*coordinates: int) -> int:
    """Hash integers to [0, 2**32)."""
    word = 0x9E3779B9
    for coordinate in coordinates:
        word = mix(word ^ (coordinate & WORD))
        if coordinate >> 32:
            word = mix(word ^ ((coordinate >> 32) & WORD))
    return word


def hash_tensor(seed: int, purpose: Purpose, *coordinates: int | Tensor) -> Tensor:
    """Hash int64 coordinates, each in [0, 2**32), to an int64 tensor in [0, 2**32); equals ``hash_int`` elementwise.

    The coordinates are broadcast; at least one of them is a tensor.
    """
    word: int | Tensor = hash_int(seed, int(purpose))
    for coordinate in coordinates:
        if isinstance(word, int) and isinstance(coordinate, int):
            word = mix(word ^ coordinate)
        else:
            word = mix(torch.as_tensor(word ^ coordinate))
    if isinstance(word, int):
        raise TypeError("hash_tensor needs at least one tensor coordinate")
    return word


@dataclass(frozen=True)
class Draw:
    """Coordinates of all random numbers of one forward pass.

    ``step`` is the number of the optimiser's update: a tensor under ``torch.compile``, which would recompile for every
    new integer. ``rows`` (B,) are the utterances' places in the global batch.
    """

    seed: int
    step: int | Tensor
    rows: Tensor

    @classmethod
    def first(cls, count: int, device: torch.device) -> "Draw":
        """Coordinates of the first update with seed 0, for a batch of ``count`` utterances."""
        return cls(0, 0, torch.arange(count, device=device))

    def words(self, purpose: Purpose, *shape: int) -> Tensor:
        """(B, *shape) random 32-bit words. The words of an utterance do not depend on the rest of the batch."""
        if not shape:
            return hash_tensor(self.seed, purpose, self.step, self.rows)
        return self.words_at(purpose, torch.arange(prod(shape), device=self.rows.device).view(1, *shape))

    def words_at(self, purpose: Purpose, counters: Tensor) -> Tensor:
        """Random 32-bit words for counters (B or 1, ...), each in [0, 2**32)."""
        rows = self.rows.view(-1, *[1] * (counters.dim() - 1))
        return hash_tensor(self.seed, purpose, self.step, rows, counters)


def uniform(words: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Map 32-bit words to the open interval (0, 1). Only 23 bits are used, so that float32 never rounds to 0 or 1."""
    return ((words >> 9).to(dtype) + 0.5) * 2.0**-23
