"""Files that one process of a machine makes and the others read: what each would otherwise compute for itself."""

import os
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from wav2vec2.data.node_lock import alone, private_folder
from wav2vec2.errors import UserError

_KEPT_DAYS = 7.0


def made_once(name: str, valid: Callable[[Path], bool], write: Callable[[Path], None], obsolete: str = "") -> bool:
    """Make a file in this machine's folder unless it is there; the first process that asks makes it, the others wait.

    Args:
        name: of the file; it says what is in it, so that equal names mean equal content.
        valid: whether a file that is there can be used. It may keep what it has read.
        write: makes the file, whole or not at all.
        obsolete: a file that no process needs any more when this one is made.

    Returns:
        Whether the file is there and valid; otherwise this machine has no room or no folder for it.
    """
    folder = private_folder(tempfile.gettempdir(), "wav2vec2-plans")
    if folder is None:
        return False
    path = folder / name
    try:
        with alone(folder / f"{name.split('.')[0]}.lock"):
            with suppress(OSError):
                os.utime(path)
                if valid(path):
                    return True
            _forget(folder, obsolete)
            write(path)
            return valid(path)
    except (OSError, UserError):  # a full disk
        return False


def _forget(folder: Path, obsolete: str) -> None:
    """Remove a file that is not needed any more, and those of runs that ended long ago."""
    if obsolete:
        with suppress(OSError):
            (folder / obsolete).unlink(missing_ok=True)
    for file in folder.iterdir():
        with suppress(OSError):
            if time.time() - file.stat().st_mtime > _KEPT_DAYS * 86_400:
                file.unlink()
