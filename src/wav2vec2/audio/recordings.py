"""Recordings: finding the audio files of a folder, and reading a recording on demand, piece by piece."""

import glob
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wav2vec2.audio.encoded_file import Source, source_name
from wav2vec2.audio.read import SAMPLE_RATE, AudioStream, read_audio
from wav2vec2.errors import FileWarning, UserError

Waveform = NDArray[np.float32]

_SUFFIXES = (
    ".wav .rf64 .w64 .flac .mp3 .ogg .oga .opus .aiff .aif .aifc .au .snd .caf .sph "
    ".m4a .m4b .mp4 .aac .mov .3gp .webm .weba .mkv .mka .wma .amr .awb .ac3 .eac3 .mp2 .spx .gsm .wv .tta "
    ".ts .flv .avi .mpg .mpeg .m4v"
)
_KEPT_SAMPLES = _BLOCK_SAMPLES = 60 * SAMPLE_RATE
AUDIO_SUFFIXES = frozenset(_SUFFIXES.split())
"""Suffixes of the names of audio files, in lower case."""


@dataclass(frozen=True)
class Recording:
    """A recording that is decoded on demand, as mono samples at 16 kHz.

    `read(start, count)` returns `count` samples from sample `start` on, float32 (count,). `samples` is its length.
    """

    name: str
    samples: int
    read: Callable[[int, int], Waveform]
    warning: str = ""
    """One line if the file is cut short or damaged, or if something in it is not read; else empty."""

    def blocks(self) -> Iterator[Waveform]:
        """Yield the samples from the beginning to the end, in blocks of a minute.

        Raises UserError if it cannot be read, is shorter than announced, or holds values that are not finite.
        """
        for start in range(0, self.samples, _BLOCK_SAMPLES):
            count = min(_BLOCK_SAMPLES, self.samples - start)
            block = np.asarray(self.read(start, count), dtype=np.float32)
            if len(block) != count:
                raise UserError(f"{self.name}: ends before its {self.samples} samples; prepare or export it again")
            if not np.isfinite(block).all():
                raise UserError(f"{self.name}: holds values that are not finite; export it again")
            yield block


class StreamedRecording:
    """A file, or the bytes of one, that is decoded from its beginning to its end whenever its samples are needed.

    `samples` and `warning` (see `Recording`) are known after the last block.
    """

    def __init__(self, source: Source, name: str) -> None:
        self.name = name
        self.samples = 0
        self.warning = ""
        self._source = source

    def blocks(self) -> Iterator[Waveform]:
        """Yield the samples from the beginning to the end, in blocks of about a minute at most.

        Raises UserError if the file cannot be read.

        Warns:
            FileWarning: it is cut short or damaged, or something in it is not read.
        """
        stream = AudioStream(self._source)
        samples = 0
        for block in stream.blocks():
            samples += len(block)
            yield block
        first, self.samples = not self.samples, samples
        self.warning = stream.info.warning
        if self.warning and first:
            warnings.warn(self.warning, FileWarning, stacklevel=2)


AnyRecording = Recording | StreamedRecording


@dataclass(frozen=True)
class Failure:
    """A recording that could not be read. source: its name. message: why, and what to do, in one line."""

    source: str
    message: str


def stream_recording(source: Any) -> AnyRecording | Failure:
    """Return a recording that is decoded when it is read: a path, the bytes of a file, or a float array.

    Nothing is read yet, so that a file which cannot be read is found out by reading it.
    """
    if hasattr(source, "__array__"):
        return _array_recording(np.asarray(source))
    return StreamedRecording(source, "bytes" if isinstance(source, bytes) else source_name(source))


def open_recording(source: Any) -> Recording | Failure:
    """Open a path, the bytes of an encoded file, or a float array (mono, 16 kHz).

    A file is decoded once to learn its length; a recording of up to a minute is kept in memory meanwhile. A source that
    cannot be read gives a `Failure`.

    Warns:
        FileWarning: a file is cut short or damaged, or something in it is not read.
    """
    if hasattr(source, "__array__"):  # a NumPy array, or a tensor, for which torch need not be imported
        return _array_recording(np.asarray(source))
    name = "bytes" if isinstance(source, bytes) else str(source)
    stream = AudioStream(source)
    beginning: list[Waveform] = []
    samples = 0
    try:
        for block in stream.blocks():
            samples += len(block)
            if samples <= _KEPT_SAMPLES:
                beginning.append(block)
    except UserError as error:
        return Failure(name, str(error))
    if warning := stream.info.warning:
        warnings.warn(warning, FileWarning, stacklevel=2)
    if samples <= _KEPT_SAMPLES:
        waveform = np.concatenate(beginning)
        return Recording(name, samples, lambda start, count: waveform[start : start + count], warning)
    if stream.seekable:
        return Recording(name, samples, lambda start, count: read_audio(source, start=start, samples=count), warning)
    return Recording(name, samples, _ForwardReader(source).read, warning)


