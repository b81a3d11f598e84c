"""What a pre-training can be expected to give, said before it begins: hours to be heard beside published ones.

Vaessen and van Leeuwen, "The effect of batch size on contrastive self-supervised speech representation learning"
(arXiv 2402.13723): BASE on LibriSpeech, batches of 87.5 s to 80 min, fine-tuned with 10 minutes of labels, test-clean
without a language model. What counts is the product of batch and updates; batches below about 90 s fail.

NVIDIA, DeepLearningExamples, PyTorch/SpeechRecognition/wav2vec2 (README of December 2022): BASE with an Hourglass
Transformer on LibriSpeech, mean of eight runs; an update is 64 batches of at most 1.4 M samples.
"""

import itertools
import math

from wav2vec2.train.options import BatchConfig, TrainConfig

PUBLISHED = ((4_200.0, 99.0), (16_700.0, 72.0), (66_700.0, 51.0), (267_000.0, 44.0))
"""Hours heard, and word error rate in per cent."""
NVIDIA_BATCH_SECONDS = 64 * 1_400_000 / 16_000
NVIDIA_ACCURACY = (
    (50_000, 0.491, 11.198), (100_000, 0.537, 10.825), (150_000, 0.564, 10.507), (200_000, 0.580, 9.567),
    (250_000, 0.599, 9.115), (300_000, 0.610, 8.885), (350_000, 0.619, None), (400_000, 0.629, None),
)  # fmt: skip
"""Updates, accuracy of the contrastive task, and word error rate on dev-other in per cent, after fine-tuning with 960 h
of labels, without a language model; None where there is none."""
PAPER_RATE, SMALLEST_BATCH_SECONDS = 5e-4, 1_200.0
CPU_RECIPE = "pretrain_small_mfcc"
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
        f"10 min of labels, no language model: {curve} WER ({beside_published(hours)})"
    ]
    if on_cpu and parameters >= BASE_PARAMETERS:
        lines.append(
            f"warning: {parameters / 1e6:.0f} M parameters on a CPU: two cores hear {CPU_RATE:g} s of speech a second "
            f"with those of BASE, so this run takes them {hours * 3600 / CPU_RATE / 86400:,.0f} days; use a GPU, "
            f"or the recipe for such a machine: wav2vec2 pretrain {CPU_RECIPE}"
        )
    rate = train.lr * (math.sqrt(batch.seconds / 5760) if train.scale_lr else 1.0)
    if batch.seconds < SMALLEST_BATCH_SECONDS and parameters >= BASE_PARAMETERS and rate >= PAPER_RATE:
        lines.append(
            f"warning: a batch of {batch.seconds / 60:.3g} min with a learning rate of {rate:g}; the paper's "
            f"{PAPER_RATE:g} belongs to 96 min. Below {SMALLEST_BATCH_SECONDS / 60:.0f} min set train.scale_lr, or "
            "raise batch.seconds"
        )
    return lines


def beside_published(hours: float) -> str:
    """Say where a number of hours heard lies on the published curve of word error rates."""
    if hours < PUBLISHED[0][0]:
        return f"fewer than {PUBLISHED[0][0]:,.0f} h taught BASE nothing that 10 min of labels could use"
    if hours > PUBLISHED[-1][0]:
        return f"more than the {PUBLISHED[-1][0]:,.0f} h that were published"
    for (low, worse), (high, better) in itertools.pairwise(PUBLISHED):
        if low <= hours <= high:
            share = math.log(hours / low) / math.log(high / low)
            return f"so about {worse + share * (better - worse):.0f} % for this run, were it BASE"
    raise AssertionError
