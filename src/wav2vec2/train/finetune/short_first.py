"""A curriculum: batches of short utterances first, then of all."""

from dataclasses import replace

from wav2vec2.data.sampler import BatchPlan, GlobalBatch, Plan, Position


class ShortFirst(Plan):
    """``updates`` batches of the plan ``short``, then those of ``whole``.

    Epochs count on: the first ones are of the short utterances, the last of them ends where their updates end. So a
    position is still two integers, and resuming costs nothing.
    """

    def __init__(self, short: BatchPlan, whole: BatchPlan, updates: int) -> None:
        self._short, self._whole = short, whole
        self._counts: list[int] = []
        while updates > 0:
            self._counts.append(min(updates, short.batches(len(self._counts))))
            updates -= self._counts[-1]

    def batches(self, epoch: int) -> int:
        """Global batches in an epoch."""
        before = len(self._counts)
        return self._counts[epoch] if epoch < before else self._whole.batches(epoch - before)

    def batch(self, position: Position) -> GlobalBatch:
        """Return the global batch at a position; a position at an epoch's end means the next epoch's first batch."""
        if position.position >= self.batches(position.epoch):
            position = Position(position.epoch + 1, 0)
        before = len(self._counts)
        plan, epoch = (self._short, 0) if position.epoch < before else (self._whole, before)
        found = plan.batch(Position(position.epoch - epoch, position.position))
        return replace(found, epoch=position.epoch, following=Position(position.epoch, position.position + 1))
