"""Curriculum of fine-tuning: short utterances first. Not in the paper.

With little or no pre-training, CTC on long utterances predicts the symbol frequencies for thousands of updates; on
short utterances it leaves this plateau early (docs/log.md, 2026-11-25). But a few short utterances are soon memorised,
so none is repeated too often (2026-11-26).
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.config import option
from wav2vec2.data.batch_plan import BatchPlan
from wav2vec2.data.sampler import GlobalBatch, Integers, Plan, Position


@dataclass(frozen=True)
class CurriculumConfig:
    """Short utterances first."""

    share: float = option(0.0, low=0.0, high=1.0)
    """Use only short utterances in this share of the updates, at the start; 0: use all utterances from the start."""
    seconds: float = option(8.0, low=0.0)
    """Utterances up to this length are short."""
    epochs: float = option(20.0, above=0.0)
    """If the short utterances would be repeated more often than this, longer ones count as short, too."""


def short_samples(config: CurriculumConfig, samples: Integers, heard: int) -> int:
    """Greatest length of a short utterance, in samples.

    Args:
        config: what counts as short.
        samples: lengths of all utterances, at least one.
        heard: samples that the updates with short utterances use in all.
    """
    lengths = np.sort(samples)
    enough = int(np.searchsorted(np.cumsum(lengths), heard / config.epochs))
    return max(math.floor(config.seconds * SAMPLE_RATE), int(lengths[min(enough, len(lengths) - 1)]))


class ShortFirst(Plan):
    """``updates`` batches of the plan ``short``, then the batches of ``whole``.

    Epochs are numbered across both plans; the last epoch of ``short`` ends with its last update. So a position is still
    two integers, and resuming costs nothing.
    """

    def __init__(self, short: BatchPlan, whole: BatchPlan, updates: int) -> None:
        self._short, self._whole = short, whole
        self._counts: list[int] = []
        while updates > 0:
            self._counts.append(min(updates, short.batches(len(self._counts))))
            updates -= self._counts[-1]

    def batches(self, epoch: int) -> int:
        """Number of global batches in an epoch."""
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
