"""Real utterances for the benchmarks, in the order of their manifest."""

import csv
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from wav2vec2.audio.read import SAMPLE_RATE, read_audio
from wav2vec2.errors import UserError

AUDIO = (".flac", ".opus", ".wav", ".mp3")


def speech_root(given: Path | None) -> Path:
    """The folder of --speech, or ``speech`` in the folder that WAV2VEC2_SHARED names."""
    shared = os.environ.get("WAV2VEC2_SHARED")
    root = given or (Path(shared) / "speech" if shared else Path(__file__).resolve().parents[2] / "shared" / "speech")
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; give one with speech by --speech or WAV2VEC2_SHARED")
    return root


def _paths(root: Path, split: str) -> Iterator[Path]:
    manifest = root / "manifest.tsv"
    if manifest.exists():
        with manifest.open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            yield from (root / row["path"] for row in rows if row["split"] == split)
    else:
        folder = root / split if (root / split).is_dir() else root
        yield from (path for path in sorted(folder.rglob("*")) if path.suffix.lower() in AUDIO)


def utterances(root: Path, split: str, count: int, shortest: float, longest: float) -> list[np.ndarray]:
    """The first ``count`` waveforms of between ``shortest`` and ``longest`` seconds."""
    found: list[np.ndarray] = []
    for path in _paths(root, split):
        waveform = read_audio(path)
        if shortest * SAMPLE_RATE <= len(waveform) <= longest * SAMPLE_RATE:
            found.append(waveform)
        if len(found) == count:
            return found
    raise UserError(f"{root}: only {len(found)} of {count} utterances of {shortest:g} to {longest:g} s in '{split}'")
