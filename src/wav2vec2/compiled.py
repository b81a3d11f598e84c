"""How searches and estimators are compiled: once for a machine, without the interpreter lock, and never stale."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])


@functools.cache
def _sources_stamp() -> tuple[float, int]:
    package = Path(__file__).parent
    files = [path.stat() for folder in ("decode", "lm") for path in (package / folder).glob("*.py")]
    return max(file.st_mtime for file in files), sum(file.st_size for file in files)


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
    stored = getattr(getattr(dispatcher, "_cache", None), "_cache_file", None)
    if stored is not None and hasattr(stored, "_source_stamp"):
        stored._source_stamp = _sources_stamp()
    return cast(Function, dispatcher)
