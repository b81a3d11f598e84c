"""Few static shapes: every update has rows of one of a few lengths, and as many rows as others of that length.

Shapes that repeat are what compiled code and accelerators need. Where utterances may be cropped (pre-training), each is
cropped to the nearest length below it, at random as in the released code, so nothing is padded but the utterances below
the shortest length, and no mask is needed. Where they may not (fine-tuning), each is padded to the nearest length above
it. What does not fill an update goes to the next length in that direction; only the last update or two of an epoch may
be smaller.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wav2vec2.data.epochs import EpochPlan, Integers32
from wav2vec2.data.sampler import Integers

_CANDIDATES = 400
_FRAME = 320
LEAST_FILL = 0.9
"""Lengths whose rows fill less of an update than this are chosen only if there is no other way."""
_UNFILLED = 0.5
_FORBIDDEN = 1e3
_AT_ONCE = 1 << 20

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Buckets:
    """The lengths and numbers of rows of updates, from short to long.

    Attributes:
        lengths: (n,) samples of a row.
        rows: (n,) rows of an update.
        crop: whether utterances are cropped to the length below, or padded to the length above.
    """

    lengths: Integers
    rows: Integers
    crop: bool

    def of(self, samples: Integers | Integers32) -> npt.NDArray[np.uint8]:
        """The bucket of each utterance (N,)."""
        bucket = np.zeros(len(samples), np.uint8)
        for length in self.lengths[1:] if self.crop else self.lengths[:-1]:
            bucket += samples >= length if self.crop else samples > length
        return bucket

    def cut(self, order: Integers32, counts: Integers) -> tuple[Integers32, Integers, Integers32]:
        """Cut an epoch into updates.

        Args:
            order: (N,) utterances in random order within each bucket, bucket after bucket.
            counts: (n,) utterances of each bucket.

        Returns:
            The utterances in the order of updates, the bounds of the updates, and the bucket of each.
        """
        pools = np.split(order, np.cumsum(counts)[:-1])
        carried, parts, sizes, buckets = order[:0], [], [np.zeros(1, np.int64)], []
        numbers = range(len(pools) - 1, -1, -1) if self.crop else range(len(pools))
        for number in numbers:
            pool = np.concatenate([carried, pools[number]])
            own = _sizes(len(pool), int(self.rows[number]), last=number == numbers[-1])
            used = int(own.sum())
            carried = pool[used:]
            parts.append(pool[:used])
            sizes.append(own)
            buckets.append(np.full(len(own), number, np.int32))
        bounds = np.cumsum(np.concatenate(sizes))
        return np.concatenate(parts), bounds, np.concatenate(buckets)

    def group_rows(self, bucket: int, group_samples: int) -> int:
        """Rows of a group: the largest part of an update's rows that is a whole fraction of them and fits."""
        rows, length = int(self.rows[bucket]), int(self.lengths[bucket])
        fitting = (rows // parts for parts in range(1, rows + 1) if not rows % parts)
        return next((part for part in fitting if part * length <= group_samples), 1)


@dataclass(frozen=True)
class Usage:
    """What becomes of the audio and of the room for it."""

    fill: float
    """Share of the room (``group_samples`` of each group) that holds audio or padding."""
    padding: float
    """Share of what is computed that is padding."""
    lost: float
    """Share of the audio, after the crop to ``batch.max_seconds``, that an epoch does not use."""
    even: float
    """Mean work of a process over that of the one with most."""


def usage(plan: EpochPlan, samples: Integers, buckets: Buckets | None, group_samples: int, world: int) -> Usage:
    """Measure an epoch.

    Args:
        plan: the epoch.
        samples: lengths of the manifest's rows, after the crop to ``batch.max_seconds``.
        buckets: its buckets, if it has any.
        group_samples: most samples of a group.
        world: number of processes.
    """
    lengths = samples[plan.order]
    rows = np.diff(plan.bounds).astype(np.int64)
    if buckets is None:
        width = np.maximum.reduceat(lengths, plan.bounds[:-1])
        groups = -(-rows // np.maximum(1, group_samples // width))
        most = -(-rows // groups)
        used = int(lengths.sum())
    else:
        width = buckets.lengths[plan.buckets]
        sizes = np.asarray([buckets.group_rows(number, group_samples) for number in range(len(buckets.rows))])
        most = sizes[plan.buckets]
        groups = -(-rows // most)
        used = int(np.minimum(lengths, np.repeat(width, rows)).sum())
    computed = int((rows * width).sum())
    return Usage(
        fill=computed / (int(groups.sum()) * group_samples),
        padding=1 - used / computed,
        lost=1 - used / int(lengths.sum()),
        even=computed / int((groups * -(-most // world) * world * width).sum()),
    )


def _sizes(count: int, rows: int, *, last: bool) -> Integers:
    """Rows of each update of a bucket. If ``last``, what is left over makes an update, evened out with the one before
    if it holds less than half.
    """
    whole, rest = divmod(count, rows)
    sizes = np.full(whole, rows, np.int64)
    if not last or not rest:
        return sizes
    if whole and 2 * rest < rows:
        both = rows + rest
        return np.concatenate([sizes[:-1], [both - both // 2, both // 2]])
    return np.append(sizes, rest)


def choose_buckets(samples: Integers, *, most: int, batch_samples: int, multiple: int, crop: bool) -> Buckets:
    """Choose lengths such that little audio is cropped away or padded, and updates are full.

    The best choice among lengths that are whole numbers of frames is found by dynamic programming: its cost is the
    audio that is lost or padded, half the room that stays empty, and what is expected to be left over.

    Args:
        samples: (N,) lengths of the utterances, after the crop to ``batch.max_seconds``.
        most: most lengths to choose.
        batch_samples: most samples of an update, padding included.
        multiple: rows of an update are a multiple of this where as many fit.
        crop: see :class:`Buckets`.
    """
    counts = _Counts(samples)
    grid = counts.candidates
    rows = batch_samples // grid
    rows = np.where(rows >= multiple, rows // multiple * multiple, rows)
    fill = rows * grid / batch_samples
    unfilled = _UNFILLED * (1 / fill - 1) + _FORBIDDEN * (fill < LEAST_FILL)
    number, amount = counts.below if crop else counts.upto
    n, total = number[None] - number[:, None], amount[None] - amount[:, None]  # of lengths between two candidates
    first = (1 + unfilled) * number * grid - amount
    left_over = 0.5 * batch_samples * np.abs(1 - np.divide.outer(grid, grid))
    if crop:
        kept = n * grid[:, None]
        between = total - kept + unfilled[:, None] * kept + left_over
        own = (counts.number - number) * grid
        last = counts.amount - amount - own + unfilled * own
    else:
        padded = n * grid[None]
        between = (1 + unfilled[None]) * padded - total + left_over
        last = np.full(len(grid), np.inf)
        last[-1] = 0.0
    between = np.where(np.arange(len(grid))[None] > np.arange(len(grid))[:, None], between, np.inf)
    chosen = _cheapest_path(first, between, last, most)
    return Buckets(grid[chosen], rows[chosen], crop)


class _Counts:
    """Numbers and amounts of utterances by length.

    Attributes:
        candidates: (C,) lengths to choose from, ascending; the last is the longest of all.
        below, upto: number and amount of the utterances shorter than each candidate; of those not longer.
        number, amount: of all utterances.
    """

    def __init__(self, samples: Integers) -> None:
        low, high = int(samples.min()), int(samples.max())
        step = _FRAME * max(1, -(-(high - low) // (_FRAME * _CANDIDATES)))
        self.candidates: Integers = np.append(np.arange(-(-low // step) * step, high, step), high).astype(np.int64)
        # Candidates are whole numbers of steps, so dividing tells what sorting would, and faster.
        totals = np.zeros((4, high // step + 2))
        for first in range(0, len(samples), _AT_ONCE):
            part = samples[first : first + _AT_ONCE]
            for row, place in ((0, part // step), (2, (part + step - 1) // step)):
                totals[row] += np.bincount(place, minlength=totals.shape[1])
                totals[row + 1] += np.bincount(place, weights=part, minlength=totals.shape[1])
        totals = np.concatenate([np.zeros((4, 1)), totals.cumsum(1)], axis=1)
        self.number, self.amount = float(totals[0, -1]), float(totals[1, -1])
        longest = float(np.count_nonzero(samples == high))
        inner = self.candidates[:-1] // step
        self.below = (
            np.append(totals[0, inner], self.number - longest),
            np.append(totals[1, inner], self.amount - longest * high),
        )
        self.upto = np.append(totals[2, inner + 1], self.number), np.append(totals[3, inner + 1], self.amount)


def _cheapest_path(first: Floats, between: Floats, last: Floats, most: int) -> list[int]:
    """The path of at most ``most`` nodes with the least cost.

    Args:
        first: (C,) cost of beginning with each node.
        between: (C, C) cost of going on from one to another, infinite where that is impossible.
        last: (C,) cost of ending with each node.
        most: most nodes of the path.
    """
    cost, came_from, ends = first, [], []
    for length in range(1, most + 1):
        total = cost + last
        ends.append((float(total.min()), length, int(total.argmin())))
        onward = cost[:, None] + between
        came_from.append(onward.argmin(0))
        cost = onward.min(0)
    _, length, node = min(ends)
    path = [node]
    for before in reversed(came_from[: length - 1]):
        path.append(int(before[path[-1]]))
    return path[::-1]
