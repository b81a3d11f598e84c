"""The checkpoints of one run: ``torch.distributed.checkpoint`` folders that appear whole or not at all.

A checkpoint is copied into the processor's memory and then written by a thread, while training goes on. It is written
under a temporary name, sealed, and renamed. A process that is killed at any moment therefore leaves the previous
checkpoint intact. A checkpoint can be loaded by any number of processes.
"""

import gc
import io
import shutil
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions
from torch.distributed.checkpoint.state_dict_saver import save as save_distributed

from wav2vec2.errors import UserError
from wav2vec2.train import distributed
from wav2vec2.train.checkpoint.contents import reason
from wav2vec2.train.checkpoint.seal import STATE_FILE, Damaged, digests, read_state, sync_folder, write_state

GOOD = "good"
"""Key of the state: nothing was suspicious when the checkpoint was written. Such a one can be returned to."""


@dataclass
class Saved:
    """How a save ended: ``failure`` says why there is no checkpoint of ``update``; "" if there is one."""

    update: int
    state: dict[str, Any]
    failure: str = ""
    seconds: float = 0.0
    """Time in the background."""


class Checkpoints:
    """The checkpoints of one run, in numbered folders below ``root``. All processes call each method together."""

    def __init__(self, root: Path, keep_last: int) -> None:
        self._root, self._keep = root, max(1, keep_last)
        self._rank, self._world = distributed.place()
        # The thread that writes needs a group of its own: collectives of two threads must not mix.
        self._group = dist.new_group(backend="gloo") if self._world > 1 else None
        warnings.filterwarnings("ignore", message=r"torch\.distributed is (disabled|unavailable)")
        options = StagingOptions(torch.cuda.is_available(), False, False, False)
        self._stager = DefaultStager(options)
        self._thread: threading.Thread | None = None
        self._saved: Saved | None = None

    def latest(self) -> Path | None:
        """The newest complete checkpoint, or None."""
        return next(iter(self.newest_first()), None)

    @property
    def newest_update(self) -> int | None:
        """Update of the newest checkpoint, as this process sees it."""
        complete = self._complete()
        return int(complete[-1].name) if complete else None

    def newest_first(self) -> list[Path]:
        """All complete checkpoints, from the newest to the oldest, as the main process sees them."""
        if self._rank == 0:
            self._recover()
        found: list[Path] = distributed.gather_objects(self._complete()[::-1] if self._rank == 0 else [])[0]
        return found

    def last_good(self) -> Path | None:
        """The newest checkpoint that was written while nothing was suspicious, or None."""
        for path in self.newest_first():
            with suppress(Damaged):
                if read_state(path).get(GOOD):
                    return path
        return None

    def begin(self, update: int, tensors: dict[str, Any], state: Mapping[str, Any]) -> None:
        """Copy tensors and a small JSON state, and write them in the background. Waits for a save that is in flight."""
        self.finish()
        staged = self._stager.stage(tensors)
        self._saved = Saved(update, dict(state))
        self._thread = threading.Thread(target=self._write, args=(self._saved, staged), name="checkpoint", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Wait for the save in flight, if there is one."""
        if self._thread is not None:
            self._thread.join()

    def ended(self) -> Saved | None:
        """How the last save ended; None while it is in flight, and once this has been told."""
        if self._thread is None or self._thread.is_alive():
            return None
        saved, self._thread, self._saved = self._saved, None, None
        return saved

    def save(self, update: int, tensors: dict[str, Any], state: Mapping[str, Any]) -> Path:
        """Write a checkpoint and wait for it.

        Raises:
            UserError: the checkpoint cannot be written (disk full, no permission). Older checkpoints stay.
        """
        self.begin(update, tensors, state)
        self.finish()
        saved = self.ended()
        assert saved is not None
        if saved.failure:
            raise UserError(
                f"{self._path(update)}: the checkpoint cannot be written ({saved.failure}): free space and run the "
                "same command again"
            )
        return self._path(update)

    def set_aside(self, checkpoint: Path, why: str) -> Path:
        """Rename a checkpoint so that it is never resumed from; return its new place. Nothing is deleted."""
        target = self._root / f"{why}-{checkpoint.name}"
        number = 1
        while target.exists():
            number += 1
            target = self._root / f"{why}-{checkpoint.name}-{number}"
        if self._rank == 0:
            checkpoint.rename(target)
        distributed.barrier()
        return target

    def _path(self, update: int) -> Path:
        return self._root / f"{update:09d}"

    def _write(self, saved: Saved, staged: dict[str, Any]) -> None:
        started = time.perf_counter()
        target = self._path(saved.update)
        temporary = self._root / f".writing-{target.name}"
        try:
            saved.failure = self._attempt(temporary, target, staged, saved.state)
        except Exception as error:  # a thread's error would be lost: whatever it is, the run has to say it
            saved.failure = reason(error) or type(error).__name__
        if saved.failure and self._rank == 0:
            shutil.rmtree(temporary, ignore_errors=True)
        saved.seconds = time.perf_counter() - started

    def _attempt(self, temporary: Path, target: Path, staged: dict[str, Any], state: dict[str, Any]) -> str:
        """Write and publish; return why that failed, the same on all processes."""
        failure = ""
        if self._rank == 0:
            try:
                self._root.mkdir(parents=True, exist_ok=True)
                for old in self._root.glob(".*-*"):
                    shutil.rmtree(old, ignore_errors=True)
            except OSError as error:
                failure = reason(error)
        if failure := self._agreed(failure):
            return failure
        own: dict[str, str] = {}
        with _streams_may_fail_to_close():
            try:
                save_distributed(
                    staged, checkpoint_id=str(temporary), process_group=self._group, no_dist=self._group is None
                )
                own = digests(temporary, self._rank)
            except (OSError, RuntimeError, UserError, CheckpointException) as error:
                failure = reason(error)
            if failure:
                gc.collect()  # what the error held of the stream is closed here
        if failure := self._agreed(failure):
            return failure
        files = {name: value for one in self._gathered(own) for name, value in one.items()}
        if self._rank == 0:
            try:
                write_state(temporary, state, files)
                self._publish(temporary, target)
            except OSError as error:
                failure = reason(error)
        return self._agreed(failure)

    def _gathered(self, value: Any) -> list[Any]:
        if self._group is None:
            return [value]
        values: list[Any] = [None] * self._world
        dist.all_gather_object(values, value, group=self._group)
        return values

    def _agreed(self, failure: str) -> str:
        """The first failure of any process."""
        return next(filter(None, self._gathered(failure)), "")

    def _publish(self, temporary: Path, target: Path) -> None:
        if target.exists():
            target.rename(self._root / f".old-{target.name}")
        temporary.rename(target)
        sync_folder(self._root)
        complete = self._complete()
        kept = set(complete[-self._keep :])
        if not any(map(_is_good, kept)):  # a sick run needs one to return to
            kept |= set(list(filter(_is_good, complete))[-1:])
        for old in complete:
            if old not in kept:
                # Rename first: a folder that is deleted in part must not look like a checkpoint.
                doomed = self._root / f".old-{old.name}"
                old.rename(doomed)
                shutil.rmtree(doomed, ignore_errors=True)
        shutil.rmtree(self._root / f".old-{target.name}", ignore_errors=True)

    def _recover(self) -> None:
        """Put a checkpoint back whose successor of the same update had not yet got its name."""
        for old in self._root.glob(".old-[0-9]*"):
            place = self._root / old.name.removeprefix(".old-")
            if (old / STATE_FILE).exists() and not place.exists() and not self._complete():
                with suppress(OSError):
                    old.rename(place)

    def _complete(self) -> list[Path]:
        return sorted(path for path in self._root.glob("[0-9]*") if (path / STATE_FILE).exists())


def _is_good(checkpoint: Path) -> bool:
    try:
        return bool(read_state(checkpoint).get(GOOD))
    except Damaged:
        return False


@contextmanager
def _streams_may_fail_to_close() -> Iterator[None]:
    """Keep Python (3.13 and later) from printing a traceback for torch's stream around a file that was refused.

    The stream has no method to close the file: when it is deleted, it flushes a file that is closed by then.
    """
    before = sys.unraisablehook

    def hook(unraisable: "sys.UnraisableHookArgs") -> None:
        if not (isinstance(unraisable.object, io.IOBase) and isinstance(unraisable.exc_value, ValueError)):
            before(unraisable)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before
