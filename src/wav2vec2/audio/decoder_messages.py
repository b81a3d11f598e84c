"""What decoders say past Python: libmpg123, inside libsndfile, prints its notes and errors about MP3 files on stderr.

libsndfile opens it without its quiet flag and offers no way to set it. A user gets one line from us for every file that
is refused, so nothing is lost with these, which name no file. They are written through the C library's ``stderr``: that
variable is pointed at the null device while a file is decoded, and file descriptor 2 is left alone, so that whatever
else is written in that time (by Python, by a C++ stream, by a process that is started) comes through.
"""

import ctypes
import os
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class _CStandardError:
    """The C library's ``stderr``, silent while at least one thread asks for it."""

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
        # The threads that asked, and perhaps held the lock, are not in the child.
        self._lock = threading.Lock()
        if self._asking:
            self._asking, self._variable.value = 0, self._kept

    def silence(self) -> None:
        """Begin; to be followed by `restore`."""
        with self._lock:
            self._open()
            self._asking += 1
            if self._asking == 1 and self._sink:
                self._kept, self._variable.value = self._variable.value, self._sink

    def restore(self) -> None:
        """End what `silence` began."""
        with self._lock:
            self._asking -= 1
            if self._asking == 0 and self._sink:
                self._variable.value = self._kept


_STDERR = _CStandardError()


@contextmanager
def silent_decoder() -> Iterator[None]:
    """Keep off the screen what C libraries print on ``stderr`` in the meantime, from any number of threads at once.

    With glibc only; elsewhere nothing happens.
    """
    _STDERR.silence()
    try:
        yield
    finally:
        _STDERR.restore()
