"""The plan of training batches: which utterances make up each update, in what order, and which rank reads which.

Global batches are planned first, then split into groups, then dealt to ranks. A group is what all ranks compute at the
same time. So the data and their order are the same at any number of ranks, and the groups are the same wherever all
ranks together hold the same amount. The plan is a pure function of (lengths, seed, epoch), held in a few numpy arrays:
planning an epoch of 14 million utterances takes a second or two and briefly a few hundred MB. A position is two
integers, so resuming is free. ``data/batch_plan.py`` makes the plan; this file says what one is.
"""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from wav2vec2.data.edges import Edges

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Position:
    """The next global batch to read: ``position`` counts the batches of ``epoch``."""

    epoch: int = 0
    position: int = 0


@dataclass(frozen=True)
class GlobalBatch:
    """The utterances of one update, from long to short; all arrays (rows,)."""

    epoch: int
    utterances: Integers
    """Rows of the manifest."""
    starts: Integers
    """First sample of each crop; 0 where the whole utterance is read."""
    samples: Integers
    """Length of each crop."""
    groups: Integers
    """(groups + 1,): group g, the micro-batches of all ranks together, is the rows from groups[g] to groups[g + 1]."""
    following: Position
    """The position after this batch."""
    length: int | None = None
    """Samples to which rows are padded, where batches have static shapes; None: the longest of a micro-batch."""
    group_rows: int = 0
    """Rows of a group, where batches have static shapes; the last group of an epoch may have fewer."""
    edges: "tuple[Edges, ...]" = ()
    """What becomes of the silence at the ends of each row; empty: nothing."""


class Plan(ABC):
    """An endless sequence of global batches."""

    @abstractmethod
    def batches(self, epoch: int) -> int:
        """Number of global batches in an epoch; it differs slightly between epochs."""

    @abstractmethod
    def batch(self, position: Position) -> GlobalBatch:
        """Return the global batch at a position; at an epoch's end, the first batch of the next epoch."""

    def walk(self, position: Position) -> Iterator[GlobalBatch]:
        """Yield global batches without end, from a position on."""
        while True:
            batch = self.batch(position)
            yield batch
            position = batch.following


def group_bounds(samples: Integers, group_samples: int) -> Integers:
    """Return the bounds of the groups of one global batch: as few as fit, and equal to within one row.

    A group has at most ``group_samples`` samples, padding included, or a single row. The number of ranks plays no part.

    Args:
        samples: (rows,) cropped lengths.
        group_samples: most samples, padding included, that all ranks together hold at a time.
    """
    rows = max(1, group_samples // int(samples.max()))
    groups = -(-len(samples) // rows)
    return np.arange(groups + 1, dtype=np.int64) * len(samples) // groups


def static_bounds(rows: int, group_rows: int) -> Integers:
    """Return the bounds of groups of ``group_rows`` rows each, the last of which may have fewer."""
    return np.append(np.arange(0, rows, group_rows), rows).astype(np.int64)


def deal(groups: Integers, rank: int, world: int) -> list[Integers]:
    """Return the rows that ``rank`` reads of each group.

    The rows of a group are dealt in turn, so that all ranks compute rows of similar length at the same time, and their
    numbers differ by one at most. A rank may therefore hold up to one row more than its part of the group's samples.
    Some ranks get no rows of a group that has fewer rows than there are ranks.

    Args:
        groups: (groups + 1,) see :class:`GlobalBatch`.
        rank: the rank of this process.
        world: number of ranks.
    """
    return [np.arange(low + rank, high, world, dtype=np.int64) for low, high in itertools.pairwise(groups.tolist())]


def crop_starts(seed: int, epoch: int, utterances: Integers, room: Integers) -> Integers:
    """Return the first sample of each crop: a hash of (seed, epoch, utterance) in [0, room], both ends included."""
    state = scramble(np.full(len(utterances), seed & 0xFFFFFFFFFFFFFFFF, dtype=np.uint64))
    state = scramble(state ^ np.uint64(epoch & 0xFFFFFFFFFFFFFFFF))
    state = scramble(state ^ utterances.astype(np.uint64))
    return (state % (room.astype(np.uint64) + np.uint64(1))).astype(np.int64)


def scrambled(values: Integers, seed: int) -> npt.NDArray[np.uint64]:
    """Return a hash (N,) of the seed and each value, all 64 bits used."""
    state = scramble(np.full(1, seed & 0xFFFFFFFFFFFFFFFF, dtype=np.uint64))
    return scramble(state ^ values.astype(np.uint64))


def scramble(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """One round of the splitmix64 finaliser (Steele, Lea and Flood 2014)."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
