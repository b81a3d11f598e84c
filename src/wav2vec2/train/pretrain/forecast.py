"""What a pre-training can be expected to give, said before it begins: hours to be heard beside published ones.

Vaessen and van Leeuwen, "The effect of batch size on contrastive self-supervised speech representation learning"
(arXiv 2402.13723): BASE on LibriSpeech, batches of 87.5 s to 80 min, fine-tuned with 10 minutes of labels, test-clean
without a language model. What counts is the product of batch and updates; batches below about 90 s fail.
"""

import itertools
import math

from wav2vec2.train.options import BatchConfig, TrainConfig

PUBLISHED = ((4_200.0, 99.0), (16_700.0, 72.0), (66_700.0, 51.0), (267_000.0, 44.0))
"""Hours heard, and word error rate in per cent."""
PAPER_RATE, SMALLEST_BATCH_SECONDS = 5e-4, 1_200.0
BASE_PARAMETERS = 90_000_000
CPU_RATE = 4.95
"""Seconds of speech that two cores hear in one of pre-training BASE, 4 x 10 s (docs/results/speed.md)."""


def forecast(batch: BatchConfig, train: TrainConfig, *, parameters: int, on_cpu: bool) -> list[str]:
    """Lines about the hours to be heard, and warnings of what is known not to work.

    Args:
        batch: size of an update.
        train: number of updates, learning rate.
        parameters: of the model.
        on_cpu: there is no accelerator.
    """
    hours = train.updates * batch.seconds / 3600
    curve = ", ".join(f"{heard:,.0f} h {wer:.0f} %" for heard, wer in PUBLISHED)
    lines = [
        f"forecast: {train.updates} updates of {batch.seconds:g} s are {hours:,.0f} h to be heard; published for BASE, "
        f"10 min of labels, no language model: {curve} WER ({_beside(hours)})"
    ]
    if on_cpu and parameters >= BASE_PARAMETERS:
        lines.append(
            f"warning: {parameters / 1e6:.0f} M parameters on a CPU: two cores hear {CPU_RATE:g} s of speech a second "
            f"with those of BASE, so this run takes them {hours * 3600 / CPU_RATE / 86400:,.0f} days; use a GPU, or a "
            "recipe of small or tiny"
        )
    rate = train.lr * (math.sqrt(batch.seconds / 5760) if train.scale_lr else 1.0)
    if batch.seconds < SMALLEST_BATCH_SECONDS and parameters >= BASE_PARAMETERS and rate >= PAPER_RATE:
        lines.append(
            f"warning: a batch of {batch.seconds / 60:.3g} min with a learning rate of {rate:g}; the paper's "
            f"{PAPER_RATE:g} belongs to 96 min. Below {SMALLEST_BATCH_SECONDS / 60:.0f} min set train.scale_lr, or "
            "raise batch.seconds"
        )
    return lines


def _beside(hours: float) -> str:
    """Where a number of hours lies on the published curve."""
    if hours < PUBLISHED[0][0]:
        return f"fewer than {PUBLISHED[0][0]:,.0f} h taught BASE nothing that 10 min of labels could use"
    if hours > PUBLISHED[-1][0]:
        return f"more than the {PUBLISHED[-1][0]:,.0f} h that were published"
    for (low, worse), (high, better) in itertools.pairwise(PUBLISHED):
        if low <= hours <= high:
            share = math.log(hours / low) / math.log(high / low)
            return f"so about {worse + share * (better - worse):.0f} % for this run, were it BASE"
    raise AssertionError
