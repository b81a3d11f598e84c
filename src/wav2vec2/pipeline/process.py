"""Runs a ``wav2vec2`` command in a separate process and stops it as a person would: with Ctrl-C, once.

Stages are processes rather than calls: each gives back its memory and threads when it ends, the printed command line is
exactly what runs, and a launcher such as torchrun can start it.
"""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from wav2vec2.errors import Stopped, UserError

INTERRUPTED, STOPPED = 130, 75
_POLL_SECONDS = 0.2


@contextmanager
def locked(folder: Path) -> Iterator[IO[str]]:
    """Hold the folder's lock, so that no two processes work in it.

    A child process that inherits the lock keeps holding it if this process is killed.

    Raises UserError if another process holds the lock.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w", encoding="utf-8") as lock:
        try:
            import fcntl
        except ImportError:  # a system without such locks
            yield lock
            return
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(
                f"{folder}: another process is working here (perhaps a stage that outlived its killed parent): wait "
                "for it, or stop it"
            ) from None
        yield lock


def run_command(
    words: Sequence[str], *, launch: str = "", deadline: float | None = None, inherit: IO[str] | None = None
) -> None:
    """Run ``wav2vec2 WORDS``.

    Args:
        words: the command and its arguments.
        launch: launcher to use instead of this Python, such as "torchrun --nproc-per-node 8 -m wav2vec2".
        deadline: the ``time.monotonic()`` at which the command is asked to save and stop.
        inherit: a lock that the command keeps holding.

    Raises:
        KeyboardInterrupt: after Ctrl-C, SIGTERM (``Stopped``) or the deadline, once the command has saved its state and
            ended.
        UserError: the command failed.
    """
    program = shlex.split(launch) if launch else [sys.executable, "-m", "wav2vec2"]
    keep = () if inherit is None else (inherit.fileno(),)
    sys.stdout.flush()
    # In a new session, so that Ctrl-C reaches only this process, which passes it on to the command, once.
    process = subprocess.Popen(
        [*program, *words], stdin=subprocess.DEVNULL, start_new_session=True, pass_fds=keep, env=_environment()
    )
    why: KeyboardInterrupt | None = None
    with _sigterm_as_interrupt():
        while True:
            try:
                status = _wait(process, None if why else deadline)
                break
            except (KeyboardInterrupt, TimeoutError) as asked:
                why = asked if isinstance(asked, KeyboardInterrupt) else KeyboardInterrupt()
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGINT)
    if why is not None:
        raise why
    if status in (INTERRUPTED, STOPPED):
        raise Stopped("SIGTERM" if status == STOPPED else "Ctrl-C")
    if status:
        raise UserError(f"'wav2vec2 {' '.join(words[:2])} ...' failed with status {status}; see its messages above")


def _wait(process: "subprocess.Popen[bytes]", deadline: float | None) -> int:
    while (status := process.poll()) is None:
        if deadline is not None and time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(_POLL_SECONDS)
    return status


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Treat SIGTERM, which schedulers send before they kill a job, as Ctrl-C."""

    def interrupt(*_: Any) -> None:
        raise Stopped("SIGTERM")

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _environment() -> dict[str, str]:
    """This process's environment with this package's folder on the path: the command must run the same code."""
    source = str(Path(__file__).resolve().parents[2])
    known = os.environ.get("PYTHONPATH", "")
    paths = [source, *(part for part in known.split(os.pathsep) if part and part != source)]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
