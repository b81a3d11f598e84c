"""Compiling searches and estimators with numba: once per machine, never stale, and free of the interpreter lock."""

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import njit
from numba.core import event

Function = TypeVar("Function", bound=Callable[..., Any])


@functools.cache
def _sources_stamp() -> tuple[float, int]:
    package = Path(__file__).parents[1]
    files = [path.stat() for folder in ("decode", "lm") for path in (package / folder).rglob("*.py")]
    return max(file.st_mtime for file in files), sum(file.st_size for file in files)


class _Announcement(event.Listener):
    """Prints, once per process, that compiling takes a while; numba calls it where it finds no stored code."""

    said = False

    def on_start(self, event: event.Event) -> None:
        if not self.said:
            self.said = True
            print("compiling for this machine; this happens once and takes a minute or two ...", file=sys.stderr)

    def on_end(self, event: event.Event) -> None:
        pass


@functools.cache
def announcement() -> _Announcement:
    """Return the listener; the first call registers it with numba."""
    listener = _Announcement()
    event.register("numba:compile", listener)
    return listener


def compiled(function: Function) -> Function:
    """Compile `function` on its first call and store the code beside its source file or in the user's cache.

    numba reuses stored code as long as the function's own file is unchanged, although the code of other functions may
    be compiled into it. Here stored code is reused only while no file of `decode` and `lm` has changed. If neither
    place can be written, nothing is stored and every process compiles again.
    """
    try:
        dispatcher: Any = njit(cache=True, nogil=True)(function)
    except RuntimeError:
        dispatcher = njit(nogil=True)(function)
    announcement()
    stored = getattr(getattr(dispatcher, "_cache", None), "_cache_file", None)
    if stored is not None and hasattr(stored, "_source_stamp"):
        stored._source_stamp = _sources_stamp()
    return cast(Function, dispatcher)
