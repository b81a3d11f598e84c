"""Encoded audio as an open file, from a path or from bytes, and the error for a file without usable audio."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from wav2vec2.errors import UserError
from wav2vec2.input_file import refuse_special

Source = str | Path | bytes

_RATES = range(1_000, 1_536_001)  # Hz


class NamedBytes(bytes):
    """The bytes of an encoded file that came from somewhere, which messages name."""

    name: str = ""


class NamedFile(str):
    """The path of a copy of something, which messages call by its own name."""

    name: str = ""


class AudioError(UserError):
    """A file without usable audio. `reason` is a short label under which such files are counted."""

    def __init__(self, message: str, reason: str = "unreadable") -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class EncodedFile:
    """An open file of encoded audio: what messages call it, its descriptor, and its size in bytes."""

    source: Source
    name: str
    descriptor: int
    size: int

    def bytes_at(self, offset: int, count: int) -> bytes:
        """Return up to `count` bytes from `offset` on; fewer at the end of the file, none outside it."""
        return os.pread(self.descriptor, count, offset) if 0 <= offset < self.size else b""


@contextmanager
def open_encoded(source: Source) -> Iterator[EncodedFile]:
    """Open a path, or the bytes of an encoded file.

    Raises:
        AudioError: the file is missing, empty, no regular file, or cannot be opened.
    """
    name = source_name(source)
    descriptor = _descriptor(source)
    try:
        size = os.fstat(descriptor).st_size
        if size == 0:
            raise AudioError(f"{name}: is empty (0 bytes): remove it or copy it again", "empty file")
        yield EncodedFile(source, name, descriptor, size)
    finally:
        os.close(descriptor)


def source_name(source: Source) -> str:
    """What messages call a path or some bytes."""
    if isinstance(source, NamedBytes | NamedFile) and source.name:
        return source.name
    return f"<{len(source)} bytes of audio>" if isinstance(source, bytes) else str(source)


def check_rate(rate: int, name: str) -> int:
    """Return a sampling rate in Hz. Raises AudioError if no recording has such a rate: the header is damaged."""
    if rate not in _RATES:
        raise AudioError(f"{name}: claims {rate} samples a second, which no recording has: export it again", "bad rate")
    return rate


def _descriptor(source: Source) -> int:
    if isinstance(source, bytes):
        return _in_memory(source)
    try:
        refuse_special(source)
        if os.path.isdir(source):
            raise AudioError(f"{source}: is a folder, not an audio file: name a file", "unreadable")
        return os.open(source, os.O_RDONLY)
    except UserError as error:
        raise error if isinstance(error, AudioError) else AudioError(str(error)) from None
    except FileNotFoundError:
        message = f"{source}: does not exist: correct the path or prepare the manifest again"
        raise AudioError(message, "missing") from None
    except (OSError, ValueError) as error:
        raise AudioError(f"{source}: cannot be opened ({error}): check its permissions", "unreadable") from None


def _in_memory(encoded: bytes) -> int:
    """A file that holds the bytes. libsndfile reads bytes through Python callbacks, whose errors end up on stderr."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("audio")
    else:
        descriptor, path = tempfile.mkstemp()
        os.unlink(path)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(encoded)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