class _ForwardReader:
    """Reads pieces of a recording that can only be decoded from its start, without starting anew for each."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._restart()

    def _restart(self) -> None:
        self._blocks = AudioStream(self._source).blocks()
        self._kept, self._begin = np.zeros(0, np.float32), 0

    def read(self, start: int, count: int) -> Waveform:
        """See `Recording`."""
        if start < self._begin:
            self._restart()
        while self._begin + len(self._kept) < start + count:
            block = next(self._blocks, None)
            if block is None:
                break
            # a window begins a little before the one before it ends
            passed = max(0, min(len(self._kept), start - _KEPT_SAMPLES - self._begin))
            self._kept, self._begin = np.concatenate([self._kept[passed:], block]), self._begin + passed
        return self._kept[start - self._begin : start - self._begin + count]


def _array_recording(samples: np.ndarray[Any, Any], name: str = "array") -> Recording | Failure:
    if samples.ndim != 1 or not np.issubdtype(samples.dtype, np.floating):
        given = f"{samples.dtype} of shape {samples.shape}"
        return Failure(
            name, f"{name}: is {given}; give mono float samples in [-1, 1] at 16 kHz, one array for each recording"
        )
    waveform = samples.astype(np.float32, copy=False)
    return Recording(name, len(waveform), lambda start, count: waveform[start : start + count])


def audio_files(paths: Iterable[str | Path]) -> list[Path]:
    """Return the named files, and in place of each named folder the recordings below it (`recordings_below`), sorted.

    A name with wildcards that is no file's stands for the files that it matches (`matching`).

    Raises:
        UserError: a folder holds no audio file, or a pattern matches none.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        if not path.is_dir():
            files.extend([path] if os.path.lexists(path) or not glob.has_magic(str(path)) else matching(str(path)))
            continue
        found = sorted(recordings_below(path))
        if not found:
            raise UserError(f"{path}: no audio files in this folder; name a folder of recordings or single files")
        files.extend(found)
    return files


def matching(pattern: str) -> list[Path]:
    """Return the files that match a pattern of the shell, sorted; ** matches any number of folders.

    Of these, those with the name of an audio file (`is_audio_name`), if there are any.

    Raises:
        UserError: no file matches.
    """
    found = sorted(Path(name) for name in glob.glob(pattern, recursive=True) if os.path.isfile(name))
    if not found:
        raise UserError(f"{pattern}: no file matches this pattern; correct it, or name a folder of recordings")
    return [path for path in found if is_audio_name(path)] or found


def recordings_below(root: Path) -> Iterator[Path]:
    """Yield the files below a folder, at any depth, that have the name of an audio file (`audio_names`).

    The files of a folder, sorted, come before those of its subfolders. Whether they can be read is not checked.
    """
    for folder, names in walk(root):
        inside = root / os.path.relpath(folder, os.path.abspath(root))
        yield from (inside / name for name in audio_names(names))


def walk(root: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield (folder, sorted file names) for `root` and every folder below it, in sorted order; folders are absolute.

    Hidden folders are left out. Links are followed, but no folder is entered twice, so that a link to a folder above
    does not recur without end.
    """
    entered: set[tuple[int, int]] = set()
    for folder, below, names in os.walk(os.path.abspath(root), followlinks=True):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in entered:
            below.clear()
            continue
        entered.add((status.st_dev, status.st_ino))
        below[:] = sorted(name for name in below if not name.startswith("."))
        yield folder, sorted(names)


def audio_names(names: Iterable[str]) -> list[str]:
    """Select the names that end in an audio suffix, in upper or lower case, but not the "._NAME" files of macOS."""
    return [name for name in names if is_audio_name(name)]


def is_audio_name(name: str | Path) -> bool:
    """Whether a file has the name of an audio file; see `audio_names`."""
    base = os.path.basename(name)
    return os.path.splitext(base)[1].lower() in AUDIO_SUFFIXES and not base.startswith("._")
