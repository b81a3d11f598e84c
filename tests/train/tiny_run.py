"""A corpus of hums and a recipe that trains on it in seconds; imported by the tests of training."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile
from tests.small_models import SMALLEST

from wav2vec2.data.manifest import Manifest
from wav2vec2.data.utterance import Utterance, write_manifest
from wav2vec2.train.options import BatchConfig, HealthConfig, LogConfig, ModelConfig, TrainConfig
from wav2vec2.train.pretrain.command import PretrainConfig, PretrainData

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


def with_train(config: PretrainConfig, **changes: object) -> PretrainConfig:
    """The recipe with other values in its ``train`` section."""
    return replace(config, train=replace(config.train, **changes))


def open_corpus(folder: Path, count: int = 12) -> Manifest:
    """The corpus as a manifest object."""
    return Manifest.open(write_corpus(folder, count))
