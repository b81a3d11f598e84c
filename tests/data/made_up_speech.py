"""Recordings and trees of them for the tests of this folder."""

from pathlib import Path

import numpy as np
import soundfile

RATE = 16_000


def voice(seconds: float, seed: int = 0, rate: int = RATE) -> np.ndarray:
    """Noise of a speech-like spectrum, peak 0.5, float32 (seconds * rate,)."""
    noise = np.random.default_rng(seed).standard_normal(round(seconds * rate))
    smooth = np.convolve(noise, np.hanning(32), mode="same")
    return np.asarray(0.5 * smooth / np.abs(smooth).max(), dtype=np.float32)


def write(path: Path, waveform: np.ndarray, rate: int = RATE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, waveform, rate)
    return path


def librispeech_tree(root: Path, *, splits: tuple[str, ...] = ("train", "dev"), speakers: int = 3) -> Path:
    """SPLIT/SPEAKER/1/SPEAKER-1-000N.flac, two utterances a speaker, "HELLO WORLD N"."""
    number = 0
    for split in splits:
        for _ in range(speakers):
            number += 1
            folder = root / split / str(number) / "1"
            lines = []
            for utterance in range(2):
                name = f"{number}-1-{utterance:04d}"
                write(folder / f"{name}.flac", voice(0.4, seed=10 * number + utterance))
                lines.append(f"{name} HELLO WORLD {number}")
            (folder / f"{number}-1.trans.txt").write_text("\n".join(lines) + "\n")
    return root
