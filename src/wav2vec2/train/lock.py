"""One run in one output folder: a lock that ends with the process that holds it, however it ends.

The lock belongs to the process and not to an open file: a process that reads audio for a run which was killed would
otherwise keep the folder locked.
"""

import errno
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from wav2vec2.errors import UserError
from wav2vec2.input_file import parse_json
from wav2vec2.train import distributed

LOCK_FILE = ".run.lock"
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}


@contextmanager
def sole_run(output: Path) -> Iterator[list[str]]:
    """Hold the output folder, in the main process; yield lines to print. The file stays, only the lock ends.

    A file system without locks lets the run begin, with a line that says so.

    Raises:
        UserError: another run holds it. The message says which process, on which machine, and since when. Raised on
            all processes together.
    """
    failure, lines, file = "", list[str](), None
    if distributed.place()[0] == 0:
        output.mkdir(parents=True, exist_ok=True)
        file = os.open(output / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            failure = _take(file, output, lines)
        except BaseException:
            os.close(file)
            raise
    try:
        if failure := distributed.first_text(failure):
            raise UserError(failure)
        yield lines
    finally:
        if file is not None:
            os.close(file)  # this ends the lock


def _take(file: int, output: Path, lines: list[str]) -> str:
    """Take the lock and write down who has it; return why it cannot be taken, or ""."""
    try:
        import fcntl
    except ImportError:  # another system
        return ""
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            return (
                f"{output}: another run is working in this folder ({_holder(file)}): wait for it, stop it, or choose "
                "another output folder"
            )
        if error.errno not in _NO_LOCKS:
            raise
        lines.append(f"{output}: this file system has no locks: take care that no second run writes here")
        return ""
    since = time.strftime("%Y-%m-%d %H:%M:%S %Z")
    told = json.dumps({"host": socket.gethostname(), "process": os.getpid(), "since": since})
    with suppress(OSError):  # a full disk
        os.pwrite(file, told.ljust(200).encode(), 0)
        os.ftruncate(file, 200)
    return ""


def _holder(file: int) -> str:
    try:
        told = parse_json(os.pread(file, 1000, 0))
        return f"process {int(told['process'])} on {str(told['host'])[:80]}, since {str(told['since'])[:40]}"
    except (ValueError, KeyError, TypeError, OSError, OverflowError):
        return "which one, its lock does not say"
