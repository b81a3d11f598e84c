"""FFmpeg's own decode of a file, by the program of the system, and how much later other samples of it come."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soxr

from wav2vec2.audio.read import SAMPLE_RATE


def decoded_by_ffmpeg(path: Path) -> np.ndarray:
    """The first audio track as the ffmpeg program decodes it, mono at 16 kHz."""
    command = ["ffmpeg", "-v", "quiet", "-i", path, "-map", "0:a:0", "-c:a", "pcm_f32be", "-f", "au", "-"]
    return _samples(subprocess.run(command, capture_output=True, check=False).stdout)


def all_decoded_by_ffmpeg(paths: Sequence[Path], folder: Path) -> dict[Path, np.ndarray]:
    """The same of many files by one process, which takes longer to start than to decode a few seconds."""
    command: list[str | Path] = ["ffmpeg", "-v", "quiet", "-y", "-nostdin"]
    outputs: list[str | Path] = []
    for number, path in enumerate(paths):
        command += ["-i", path]
        outputs += ["-map", f"{number}:a:0", "-c:a", "pcm_f32be", "-f", "au", folder / f"{number}.decoded"]
    subprocess.run([*command, *outputs], capture_output=True, check=False)
    return {path: _samples((folder / f"{number}.decoded").read_bytes()) for number, path in enumerate(paths)}


def _samples(content: bytes) -> np.ndarray:
    """What an AU file holds, as one channel at 16 kHz."""
    header, _, _, rate, channels = np.frombuffer(content[4:24], ">u4")
    samples = np.frombuffer(content[header : len(content) - (len(content) - header) % (4 * channels)], ">f4")
    return np.asarray(soxr.resample(samples.reshape(-1, channels).mean(axis=1), rate, SAMPLE_RATE), np.float32)


def delay(ours: np.ndarray, theirs: np.ndarray) -> int:
    """By how many samples `ours` comes later, from the peak of the cross-correlation."""
    size = 1 << (len(ours) + len(theirs)).bit_length()
    product = np.fft.rfft(ours, size) * np.conj(np.fft.rfft(theirs, size))
    peak = int(np.argmax(np.fft.irfft(product, size)))
    return peak if peak < size // 2 else peak - size
