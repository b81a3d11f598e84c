"""The plan of training batches: which utterances make up each update, in what order, and which rank reads which.

Global batches are planned first, then split into groups, then dealt to ranks. A group is what all ranks compute at the
same time. So the data and their order are the same at any number of ranks, and the groups are the same wherever all
ranks together hold the same amount. The plan is a pure function of (lengths, seed, epoch), held in a few numpy arrays:
planning an epoch of 14 million utterances takes a second or two and briefly a few hundred MB. A position is two
integers, so resuming is free.
"""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.errors import UserError

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


class BatchPlan(Plan):
    """Batches of utterances of similar length, in random order.

    Args:
        samples: length of each utterance at 16 kHz.
        batch_samples: most samples of one global batch, after cropping.
        group_samples: most samples, padding included, that all ranks together hold at a time; None: a whole batch.
        max_samples: longer utterances are cropped at random (if ``crop``) or left out; None: no limit.
        min_samples: shorter utterances are left out.
        seed: random seed of the order and of the crops.
        jitter: lengths are multiplied by random factors in 1 ± jitter / 2 before sorting, so that each epoch has
            different batches.
        crop: see ``max_samples``.

    Attributes:
        too_short, too_long: how many utterances were left out, for the caller to report.

    Raises:
        UserError: no utterance is left, or the longest does not fit into a batch.
    """

    def __init__(
        self,
        samples: Integers,
        *,
        batch_samples: int,
        group_samples: int | None = None,
        max_samples: int | None,
        min_samples: int,
        seed: int,
        jitter: float = 0.1,
        crop: bool = True,
    ) -> None:
        limit = np.iinfo(np.int64).max if max_samples is None else max_samples
        keep = samples >= max(min_samples, 1)
        self.too_short = int(np.count_nonzero(~keep))
        self.too_long = 0
        if not crop:
            self.too_long = int(np.count_nonzero(samples > limit))
            keep &= samples <= limit
        self._utterances: Integers = np.flatnonzero(keep).astype(np.int64)
        self._full: Integers = samples[self._utterances].astype(np.int64)
        self._cropped: Integers = np.minimum(self._full, limit)
        self._batch_samples, self._seed, self._jitter = batch_samples, seed, jitter
        self._group_samples = batch_samples if group_samples is None else group_samples
        if not len(self._utterances):
            raise UserError(
                f"no utterance is left for training: {self.too_short} of {len(samples)} are shorter than "
                f"batch.min_seconds ({min_samples / SAMPLE_RATE:g} s), {self.too_long} longer than batch.max_seconds; "
                "change these limits"
            )
        if int(self._cropped.max()) > batch_samples:
            raise UserError(
                f"batch.seconds ({batch_samples / SAMPLE_RATE:g}) is less than the longest utterance after cropping "
                f"({int(self._cropped.max()) / SAMPLE_RATE:g} s); raise it or lower batch.max_seconds"
            )
        self._epoch = -1
        self._order: Integers = self._utterances
        self._bounds: Integers = np.zeros(1, np.int64)
        self._batches: Integers = self._bounds

    def __len__(self) -> int:
        """Number of utterances in an epoch."""
        return len(self._utterances)

    @property
    def lengths(self) -> Integers:
        """Length of each utterance after cropping."""
        return self._cropped

    @property
    def epoch_samples(self) -> int:
        """Samples in an epoch, after cropping."""
        return int(self._cropped.sum())

    def batches(self, epoch: int) -> int:
        """Number of global batches in an epoch; it differs slightly between epochs."""
        self._plan(epoch)
        return len(self._batches)

    def batch(self, position: Position) -> GlobalBatch:
        """Return the global batch at a position; at an epoch's end, the first batch of the next epoch."""
        if position.position >= self.batches(position.epoch):
            position = Position(position.epoch + 1, 0)
            self._plan(position.epoch)
        which = self._batches[position.position]
        members = self._order[self._bounds[which] : self._bounds[which + 1]]
        members = members[np.argsort(-self._cropped[members], kind="stable")]
        utterances, full, cropped = self._utterances[members], self._full[members], self._cropped[members]
        return GlobalBatch(
            epoch=position.epoch,
            utterances=utterances,
            starts=crop_starts(self._seed, position.epoch, utterances, full - cropped),
            samples=cropped,
            groups=group_bounds(cropped, self._group_samples),
            following=Position(position.epoch, position.position + 1),
        )

    def _plan(self, epoch: int) -> None:
        """Sort by jittered length, cut into batches that keep the budget, shuffle the batches."""
        if epoch == self._epoch:
            return
        random = np.random.Generator(np.random.PCG64(np.random.SeedSequence([self._seed, epoch])))
        keys = self._cropped * (1.0 + self._jitter * (random.random(len(self._cropped)) - 0.5))
        # Equal keys (without jitter, or crops of one length) must not keep the manifest's order, which would put the
        # utterances of a speaker into one batch.
        order: Integers = np.lexsort((random.random(len(keys)), keys)).astype(np.int64)
        self._bounds = _cut(np.cumsum(self._cropped[order]), self._batch_samples)
        self._order = order
        # Not Generator.permutation, whose algorithm may change with numpy's version.
        self._batches = np.argsort(random.random(len(self._bounds) - 1), kind="stable").astype(np.int64)
        self._epoch = epoch


def _cut(total: Integers, budget: int) -> Integers:
    """Return the bounds of consecutive batches, each within the budget. If the last one holds less than half of it, the
    last two are evened out.

    Args:
        total: running total of the lengths.
        budget: most samples of a batch.
    """
    bounds = [0]
    while bounds[-1] < len(total):
        done = int(total[bounds[-1] - 1]) if bounds[-1] else 0
        bounds.append(int(np.searchsorted(total, done + budget, side="right")))
    if len(bounds) > 2:
        before = int(total[bounds[-3] - 1]) if len(bounds) > 3 else 0
        both = int(total[-1]) - before
        if int(total[-1]) - int(total[bounds[-2] - 1]) < budget // 2 and bounds[-1] - bounds[-3] > 1:
            half = int(np.searchsorted(total, before + both // 2, side="right"))
            bounds[-2] = min(max(half, bounds[-3] + 1), bounds[-2])
    return np.asarray(bounds, dtype=np.int64)


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
    state = _scramble(np.full(len(utterances), seed & 0xFFFFFFFFFFFFFFFF, dtype=np.uint64))
    state = _scramble(state ^ np.uint64(epoch & 0xFFFFFFFFFFFFFFFF))
    state = _scramble(state ^ utterances.astype(np.uint64))
    return (state % (room.astype(np.uint64) + np.uint64(1))).astype(np.int64)


def _scramble(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """One round of the splitmix64 finaliser (Steele, Lea and Flood 2014)."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
