"""A training run in a process of its own that tells when it does what, and a disk that can be full: for ``soak.py``."""

import contextlib
import ctypes
import os
import resource
import select
import shutil
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

from wav2vec2 import cli
from wav2vec2.config import write_toml
from wav2vec2.train.best import BestWeights
from wav2vec2.train.checkpoint import folder
from wav2vec2.train.pretrain.command import PretrainConfig
from wav2vec2.train.pretrain.objective import ContrastiveObjective
from wav2vec2.train.step import Step

PATIENCE = 120.0


class Life:
    """One process of the run, forked from this one, which tells when it does what."""

    def __init__(self, config: PretrainConfig, console: Path) -> None:
        path = console.with_suffix(".toml")
        write_toml(config, path)
        self._told, tell = os.pipe()
        said, say = os.pipe()  # not a file: a limit on the size of files would hold for it too
        self.pid = os.fork()
        if self.pid == 0:
            os._exit(_live(path, say, tell))
        os.close(tell)
        os.close(say)
        self._listener = threading.Thread(target=_write_down, args=(said, console))
        self._listener.start()

    def wait_for(self, what: bytes, times: int = 1) -> bool:
        """Wait until the process has told one of these letters a few times; False if it ended before."""
        while times > 0:
            if not select.select([self._told], [], [], PATIENCE)[0]:
                raise TimeoutError(f"nothing is heard of process {self.pid}")
            heard = os.read(self._told, 1)
            if not heard:
                return False
            times -= heard in what
        return True

    def signal(self, number: int) -> None:
        """Send a signal, if the process is still there."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def end(self) -> int:
        """Wait for the end; return the status, or minus the signal."""
        self.wait_for(b"")
        os.close(self._told)
        self._listener.join()
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def _write_down(said: int, console: Path) -> None:
    """Copy what a process says into a file."""
    with open(said, "rb") as words, open(console, "wb") as file:
        shutil.copyfileobj(words, file)


def _live(recipe: Path, console: int, tell: int) -> int:
    """The life of a forked process: the command, with its console in a pipe. Returns its status."""

    def telling(owner: Any, name: str, letter: bytes) -> None:
        inner = getattr(owner, name)

        def told(*given: Any, **named: Any) -> Any:
            os.write(tell, letter)
            return inner(*given, **named)

        setattr(owner, name, told)

    os.dup2(console, 1)
    os.dup2(console, 2)
    for owner, name, letter in (
        (Step, "take", b"u"),
        (ContrastiveObjective, "validate", b"v"),
        (BestWeights, "_write", b"b"),
        (folder, "save_distributed", b"s"),
    ):
        telling(owner, name, letter)
    try:
        status = cli.main(["pretrain", str(recipe)])
        sys.stdout.flush()
        return status
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        return 1


class Disk:
    """The disk of the run, which can be full."""

    def __init__(self, place: Path, mount: bool) -> None:
        self._place, self._ballast = place, place / "ballast"
        place.mkdir(parents=True, exist_ok=True)
        system = ctypes.CDLL(None, use_errno=True)
        self.mounted = mount and system.mount(b"tmpfs", os.fsencode(place), b"tmpfs", 0, b"size=16m") == 0
        self._unmount = system.umount
        self._limited = 0

    def fill(self, pid: int) -> None:
        """Leave no space: nothing that process ``pid`` writes from now on gets onto the disk."""
        if self.mounted:
            with contextlib.suppress(OSError), self._ballast.open("ab", buffering=0) as file:
                while True:
                    file.write(b"\0" * 4096)
        else:
            self._limited = pid
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))

    def free(self) -> None:
        """Give the space back."""
        self._ballast.unlink(missing_ok=True)
        if self._limited:
            with contextlib.suppress(ProcessLookupError):
                unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
                resource.prlimit(self._limited, resource.RLIMIT_FSIZE, unlimited)
        self._limited = 0

    def close(self) -> None:
        """Unmount."""
        if self.mounted:
            self._unmount(os.fsencode(self._place))
