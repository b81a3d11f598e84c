"""The plan of training batches: which utterances make up each update, in what order, and which rank reads which.

Global batches are planned first and dealt to ranks afterwards, so that the same data come in the same order at any
number of ranks. Everything is a pure function of (lengths, seed, epoch), held in a few numpy arrays (14 M utterances:
some hundred MB for a moment, one or two seconds an epoch), and a position in it is two integers, so resuming costs
nothing.
"""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wav2vec2.errors import UserError

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Position:
    """The next global batch to be read: ``position`` counts batches inside ``epoch``."""

    epoch: int = 0
    position: int = 0


@dataclass(frozen=True)
class GlobalBatch:
    """The utterances of one update. ``utterances[i]`` is the i-th row: rows are ordered from long to short."""

    epoch: int
    utterances: Integers
    starts: Integers
    """First sample of the crop, 0 where the whole utterance is read."""
    samples: Integers
    """Samples to read (after the crop)."""
    following: Position
    """The position after this batch."""


class Plan(ABC):
    """An endless sequence of global batches."""

    @abstractmethod
    def batches(self, epoch: int) -> int:
        """Global batches in an epoch (differs a little from epoch to epoch)."""

    @abstractmethod
    def batch(self, position: Position) -> GlobalBatch:
        """Return the global batch at a position; a position at an epoch's end means the next epoch's first batch."""

    def walk(self, position: Position) -> Iterator[GlobalBatch]:
        """Yield global batches for ever, from a position on."""
        while True:
            batch = self.batch(position)
            yield batch
            position = batch.following


class BatchPlan(Plan):
    """All global batches of all epochs.

    Args:
        samples: length of each utterance, 16 kHz samples.
        batch_samples: budget of one global batch (sum of cropped lengths).
        max_samples: longer utterances are cropped at random (``crop``) or left out (not ``crop``); None = no limit.
        min_samples: shorter utterances are left out.
        seed: of the order and of the crops.
        jitter: width of the random factor on the length before sorting, so that batches mix anew each epoch.
        crop: see ``max_samples``.

    Attributes:
        too_short, too_long: how many utterances were left out, for the caller to report.

    Raises:
        UserError: nothing is left, or the budget is smaller than the longest utterance.
    """

    def __init__(
        self,
        samples: Integers,
        *,
        batch_samples: int,
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
        if not len(self._utterances):
            raise UserError(
                f"no utterance is left for training: {self.too_short} of {len(samples)} are shorter than "
                f"batch.min_seconds ({min_samples / 16000:g} s), {self.too_long} longer than batch.max_seconds; "
                "change these limits"
            )
        if int(self._cropped.max()) > batch_samples:
            raise UserError(
                f"batch.seconds ({batch_samples / 16000:g}) is less than the longest utterance after cropping "
                f"({int(self._cropped.max()) / 16000:g} s); raise it or lower batch.max_seconds"
            )
        self._epoch = -1
        self._order: Integers = self._utterances
        self._bounds: Integers = np.zeros(1, np.int64)
        self._batches: Integers = self._bounds

    def __len__(self) -> int:
        """Utterances of one epoch."""
        return len(self._utterances)

    @property
    def lengths(self) -> Integers:
        """Samples of each of them, after cropping."""
        return self._cropped

    @property
    def epoch_samples(self) -> int:
        """Samples read in one epoch, after cropping."""
        return int(self._cropped.sum())

    def batches(self, epoch: int) -> int:
        """Global batches in an epoch (differs a little from epoch to epoch)."""
        self._plan(epoch)
        return len(self._batches)

    def batch(self, position: Position) -> GlobalBatch:
        """Return the global batch at a position; a position at an epoch's end means the next epoch's first batch."""
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
            following=Position(position.epoch, position.position + 1),
        )

    def _plan(self, epoch: int) -> None:
        """Sort by jittered length, cut into batches by the budget, shuffle the batches."""
        if epoch == self._epoch:
            return
        random = np.random.Generator(np.random.PCG64(np.random.SeedSequence([self._seed, epoch])))
        keys = self._cropped * (1.0 + self._jitter * (random.random(len(self._cropped)) - 0.5))
        # Equal keys (jitter 0, many crops of one length) must not keep the manifest's order: speakers would stay
        # together.
        order: Integers = np.lexsort((random.random(len(keys)), keys)).astype(np.int64)
        self._bounds = _cut(np.cumsum(self._cropped[order]), self._batch_samples)
        self._order = order
        # argsort of uniform draws, not Generator.permutation, whose algorithm numpy may change.
        self._batches = np.argsort(random.random(len(self._bounds) - 1), kind="stable").astype(np.int64)
        self._epoch = epoch


def _cut(total: Integers, budget: int) -> Integers:
    """Bounds of consecutive batches whose sums stay within the budget; a small rest shares with the batch before it."""
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


def deal(samples: Integers, micro_samples: int, rank: int, world: int) -> list[Integers]:
    """Split one global batch into micro-batches and return the rows that ``rank`` reads in each.

    Every rank gets the same number of micro-batches, each of at most ``micro_samples`` padded samples (or one row),
    and rows of the same length bucket; a rank gets an empty array only where a micro-batch has fewer rows than there
    are ranks.

    Args:
        samples: cropped lengths of the global batch's rows.
        micro_samples: most padded samples of one rank's micro-batch.
        rank: of this process.
        world: number of ranks.
    """
    rows_per_rank = max(1, micro_samples // int(samples.max()))
    chunks = -(-len(samples) // (rows_per_rank * world))
    whole = np.arange(len(samples), dtype=np.int64)
    edges = [len(samples) * chunk // chunks for chunk in range(chunks + 1)]
    return [whole[low + rank : high : world] for low, high in itertools.pairwise(edges)]


def crop_starts(seed: int, epoch: int, utterances: Integers, room: Integers) -> Integers:
    """First sample of each crop: a hash of (seed, epoch, utterance) into the inclusive range [0, room]."""
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
