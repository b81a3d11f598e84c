"""A ``wav2vec2`` command in a process of its own, which is stopped as a person stops it: by Ctrl-C, once.

Stages are processes, not calls: each gives its memory and its threads back when it ends, what runs is the printed line
itself, and a launcher such as torchrun can stand before it.
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

from wav2vec2.errors import UserError

INTERRUPTED = 130
_LAUNCHED = ("pretrain", "finetune", "lm transformer")
_POLL = 0.2


@contextmanager
def only_one(folder: Path) -> Iterator[IO[str]]:
    """Hold the folder's lock; a child that inherits it keeps it when we are killed, so that no two work there.

    Raises UserError when another process holds it.
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
                f"{folder}: another process works here (or a stage that outlived a killed one): wait for it or stop it"
            ) from None
        yield lock


def run_command(
    words: Sequence[str], *, launch: str = "", deadline: float | None = None, inherit: IO[str] | None = None
) -> None:
    """Run ``wav2vec2 WORDS`` to its end.

    launch: what starts training commands instead of this Python, such as "torchrun --nproc-per-node 8 -m wav2vec2".
    deadline: the ``time.monotonic()`` at which it is asked to save and leave. inherit: a lock that it keeps.

    Raises:
        KeyboardInterrupt: after Ctrl-C, SIGTERM or the deadline, when the command has saved its state and left.
        UserError: it failed.
    """
    training = launch and any(" ".join(words).startswith(name) for name in _LAUNCHED)
    program = shlex.split(launch) if training else [sys.executable, "-m", "wav2vec2"]
    keep = () if inherit is None else (inherit.fileno(),)
    sys.stdout.flush()
    # A session of its own: Ctrl-C reaches us alone, and the command gets it from us, once.
    process = subprocess.Popen(
        [*program, *words], stdin=subprocess.DEVNULL, start_new_session=True, pass_fds=keep, env=_environment()
    )
    asked = False
    with _terminations():
        while True:
            try:
                status = _wait(process, None if asked else deadline)
                break
            except (KeyboardInterrupt, TimeoutError):
                asked = True
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGINT)
    if asked:
        raise KeyboardInterrupt
    if status == INTERRUPTED:
        raise KeyboardInterrupt
    if status:
        raise UserError(f"'wav2vec2 {' '.join(words[:2])} ...' failed with status {status}; the lines above say why")


def _wait(process: "subprocess.Popen[bytes]", deadline: float | None) -> int:
    while (status := process.poll()) is None:
        if deadline is not None and time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(_POLL)
    return status


@contextmanager
def _terminations() -> Iterator[None]:
    """SIGTERM, which schedulers send before they kill, counts as Ctrl-C."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

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
    """Ours, with the folder that this package was read from: the command must be the same program."""
    source = str(Path(__file__).resolve().parents[2])
    known = os.environ.get("PYTHONPATH", "")
    paths = [source, *(part for part in known.split(os.pathsep) if part and part != source)]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
