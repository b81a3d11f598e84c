"""Compiling searches and estimators with numba: once per machine, never stale, and free of the interpreter lock."""

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import njit
from numba.core import event
from numba.core.compiler_lock import global_compiler_lock

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


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Wait until no other process holds the lock, and hold it; without effect where there are no locks."""
    with global_compiler_lock:  # such a lock is a process's, not a thread's
        try:
            import fcntl

            file = lock.open("a", encoding="utf-8")
        except (ImportError, OSError):  # another system, or a folder that this user cannot write
            yield
            return
        with file:
            with suppress(OSError):  # a network drive without locks
                # Not flock: a process forked meanwhile, such as a worker, would hold it as long as it lives.
                try:
                    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except (BlockingIOError, PermissionError):
                    print("waiting for another process that compiles for this machine ...", file=sys.stderr)
                    fcntl.lockf(file, fcntl.LOCK_EX)
            yield


def _by_one_process(compile_or_load: Callable[..., Any], lock: Path) -> Callable[..., Any]:
    """Return numba's `compile`, which looks for stored code first, such that two processes never do the same work.

    It also keeps a process from loading code of an earlier source: numba stores the index before the code it names.
    """

    @functools.wraps(compile_or_load)
    def alone(signature: Any) -> Any:
        with _alone(lock):
            return compile_or_load(signature)

    return alone


def compiled(function: Function) -> Function:
    """Compile `function` on its first call and store the code beside its source file or in the user's cache.

    numba reuses stored code as long as the function's own file is unchanged, although the code of other functions may
    be compiled into it. Here stored code is reused only while no file of `decode` and `lm` has changed. If neither
    place can be written, nothing is stored and every process compiles again. Of several processes that call it at once,
    one compiles; the others wait, and load what it stored.
    """
    try:
        dispatcher: Any = njit(cache=True, nogil=True)(function)
    except RuntimeError:
        dispatcher = njit(nogil=True)(function)
    announcement()
    stored = getattr(getattr(dispatcher, "_cache", None), "_cache_file", None)
    if stored is not None and hasattr(stored, "_source_stamp"):
        stored._source_stamp = _sources_stamp()
        dispatcher.compile = _by_one_process(dispatcher.compile, Path(f"{stored._index_path}.lock"))
    return cast(Function, dispatcher)
