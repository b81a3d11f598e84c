"""How searches and estimators are compiled: once for a machine, without the interpreter lock, and never stale."""

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
    """Says once in a process why nothing seems to happen; numba calls it when no stored code was found."""

    said = False

    def on_start(self, event: event.Event) -> None:
        if not self.said:
            self.said = True
            print("compiling for this machine, once: this takes a minute or two ...", file=sys.stderr)

    def on_end(self, event: event.Event) -> None:
        pass


@functools.cache
def announcement() -> _Announcement:
    """The listener, registered with numba when it is first asked for."""
    listener = _Announcement()
    event.register("numba:compile", listener)
    return listener


def compiled(function: Function) -> Function:
    """Compile `function` when it is first called and keep the result beside its source file, else in the user's cache.

    numba takes stored code for current as long as the function's own file is unchanged, although the functions that it
    calls are compiled into it. Here it is current as long as no file of the searches or of the language models changed.
    Where neither place can be written, nothing is stored and every process compiles anew.
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
