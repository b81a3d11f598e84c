"""Recordings to be read later: files, folders of files, encoded bytes and arrays, all as mono 16 kHz samples on
demand.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from wav2vec2.audio.read import audio_duration, read_audio
from wav2vec2.errors import UserError

Waveform = NDArray[np.float32]

AUDIO_SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in (
        *("wav", "flac", "mp3", "ogg", "opus", "oga", "aiff", "aif", "au", "w64", "caf", "sph"),
        *("m4a", "mp4", "aac", "webm", "mka", "mkv", "wma", "amr"),
    )
)


@dataclass(frozen=True)
class Recording:
    """Audio that is read when it is needed: read(start, count) gives `count` samples (16 kHz mono) from `start` on."""

    name: str
    samples: int
    read: Callable[[int, int], Waveform]


@dataclass(frozen=True)
class Failure:
    """A recording that could not be read, and why (one line)."""

    source: str
    message: str


def open_recording(source: Any) -> Recording | Failure:
    """Make a Recording of a file, of encoded bytes or of a float array (16 kHz mono); nothing is decoded yet for a
    file.
    """
    if isinstance(source, np.ndarray | torch.Tensor):
        return _array_recording(np.asarray(source))
    name = "bytes" if isinstance(source, bytes) else str(source)
    try:
        if isinstance(source, bytes):
            return _array_recording(read_audio(source), name)
        samples = audio_duration(source)
    except UserError as error:
        return Failure(name, str(error))
    return Recording(name, samples, lambda start, count: read_audio(source, start=start, samples=count))


def _array_recording(samples: np.ndarray[Any, Any], name: str = "array") -> Recording | Failure:
    if samples.ndim != 1 or not np.issubdtype(samples.dtype, np.floating):
        form = f"{samples.dtype} of shape {samples.shape}"
        return Failure(
            name, f"{name}: is {form}; give mono float samples in [-1, 1] at 16 kHz, one array for each recording"
        )
    waveform = samples.astype(np.float32, copy=False)
    return Recording(name, len(waveform), lambda start, count: waveform[start : start + count])


def audio_files(paths: Iterable[str | Path]) -> list[Path]:
    """List the named files, and the audio files (by suffix) below the named folders, each folder sorted by name.

    Raises UserError for a folder without audio.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        if not path.is_dir():
            files.append(path)
            continue
        found = sorted(file for file in path.rglob("*") if file.suffix.lower() in AUDIO_SUFFIXES and file.is_file())
        if not found:
            raise UserError(f"{path}: no audio files in this folder; name a folder of recordings or single files")
        files.extend(found)
    return files
