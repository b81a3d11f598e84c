"""How this package's search is compiled: once for a machine, without the interpreter lock, and never stale."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])


@functools.cache
def _sources_stamp() -> tuple[float, int]:
    package = Path(__file__).parents[1]
    files = [path.stat() for folder in ("decode", "lm") for path in (package / folder).glob("*.py")]
    return max(file.st_mtime for file in files), sum(file.st_size for file in files)


def compiled(function: Function) -> Function:
    """Compile `function` when it is first called and keep the result beside its source file.

    numba takes stored code for current as long as the function's own file is unchanged, although the functions that it
    calls are compiled into it. Here it is current as long as no file of the search or of the language models changed.
    """
    dispatcher: Any = njit(cache=True, nogil=True)(function)
    stored: Any = getattr(getattr(dispatcher, "_cache", None), "_cache_file", None)
    if hasattr(stored, "_source_stamp"):
        stored._source_stamp = _sources_stamp()
    return cast(Function, dispatcher)
