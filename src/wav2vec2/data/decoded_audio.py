"""Decoded speech kept in memory, once for all processes of a machine, for accelerators faster than the decoder."""

import hashlib
import mmap
import os
import shutil
import tempfile
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from wav2vec2.audio.recordings import Waveform
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.node_lock import alone, private_folder
from wav2vec2.errors import UserError, cause

_SHARED_MEMORY = Path("/dev/shm")
_FULL_SCALE = 32_768.0
_BLOCK = 512  # bytes in a unit of st_blocks


class DecodedAudio:
    """Decoded utterances in memory that all processes of a machine share.

    Each utterance is decoded once, by the process that needs it first, and kept as 16-bit samples: 115 MB an hour.
    The samples lie in a file of /dev/shm, which is memory and not a disk, and whose name says what is decoded, so that
    all ranks of a run find the same one. Whoever uses it holds a shared lock on it. The last one removes it; if that
    one is killed, the next run of any kind does.
    """

    def __init__(self, samples: npt.NDArray[np.int64], key: str) -> None:
        """Reserve memory, or map what another process has reserved.

        Args:
            samples: (N,) lengths of the utterances.
            key: the same for the same utterances only; see `audio_key`.

        Raises:
            UserError: there is too little memory.
        """
        root = _SHARED_MEMORY if _SHARED_MEMORY.is_dir() else Path(tempfile.gettempdir())
        folder = private_folder(root, "wav2vec2-audio")
        if folder is None:
            raise UserError(f"batch.in_memory: {root} has a folder of somebody else's; set it to false")
        self._ends = np.cumsum(samples)
        self._path = folder / f"{key}.pcm"
        lock = folder / "lock"
        try:
            with alone(lock):
                _remove_left(folder)
                self._open(folder)
        except OSError as error:
            raise UserError(f"batch.in_memory: {self._path}: {cause(error)}; set it to false") from None
        weakref.finalize(self, _release, self._path, lock, self._descriptor, os.getpid())

    def _open(self, folder: Path) -> None:
        count = len(self._ends)
        size = 2 * int(self._ends[-1]) + count
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        _flock(self._descriptor, "LOCK_SH")
        if os.fstat(self._descriptor).st_size != size:
            promised = sum(file.stat().st_size - _BLOCK * file.stat().st_blocks for file in folder.glob("*.pcm"))
            if size > shutil.disk_usage(folder).free - max(0, promised):
                _flock(self._descriptor, "LOCK_UN")
                os.close(self._descriptor)
                self._path.unlink()
                raise UserError(
                    f"batch.in_memory: {size / 1e9:.1f} GB of decoded speech do not fit into {folder.parent}: "
                    "give the machine more shared memory, or set it to false"
                )
            os.ftruncate(self._descriptor, size)
        whole = np.frombuffer(mmap.mmap(self._descriptor, size), np.uint8)
        self._audio = whole[:-count].view(np.int16)
        self._filled = whole[-count:]

    def __getstate__(self) -> dict[str, Any]:
        left = ("_audio", "_filled", "_descriptor")
        return {name: value for name, value in self.__dict__.items() if name not in left}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open(self._path.parent)  # in a process that the owner has started and outlives

    def has(self, index: int) -> bool:
        """Whether utterance `index` has been decoded."""
        return bool(self._filled[index])

    def waveform(self, index: int, read: Callable[[], Waveform]) -> Waveform:
        """Return utterance `index` as float32 in [-1, 1], rounded to 16 bits; `read` decodes it the first time.

        Two processes that need an utterance at the same time write the same samples, so nothing is locked.
        """
        end = int(self._ends[index])
        start = int(self._ends[index - 1]) if index else 0
        kept = self._audio[start:end]
        if not self._filled[index]:
            scaled = np.rint(read() * _FULL_SCALE)
            kept[:] = np.clip(scaled, -_FULL_SCALE, _FULL_SCALE - 1).astype(np.int16)
            self._filled[index] = True
        waveform: Waveform = kept.astype(np.float32) / np.float32(_FULL_SCALE)
        return waveform


def audio_key(manifest: Manifest) -> str:
    """A key that differs wherever the audio of two manifests does: places, starts and lengths of all rows."""
    digest = hashlib.sha256()
    for name in ("path", "offset", "size", "start", "samples"):
        for chunk in manifest.column(name).chunks:
            digest.update(f"{name} {chunk.offset} {len(chunk)}\n".encode())
            for buffer in chunk.buffers():
                digest.update(b"" if buffer is None else memoryview(buffer))
    return digest.hexdigest()[:32]


def _release(path: Path, lock: Path, descriptor: int, process: int) -> None:
    """Remove the file if no other process uses it; in a fork of the owner, do nothing."""
    if os.getpid() != process:
        return
    with suppress(OSError):
        with alone(lock):
            if _flock(descriptor, "LOCK_EX"):
                path.unlink(missing_ok=True)
        os.close(descriptor)


def _remove_left(folder: Path) -> None:
    """Remove files that no process uses: their last user was killed."""
    for file in folder.glob("*.pcm"):
        with suppress(OSError):
            descriptor = os.open(file, os.O_RDWR)
            try:
                if _flock(descriptor, "LOCK_EX"):
                    file.unlink()
            finally:
                os.close(descriptor)


def _flock(descriptor: int, kind: str) -> bool:
    """Lock a file without waiting; whether that was possible. Where there are no locks, it never is."""
    try:
        import fcntl

        fcntl.flock(descriptor, getattr(fcntl, kind) | fcntl.LOCK_NB)
    except (ImportError, OSError):
        return False
    return True
