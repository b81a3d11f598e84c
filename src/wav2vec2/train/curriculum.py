"""Which utterances fine-tuning begins with.

Not in the paper: its models have learned so much that the order does not matter. CTC from little or no pre-training
stays at the symbols' frequencies for thousands of updates on long utterances, and leaves them soon on short ones
(docs/log.md, 2026-11-25).
"""

import math
from dataclasses import dataclass

import numpy as np

from wav2vec2.data.sampler import Integers
from wav2vec2.model.architecture import SAMPLE_RATE


@dataclass(frozen=True)
class CurriculumConfig:
    """Short utterances first."""

    share: float = 0.0
    """Share of train.updates that sees short utterances alone; 0: all utterances from the start."""
    seconds: float = 8.0
    """Up to this length an utterance is short ..."""
    enough_seconds: float = 180.0
    """... or up to a greater one, where these are less speech than this in all."""


def short_samples(config: CurriculumConfig, samples: Integers) -> int:
    """The longest length, in samples, that is short among utterances of these lengths (at least one)."""
    lengths = np.sort(samples)
    enough = int(np.searchsorted(np.cumsum(lengths), config.enough_seconds * SAMPLE_RATE))
    return max(math.floor(config.seconds * SAMPLE_RATE), int(lengths[min(enough, len(lengths) - 1)]))
