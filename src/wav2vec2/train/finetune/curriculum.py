"""Which utterances fine-tuning begins with.

Not in the paper: its models have learned so much that the order does not matter. CTC from little or no pre-training
stays at the symbols' frequencies for thousands of updates on long utterances, and leaves them soon on short ones
(docs/log.md, 2026-11-25). Few short ones are soon known by heart, which helps nobody (2026-11-26).
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.config import option
from wav2vec2.data.sampler import BatchPlan, GlobalBatch, Integers, Plan, Position


@dataclass(frozen=True)
class CurriculumConfig:
    """Short utterances first."""

    share: float = option(0.0, low=0.0, high=1.0)
    """Share of train.updates that sees short utterances alone; 0: all utterances from the start."""
    seconds: float = option(8.0, low=0.0)
    """Up to this length an utterance is short ..."""
    epochs: float = option(20.0, above=0.0)
    """... or up to a greater one, so that none is heard more often than this before the others come."""


def short_samples(config: CurriculumConfig, samples: Integers, heard: int) -> int:
    """The longest length that is short among utterances of ``samples`` (at least one), of which ``heard`` samples in
    all are to be trained on.
    """
    lengths = np.sort(samples)
    enough = int(np.searchsorted(np.cumsum(lengths), heard / config.epochs))
    return max(math.floor(config.seconds * SAMPLE_RATE), int(lengths[min(enough, len(lengths) - 1)]))


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
