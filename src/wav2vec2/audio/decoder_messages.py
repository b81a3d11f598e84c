"""Silencing what the decoding libraries print.

libmpg123, with which libsndfile reads MP3 files, prints notes and errors on stderr, and other parts of libsndfile print
on stdout, where transcripts go; neither offers a way to stop it. These messages do not name the file, and we report
every refused file ourselves, so nothing is lost by discarding them. They go through the C library's ``stdout`` and
``stderr``: `silent_decoder` points these variables at the null device while a file is decoded and leaves the file
descriptors alone, so that anything else written meanwhile (by Python, a C++ stream or a child process) still appears.
"""

import ctypes
import os
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

_T = TypeVar("_T")


class _CStreams:
    """The C library's ``stdout`` and ``stderr``, silenced while at least one thread asks for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asking = 0
        self._variables: list[Any] = []
        self._sink: int | None = None
        self._kept: list[int | None] = []

    def _open(self) -> None:
        if not self._variables and platform.libc_ver()[0] == "glibc":  # elsewhere they may be constants
            library = ctypes.CDLL(None)
            library.fopen.restype = ctypes.c_void_p
            self._sink = library.fopen(os.devnull.encode(), b"w")
            self._variables = [ctypes.c_void_p.in_dll(library, name) for name in ("stdout", "stderr")]
            os.register_at_fork(after_in_child=self._after_fork)

    def _after_fork(self) -> None:
        # The threads that asked for silence, and may have held the lock, do not exist in the child.
        self._lock = threading.Lock()
        if self._asking:
            self._asking = 0
            self._point_back()

    def _point_back(self) -> None:
        for variable, kept in zip(self._variables, self._kept, strict=True):
            variable.value = kept

    def silence(self) -> None:
        """Silence both until the matching `restore`."""
        with self._lock:
            self._open()
            self._asking += 1
            if self._asking == 1 and self._sink:
                self._kept = [variable.value for variable in self._variables]
                for variable in self._variables:
                    variable.value = self._sink

    def restore(self) -> None:
        """End the silence that this thread asked for."""
        with self._lock:
            self._asking -= 1
            if self._asking == 0 and self._sink:
                self._point_back()


_STREAMS = _CStreams()


@contextmanager
def silent_decoder() -> Iterator[None]:
    """Discard what C libraries print within this context; several threads may be in it at once.

    This works with glibc; elsewhere it does nothing.
    """
    _STREAMS.silence()
    try:
        yield
    finally:
        _STREAMS.restore()


def quietly(items: Iterator[_T]) -> Iterator[_T]:
    """Yield the items of an iterator that decodes; it is silent while it works, not while its user does."""
    while True:
        with silent_decoder():
            try:
                item = next(items)
            except StopIteration:
                return
        yield item
