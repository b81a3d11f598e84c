"""A corpus of hums and a recipe that trains on it in seconds; imported by the tests of training."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import soundfile
import torch
from tests.small_models import SMALLEST

from wav2vec2.data.dataset import MicroBatch
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.utterance import Utterance, write_manifest
from wav2vec2.lm.transformer.network import LanguageModelDropout, LanguageModelSizes
from wav2vec2.model.architecture import Masking
from wav2vec2.train.checkpoint.contents import restore, training_tensors
from wav2vec2.train.checkpoint.folder import Checkpoints
from wav2vec2.train.finetune.config import FinetuneConfig, FinetuneData, FreezeConfig
from wav2vec2.train.language_model.command import LanguageModelConfig, TextData, TokenBatchConfig
from wav2vec2.train.metrics import LOG_FILE
from wav2vec2.train.optimizer import build_optimizer
from wav2vec2.train.options import BatchConfig, HealthConfig, LogConfig, ModelConfig, TrainConfig
from wav2vec2.train.pretrain.command import PretrainConfig, PretrainData, build_model

Config = TypeVar("Config", PretrainConfig, FinetuneConfig, LanguageModelConfig)

TINY = ModelConfig(
    architecture="tiny",
    **{**SMALLEST, "layers": 2, "ffn_size": 32, "pos_conv_kernel": 8},
    codebook_entries=8,
    codevector_size=8,
    final_size=8,
    negatives=5,
)


def hum(number: int, samples: int) -> np.ndarray:
    """Two tones whose pitch glides, different for each number; a fixed formula, in [-1, 1]."""
    time = np.arange(samples) / 16_000
    low, high = 90 + 17 * (number % 11), 700 + 130 * (number % 7)
    glide = np.sin(2 * math.pi * (1.3 + 0.1 * number) * time)
    wave = 0.4 * np.sin(2 * math.pi * low * time + 6 * glide) + 0.2 * np.sin(2 * math.pi * high * time + 9 * glide)
    return np.asarray(wave * (0.6 + 0.4 * glide), dtype=np.float32)


def micro_batch(rows: tuple[int, ...]) -> MicroBatch:
    """Padded waveforms of some rows, half a second and more."""
    waves = [torch.from_numpy(hum(row, 9_000 + 1_500 * (row % 3))) for row in rows]
    return MicroBatch(
        torch.nn.utils.rnn.pad_sequence(waves, batch_first=True) if waves else torch.zeros(0, 0),
        torch.tensor([len(wave) for wave in waves], dtype=torch.int64),
        torch.tensor(rows, dtype=torch.int64),
        tuple(map(str, rows)),
        (None,) * len(rows),
    )


def write_corpus(folder: Path, count: int = 12, texts: bool = False) -> Path:
    """Write WAV files of 0.5 to 1.3 s and their manifest; returns the manifest's path."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(count):
        samples = 8_000 + 1_111 * (number * 5 % 12)
        path = folder / f"{number:02d}.wav"
        soundfile.write(path, hum(number, samples), 16_000, subtype="FLOAT")
        text = "AB BA"[: 1 + number % 5] if texts else None
        split = "dev" if number % 6 == 5 else "train"
        rows.append(Utterance(id=f"u{number:02d}", path=str(path), samples=samples, text=text, split=split))
    return write_manifest(rows, folder / "manifest.parquet")


def pretrain_config(manifest: Path, output: Path) -> PretrainConfig:
    """Forty small updates with everything random switched on."""
    return PretrainConfig(
        output=str(output),
        data=PretrainData(manifest=str(manifest), hold_out=2),
        model=TINY,
        batch=BatchConfig(seconds=3.0, micro_seconds=1.6, min_seconds=0.1, max_seconds=1.0, workers=0),
        train=TrainConfig(updates=40, lr=2e-3, warmup_share=0.1, threads=1, device="cpu"),
        log=LogConfig(every=5, validate_every=20, save_every=4, tensorboard=False),
        health=HealthConfig(enabled=False),
    )


def finetune_config(manifest: Path, output: Path, init: str = "scratch") -> FinetuneConfig:
    """Six small updates, three of them of the output layer alone where there is a model to start from."""
    return FinetuneConfig(
        output=str(output),
        init=init,
        data=FinetuneData(manifest=str(manifest), split="train", validation_split="dev"),
        model=TINY,
        masking=Masking(channel_start=0.02, channel_span=4),
        freeze=FreezeConfig(updates=3),
        batch=BatchConfig(seconds=3.0, micro_seconds=1.6, workers=0),
        train=TrainConfig(
            updates=6, lr=1e-2, schedule="tri-stage", warmup_share=0.1, eps=1e-8, threads=1, device="cpu"
        ),
        log=LogConfig(every=2, validate_every=3, save_every=3, tensorboard=False),
    )


def write_text(path: Path) -> Path:
    """Write sentences with a rule: the second word is the first one again."""
    names = ("ANNA", "BEN", "CARA", "DAN", "EVE")
    lines = [f"u-{n} {names[n % 5]} {names[n % 5]} SEES {names[n * 3 % 5]} {'AND ' * (n % 4)}GOES" for n in range(120)]
    path.write_text("\n".join(lines) + "\n")
    return path


def language_model_config(text: Path, output: Path) -> LanguageModelConfig:
    """Thirty small updates on sentences of :func:`write_text`."""
    return LanguageModelConfig(
        output=str(output),
        data=TextData(text=(str(text),), ids=True, hold_out=20),
        model=LanguageModelSizes(hidden_size=16, layers=2, ffn_size=32, heads=2, cutoffs=(4,), cutoff_factor=2),
        regularization=LanguageModelDropout(0.1, 0.1, 0.1),
        batch=TokenBatchConfig(tokens=120, micro_tokens=60, max_tokens=8),
        train=TrainConfig(updates=30, lr=2e-2, warmup_share=0.1, threads=1, device="cpu"),
        log=LogConfig(every=5, validate_every=10, save_every=4, tensorboard=False),
    )


def with_train(config: Config, **changes: object) -> Config:
    """The recipe with other values in its ``train`` section."""
    return replace(config, train=replace(config.train, **changes))


def open_corpus(folder: Path, count: int = 12) -> Manifest:
    """The corpus as a manifest object."""
    return Manifest.open(write_corpus(folder, count))


def newest_weights(config: PretrainConfig, *, double: bool = False) -> dict[str, torch.Tensor]:
    """Weights of a pre-training's newest checkpoint, read by one process whatever wrote it."""
    model, _ = build_model(config)
    if double:
        model.double()
    steps, _ = build_optimizer(model.named_parameters(), config.train)
    nested: dict[str, Any] = training_tensors(model, steps)
    latest = Checkpoints(Path(config.output) / "checkpoints", 1).latest()
    assert latest is not None
    restore(latest, nested)
    return dict(nested["model"])


def logged(output: str, kind: str = "train") -> list[dict[str, Any]]:
    """Return the records of one kind in a run's log."""
    records = map(json.loads, (Path(output) / LOG_FILE).read_text().splitlines())
    return [record for record in records if record["kind"] == kind]
