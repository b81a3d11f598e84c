"""One process of a machine at a time: a lock on a file, which ends with the process that holds it."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Wait until no other process holds the lock on `path`, and hold it; the file is made and stays.

    A file system without locks lets everybody in at once.

    Raises:
        OSError: the file cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        with suppress(ImportError, OSError):  # another system, or a network drive without locks
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield
