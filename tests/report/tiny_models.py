"""A pre-trained model and a recogniser with random weights, and a manifest of short transcribed recordings."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile
import torch
from tests.small_models import GROUP

import wav2vec2
from wav2vec2.data.utterance import Utterance, write_manifest
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.model.pretraining import Wav2Vec2ForPretraining
from wav2vec2.text.vocabulary import Vocabulary

VOCABULARY = Vocabulary.from_transcripts(["A FOX"])
ARCHITECTURE = replace(GROUP, layers=1, codebook_entries=5)


def write_pretrained(folder: Path) -> Path:
    """A pre-trained model with two codebooks of five entries."""
    torch.manual_seed(0)
    wav2vec2.save(Wav2Vec2ForPretraining(ARCHITECTURE).eval(), folder)
    return folder


def write_recogniser(folder: Path, vocabulary: Vocabulary = VOCABULARY) -> Path:
    """A recogniser that writes by chance."""
    torch.manual_seed(1)
    wav2vec2.save(Wav2Vec2ForCTC(ARCHITECTURE, vocabulary).eval(), folder)
    return folder


def sound(samples: int, seed: int = 0) -> np.ndarray:
    """Noise that comes and goes."""
    noise = np.random.default_rng(seed).normal(size=samples) * np.sin(np.arange(samples) / 2000)
    return (0.1 * noise).astype(np.float32)


def write_corpus(folder: Path, texts: tuple[str | None, ...] = ("A FOX", "FOX A", None)) -> Path:
    """Recordings of 1 s, 1.1 s ... and their manifest."""
    folder.mkdir()
    rows = []
    for number, text in enumerate(texts):
        samples = 16_000 + 1_600 * number
        soundfile.write(folder / f"u{number}.wav", sound(samples, number), 16_000, subtype="FLOAT")
        rows.append(Utterance(f"u{number}", str(folder / f"u{number}.wav"), samples=samples, text=text))
    return write_manifest(rows, folder / "manifest.parquet")
