"""Waveforms of manifest rows: read from files, byte ranges and URLs, and kept decoded in shared memory."""

import functools
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from wav2vec2.audio.encoded_file import AudioError, NamedBytes
from wav2vec2.audio.read import read_audio
from wav2vec2.audio.recordings import Waveform
from wav2vec2.data.utterance import Utterance
from wav2vec2.errors import UserError, cause
from wav2vec2.input_file import refuse_special

_SHARED_MEMORY = Path("/dev/shm")
_FULL_SCALE = 32_768.0


def read_utterance(utterance: Utterance) -> Waveform:
    """Decode one manifest row to mono float32 at 16 kHz (samples,).

    Raises:
        UserError: the file is missing, unreadable, not audio, not finite, or shorter than the manifest says.
    """
    samples = None if utterance.samples < 0 else utterance.samples
    if utterance.offset < 0:
        return read_audio(utterance.path, start=utterance.start, samples=samples)
    encoded = read_bytes(utterance.path, utterance.offset, utterance.size)
    return read_audio(encoded, start=utterance.start, samples=samples)


def read_bytes(path: str, offset: int = -1, size: int = -1) -> bytes:
    """Read `size` bytes from `offset` on, or the whole file if `size` is negative; from a local file or an fsspec URL.

    Raises:
        AudioError: the file is missing, unreadable, or too short.
    """
    remote = "://" in path
    try:
        if remote:
            files, key = _filesystem(path)
            content: bytes = files.cat_file(key, offset, offset + size) if size >= 0 else files.cat_file(key)
        else:
            refuse_special(path)
            with open(path, "rb", buffering=0 if size >= 0 else -1) as file:
                if size >= 0:
                    file.seek(offset)
                content = file.read() if size < 0 else _read_fully(file, size)
    except FileNotFoundError:
        raise AudioError(f"{path}: does not exist: correct the path or prepare the manifest again", "missing") from None
    except UserError as error:
        raise AudioError(str(error), "unreadable") from None
    except ImportError as error:
        raise AudioError(
            f"{path}: fsspec lacks a package for this address ({cause(error)}): install it", "unreadable"
        ) from None
    except Exception as error:
        # A remote file system may raise any exception of its library; locally only system errors are expected.
        if not remote and not isinstance(error, OSError | ValueError):
            raise
        why = " ".join(str(error).split())[:160]
        raise AudioError(f"{path}: cannot be read ({why}): check address and permissions", "unreadable") from None
    if size >= 0 and len(content) < size:
        raise AudioError(
            f"{path}: ends before byte {offset + size}: copy it again, or write the shards again", "cut short"
        )
    named = NamedBytes(content)
    named.name = path if size < 0 else f"{path} (bytes {offset} to {offset + size})"
    return named


def _read_fully(file: Any, size: int) -> bytes:
    pieces = []
    while size > 0 and (piece := file.read(size)):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


@functools.lru_cache(maxsize=64)
def _protocol_filesystem(protocol: str, host: str, process: int) -> Any:
    import fsspec

    return fsspec.core.url_to_fs(f"{protocol}://{host}")[0]


def _filesystem(url: str) -> tuple[Any, str]:
    """The file system of a URL and the key in it; one per host and process, since connections do not survive a fork."""
    protocol, _, rest = url.partition("://")
    files = _protocol_filesystem(protocol, rest.split("/")[0], os.getpid())
    return files, files._strip_protocol(url)


class DecodedAudio:
    """Decoded utterances in memory shared by all reading processes, for accelerators faster than the decoder.

    Each utterance is decoded once, by the process that needs it first, and kept as 16-bit samples: 115 MB an hour.
    Nothing is written to disk.
    """

    def __init__(self, samples: npt.NDArray[np.int64]) -> None:
        """Reserve memory for utterances of `samples` (N,) samples. Raises UserError if there is too little."""
        self._ends = np.cumsum(samples)
        size = 2 * int(self._ends[-1])
        if _SHARED_MEMORY.exists() and size > shutil.disk_usage(_SHARED_MEMORY).free:
            raise UserError(
                f"batch.in_memory: {size / 1e9:.1f} GB of decoded speech do not fit into {_SHARED_MEMORY}: "
                "give the machine more shared memory, or set it to false"
            )
        self._audio = torch.empty(int(self._ends[-1]), dtype=torch.int16).share_memory_()
        self._filled = torch.zeros(len(samples), dtype=torch.bool).share_memory_()

    def waveform(self, index: int, read: Callable[[], Waveform]) -> Waveform:
        """Return utterance `index` as float32 in [-1, 1], rounded to 16 bits; `read` decodes it the first time.

        Two processes that need an utterance at the same time write the same samples, so nothing is locked.
        """
        end = int(self._ends[index])
        start = int(self._ends[index - 1]) if index else 0
        kept = self._audio[start:end].numpy()
        if not self._filled[index]:
            scaled = np.rint(read() * _FULL_SCALE)
            kept[:] = np.clip(scaled, -_FULL_SCALE, _FULL_SCALE - 1).astype(np.int16)
            self._filled[index] = True
        waveform: Waveform = kept.astype(np.float32) / np.float32(_FULL_SCALE)
        return waveform
