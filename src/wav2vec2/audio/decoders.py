"""Support for the decoding libraries: recognising a file's format by its first bytes, and silencing their messages.

libmpg123, with which libsndfile reads MP3 files, prints notes and errors on stderr; libsndfile does not set its quiet
flag and offers no way to. These messages do not name the file, and we report every refused file ourselves, so nothing
is lost by discarding them. They go through the C library's ``stderr``: `silent_decoder` points that variable at the
null device while a file is decoded and leaves file descriptor 2 alone, so that anything else written meanwhile (by
Python, a C++ stream or a child process) still appears.
"""

import ctypes
import os
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_SPHERE = b"NIST_1A"
_SPHERE_HEADER = 1024  # bytes; the header's second line gives its size, in practice always this


def container_of(head: bytes) -> str | None:
    """The usual suffix of the container that starts with these bytes (64 or more); None if it is not a common one."""
    if head[:4] == b"OggS":
        return "opus" if b"OpusHead" in head else "ogg"
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        return "wav"
    if head[4:8] == b"ftyp":
        return "m4a"
    for magic, suffix in ((b"fLaC", "flac"), (b"ID3", "mp3"), (b"\x1aE\xdf\xa3", "webm"), (b"FORM", "aiff")):
        if head.startswith(magic):
            return suffix
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        return "aac" if head[1] & 0x06 == 0 else "mp3"
    return None


def sphere_compression(head: bytes) -> str:
    """The codec ("shorten", ...) of a compressed NIST SPHERE file, from its first 1,024 bytes; "" for other files."""
    if not head.startswith(_SPHERE):
        return ""
    for line in head[:_SPHERE_HEADER].split(b"\n"):
        if line.startswith(b"sample_coding") and b"embedded-" in line:
            return line.split(b"embedded-")[1].split(b"-")[0].decode("ascii", "replace").strip()
    return ""


class _CStandardError:
    """The C library's ``stderr``, silenced while at least one thread asks for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asking = 0
        self._variable: Any = None
        self._sink: int | None = None
        self._kept: int | None = None

    def _open(self) -> None:
        if self._variable is None and platform.libc_ver()[0] == "glibc":  # elsewhere it may be a constant
            library = ctypes.CDLL(None)
            library.fopen.restype = ctypes.c_void_p
            self._sink = library.fopen(os.devnull.encode(), b"w")
            self._variable = ctypes.c_void_p.in_dll(library, "stderr")
            os.register_at_fork(after_in_child=self._after_fork)

    def _after_fork(self) -> None:
        # The threads that asked for silence, and may have held the lock, do not exist in the child.
        self._lock = threading.Lock()
        if self._asking:
            self._asking, self._variable.value = 0, self._kept

    def silence(self) -> None:
        """Silence stderr until the matching `restore`."""
        with self._lock:
            self._open()
            self._asking += 1
            if self._asking == 1 and self._sink:
                self._kept, self._variable.value = self._variable.value, self._sink

    def restore(self) -> None:
        """End the silence that this thread asked for."""
        with self._lock:
            self._asking -= 1
            if self._asking == 0 and self._sink:
                self._variable.value = self._kept


_STDERR = _CStandardError()


@contextmanager
def silent_decoder() -> Iterator[None]:
    """Discard what C libraries print on ``stderr`` within this context; several threads may be in it at once.

    This works with glibc; elsewhere it does nothing.
    """
    _STDERR.silence()
    try:
        yield
    finally:
        _STDERR.restore()
