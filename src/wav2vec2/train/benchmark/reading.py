"""Batches from a manifest, and how long the steps wait for them."""

import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from wav2vec2.data.dataset import MicroBatch
from wav2vec2.data.sampler import Position
from wav2vec2.train.benchmark.ceiling import synchronize
from wav2vec2.train.benchmark.ours import SEED, OurSteps
from wav2vec2.train.corpus import open_manifest, plan_corpus
from wav2vec2.train.distributed import Ranks
from wav2vec2.train.options import BatchConfig


@dataclass(frozen=True)
class Source:
    """Speech of a manifest; ``batch.seconds`` and ``batch.micro_seconds`` are the same."""

    manifest: str
    split: str
    batch: BatchConfig
    epsilon: float | None


@dataclass(frozen=True)
class Heard:
    """Seconds that passed, those of them spent waiting for data, and seconds of audio without and with padding."""

    seconds: float
    waited: float
    audio: float
    padded_audio: float


def micro_batches(source: Source, device: torch.device) -> Generator[MicroBatch, None, None]:
    """The forward passes of pre-training on a manifest, without end, as the data loader gives them.

    Raises:
        UserError: the manifest cannot be read or has nothing usable.
    """
    manifest = open_manifest(source.manifest, source.split, "--manifest")
    ranks = Ranks(0, 1, device)
    corpus = plan_corpus(manifest, source.batch, ranks, seed=SEED, crop=True, epsilon=source.epsilon)
    for update in corpus.loader.updates(Position()):
        yield from (batch for batch in update.micro_batches if len(batch.rows))


def read_batches(source: Source, count: int) -> list[list[npt.NDArray[np.float32]]]:
    """The waveforms of the first ``count`` forward passes."""
    found: list[list[npt.NDArray[np.float32]]] = []
    quiet = replace(source, batch=replace(source.batch, workers=0))
    with closing(micro_batches(quiet, torch.device("cpu"))) as batches:
        for batch in batches:
            pairs = zip(batch.waveforms, batch.lengths.tolist(), strict=True)
            found.append([row[:length].numpy().copy() for row, length in pairs])
            if len(found) == count:
                break
    return found


def listen(steps: OurSteps, source: Source, count: int) -> Heard:
    """Take ``count`` steps on what the loader's processes read, after one that starts them."""
    waited = audio = padded = 0.0
    started = time.perf_counter()
    with closing(micro_batches(source, steps.device)) as batches:
        for number in range(count + 1):
            if number == 1:
                synchronize(steps.device)
                waited = audio = padded = 0.0
                started = time.perf_counter()
            asked = time.perf_counter()
            batch = next(batches)
            waited += time.perf_counter() - asked
            audio += float(batch.amount)
            padded += batch.padded_amount
            steps.compute(steps.with_texts(batch), number)
        synchronize(steps.device)
    return Heard(time.perf_counter() - started, waited, audio, padded)
