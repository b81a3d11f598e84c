"""What the processes of one machine share: a lock that one holds at a time, and a folder that only this user has."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Wait until no other process holds the lock on `path`, and hold it; the file is made and stays.

    The lock ends with the process that holds it. A file system without locks lets everybody in at once.

    Raises:
        OSError: the file cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        with suppress(ImportError, OSError):  # another system, or a network drive without locks
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def private_folder(parent: str | Path, name: str) -> Path | None:
    """Return the folder `parent`/`name`-USER, made if it is missing; None if others could write there, or it cannot be.

    For `parent` such as /tmp, in which everybody may make files under any name.
    """
    user = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(parent) / f"{name}-{user}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
    except OSError:
        return None
    mine = stat.S_ISDIR(status.st_mode) and (not hasattr(os, "getuid") or status.st_uid == user)
    return folder if mine and not status.st_mode & 0o022 else None
