"""Batches of utterances of similar length in random order: the plan of all training on lists of lengths."""

import hashlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.data.buckets import Buckets, Usage, choose_buckets, usage
from wav2vec2.data.epochs import EpochPlan, Epochs, Integers32
from wav2vec2.data.mixing import Groups, Mixture, told_apart
from wav2vec2.data.sampler import GlobalBatch, Integers, Plan, Position, crop_starts, group_bounds, static_bounds
from wav2vec2.errors import UserError

Floats = npt.NDArray[np.float64]

_AT_ONCE = 1 << 20


class BatchPlan(Plan):
    """Batches of utterances of similar length, in random order.

    Args:
        samples: length of each utterance at 16 kHz; kept, not copied.
        batch_samples: most samples of one global batch, after cropping.
        group_samples: most samples, padding included, that all ranks together hold at a time; None: a whole batch.
        max_samples: longer utterances are cropped at random (if ``crop``) or left out; None: no limit.
        min_samples: shorter utterances are left out.
        seed: random seed of the order and of the crops.
        jitter: lengths are multiplied by random factors in 1 ± jitter / 2 before sorting, so that each epoch has
            different batches.
        crop: see ``max_samples``.
        groups: how groups of utterances are balanced, if at all.
        buckets: most lengths of rows (see ``data/buckets.py``); 0: rows keep their lengths.
        multiple: with buckets, rows of an update are a multiple of this.

    Attributes:
        buckets: the lengths that were chosen; None without.
        too_short, too_long: how many utterances were left out, for the caller to report.
        fingerprint: hash of ``samples``.
        mixture: how often each utterance is used in an epoch; None: once.

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
        groups: Groups | None = None,
        buckets: int = 0,
        multiple: int = 1,
    ) -> None:
        self._samples, self._crop = samples, crop
        self._limit = np.iinfo(np.int64).max if max_samples is None else max_samples
        self._min_samples = max(min_samples, 1)
        self._batch_samples, self._seed, self._jitter = batch_samples, seed, jitter
        self._group_samples = batch_samples if group_samples is None else group_samples
        self.fingerprint = hashlib.sha256(np.ascontiguousarray(samples).data).hexdigest()[:16]
        long = int(np.count_nonzero(samples > self._limit))
        self.too_short = int(np.count_nonzero(samples < self._min_samples))
        self.too_long = 0 if crop else long
        lengths = self.lengths
        self._count, self.epoch_samples = len(lengths), int(lengths.sum())
        """Samples in an epoch, after cropping."""
        if not self._count:
            raise UserError(
                f"no utterance is left for training: {self.too_short} of {len(samples)} are shorter than "
                f"batch.min_seconds ({min_samples / SAMPLE_RATE:g} s), {self.too_long} longer than batch.max_seconds; "
                "change these limits"
            )
        if (longest := int(lengths.max())) > batch_samples:
            raise UserError(
                f"batch.seconds ({batch_samples / SAMPLE_RATE:g}) is less than the longest utterance after cropping "
                f"({longest / SAMPLE_RATE:g} s); raise it or lower batch.max_seconds"
            )
        self.mixture = None if groups is None else Mixture(groups, self.utterances, lengths, seed)
        mixed = "" if self.mixture is None else self.mixture.fingerprint
        self.buckets: Buckets | None = None
        if buckets:
            self.buckets = choose_buckets(
                lengths, most=buckets, batch_samples=batch_samples, multiple=multiple, crop=crop
            )
        planned = f"1 {self.fingerprint} {batch_samples} {self._limit} {self._min_samples} {seed} {jitter!r} {crop}"
        planned += f" {buckets} {multiple} {mixed}"
        self._epochs = Epochs(self._make, self._count, hashlib.sha256(planned.encode()).hexdigest()[:24])

    def __len__(self) -> int:
        """Number of utterances in an epoch."""
        return self._count

    @property
    def utterances(self) -> Integers:
        """The utterances that are used: rows of the manifest, ascending."""
        keep = self._samples >= self._min_samples
        if not self._crop:
            keep &= self._samples <= self._limit
        return np.flatnonzero(keep).astype(np.int64, copy=False)

    @property
    def lengths(self) -> Integers:
        """Length of each of ``utterances`` after cropping."""
        return np.minimum(self._samples[self.utterances], self._limit).astype(np.int64, copy=False)

    def batches(self, epoch: int) -> int:
        """Number of global batches in an epoch; it differs slightly between epochs."""
        return self._epochs.updates(epoch)

    def batch(self, position: Position) -> GlobalBatch:
        """Return the global batch at a position; at an epoch's end, the first batch of the next epoch."""
        if position.position >= self.batches(position.epoch):
            position = Position(position.epoch + 1, 0)
        plan = self._epochs.plan(position.epoch)
        if 2 * position.position >= len(plan):
            self._epochs.prepare(position.epoch + 1)
        rows, bucket = plan.members(position.position)
        length = size = None
        if self.buckets is not None:
            length = int(self.buckets.lengths[bucket])
            size = self.buckets.group_rows(bucket, self._group_samples)
        full = self._samples[rows]
        cropped = np.minimum(full, self._limit if length is None else length)
        order = np.argsort(-cropped, kind="stable")
        utterances, room, cropped = rows[order], (full - cropped)[order], cropped[order]
        return GlobalBatch(
            epoch=position.epoch,
            utterances=utterances,
            starts=crop_starts(self._seed, position.epoch, self._told_apart(utterances, position), room),
            samples=cropped,
            groups=group_bounds(cropped, self._group_samples) if size is None else static_bounds(len(rows), size),
            following=Position(position.epoch, position.position + 1),
            length=length,
            group_rows=size or 0,
        )

    def usage(self, epoch: int, world: int) -> Usage:
        """Measure how full an epoch's groups are, and how much is padded and lost, on ``world`` processes."""
        samples = np.minimum(self._samples, self._limit)
        return usage(self._epochs.plan(epoch), samples, self.buckets, self._group_samples, world)

    def _make(self, epoch: int) -> EpochPlan:
        """Cut an epoch into batches, and shuffle these."""
        rows = self._rows(epoch).astype(np.int32)
        lengths = self._cropped(rows)
        if self.buckets is None:
            order, bounds = self._cut_by_length(epoch, lengths)
            of_bucket = np.zeros(0, np.int32)
        else:
            order, bounds, of_bucket = self._cut_by_bucket(epoch, lengths, self.buckets)
        del lengths
        ordered = rows[order]
        # Not Generator.permutation, whose algorithm may change with numpy's version.
        updates = np.argsort(self._drawn(epoch, 2, len(rows))[: len(bounds) - 1], kind="stable")
        return EpochPlan(ordered, bounds.astype(np.int32), updates.astype(np.int32), of_bucket)

    def _cut_by_length(self, epoch: int, lengths: Integers | Integers32) -> tuple[Integers32, Integers]:
        """Sort by jittered length and cut into batches that keep the budget."""

        def keys() -> Floats:
            drawn = self._drawn(epoch, 0, len(lengths))
            drawn -= 0.5
            drawn *= self._jitter
            drawn += 1.0
            drawn *= lengths
            return drawn

        order = sorted_order(keys, lambda: self._drawn(epoch, 1, len(lengths)))
        return order, _cut(np.cumsum(lengths[order], dtype=np.int64), self._batch_samples)

    def _cut_by_bucket(
        self, epoch: int, lengths: Integers | Integers32, buckets: Buckets
    ) -> tuple[Integers32, Integers, Integers32]:
        """Shuffle within buckets and cut into batches of static shapes."""
        bucket = buckets.of(lengths)

        def keys() -> Floats:
            drawn = self._drawn(epoch, 0, len(lengths))
            drawn += bucket
            return drawn

        order = sorted_order(keys, lambda: self._drawn(epoch, 1, len(lengths)))
        return buckets.cut(order, np.bincount(bucket, minlength=len(buckets.rows)))

    def _cropped(self, rows: Integers | Integers32) -> Integers | Integers32:
        """Lengths (N,) of some rows after cropping, in 32 bits if they fit."""
        lengths = self._samples[rows]
        np.minimum(lengths, self._limit, out=lengths)
        return lengths.astype(np.int32) if len(lengths) and int(lengths.max()) < 1 << 31 else lengths

    def _rows(self, epoch: int) -> Integers:
        """Rows of the manifest that an epoch uses, ascending, each as often as it is used."""
        rows = self.utterances
        return rows if self.mixture is None else self.mixture.rows_of_epoch(epoch, rows)

    def _told_apart(self, utterances: Integers, position: Position) -> Integers:
        """What the crops of a batch are drawn by: the utterances, or numbers that differ where one is used again."""
        return utterances if self.mixture is None else told_apart(utterances, position.position)

    def _drawn(self, epoch: int, which: int, count: int) -> Floats:
        """(count,) random numbers in [0, 1): the first, second or third ``count`` of the epoch."""
        source = np.random.PCG64(np.random.SeedSequence([self._seed, epoch])).advance(which * count)
        return np.random.Generator(source).random(count)


def sorted_order(keys: Callable[[], Floats], ties: Callable[[], Floats]) -> npt.NDArray[np.int32]:
    """Return the indices (N,) that sort ``keys()``; equal keys in the order of the random numbers ``ties()``.

    Equal keys (lengths without jitter, or crops of one length) must not keep the manifest's order, which would put the
    utterances of a speaker into one batch. Sorting numbers is several times as fast as sorting indices. So the leading
    bits of a key and its index are sorted as one number, and the few neighbours that these bits do not tell apart are
    sorted again. The keys are made twice rather than kept: one array of N numbers is held at a time.
    """
    drawn = keys()
    count = len(drawn)
    if not drawn.min() > 0:
        return np.lexsort((ties(), drawn)).astype(np.int32)
    index_bits = np.uint64(max(1, (count - 1).bit_length()))
    packed = drawn.view(np.uint64)  # positive floats are ordered as their bits are
    packed -= packed.min()
    packed >>= np.uint64(max(0, int(packed.max()).bit_length() + int(index_bits) - 64))
    packed <<= index_bits
    for first in range(0, count, _AT_ONCE):
        packed[first : first + _AT_ONCE] |= np.arange(first, min(first + _AT_ONCE, count), dtype=np.uint64)
    packed.sort()
    unsure = np.zeros(count, bool)
    for first in range(0, count, _AT_ONCE):
        part = packed[first : first + _AT_ONCE + 1] >> index_bits
        same = part[1:] == part[:-1]
        unsure[first : first + len(same)] |= same
        unsure[first + 1 : first + 1 + len(same)] |= same
    packed &= (np.uint64(1) << index_bits) - np.uint64(1)
    order = packed.astype(np.int32)
    del packed, drawn
    places = np.flatnonzero(unsure)
    if len(places):
        members = order[places]
        order[places] = members[np.lexsort((members, ties()[members], keys()[members]))]
    return order


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
