"""Which utterances fine-tuning begins with.

Not in the paper: its models have learned so much that the order does not matter. CTC from little or no pre-training
stays at the symbols' frequencies for thousands of updates on long utterances, and leaves them soon on short ones
(docs/log.md, 2026-11-25). Few short ones are soon known by heart, which helps nobody (2026-11-26).
"""

import math
from dataclasses import dataclass

import numpy as np

from wav2vec2.config import option
from wav2vec2.data.sampler import Integers
from wav2vec2.model.architecture import SAMPLE_RATE


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
