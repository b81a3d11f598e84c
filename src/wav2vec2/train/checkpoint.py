"""Training checkpoints: ``torch.distributed.checkpoint`` folders that appear whole or not at all.

A checkpoint is written under a temporary name and then renamed. A process that is killed at any moment therefore leaves
the previous checkpoint intact. A checkpoint can be loaded by any number of processes.
"""

import json
import logging
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict_loader import load as load_distributed
from torch.distributed.checkpoint.state_dict_saver import save as save_distributed

from wav2vec2.config import as_plain, differing_keys, options
from wav2vec2.errors import UserError
from wav2vec2.train import distributed

STATE_FILE = "state.json"


class Checkpoints:
    """The checkpoints of one run, in numbered folders below ``root``."""

    def __init__(self, root: Path, keep_last: int) -> None:
        self._root, self._keep = root, max(1, keep_last)

    def latest(self) -> Path | None:
        """The newest complete checkpoint, or None."""
        complete = self._complete()
        return complete[-1] if complete else None

    def save(self, update: int, tensors: dict[str, Any], state: Mapping[str, Any]) -> Path:
        """Write tensors (the same on all processes) and a small JSON state. All processes call this together.

        Raises:
            UserError: the checkpoint cannot be written (disk full, no permission). Older checkpoints stay.
        """
        target = self._root / f"{update:09d}"
        temporary = self._root / f".writing-{target.name}"
        failure = ""
        try:
            if distributed.place()[0] == 0:
                self._root.mkdir(parents=True, exist_ok=True)
                for old in self._root.glob(".*-*"):
                    shutil.rmtree(old, ignore_errors=True)
            distributed.barrier()
            with _quiet():
                save_distributed(tensors, checkpoint_id=str(temporary), no_dist=not distributed.active())
            if distributed.place()[0] == 0:
                (temporary / STATE_FILE).write_text(json.dumps(state), encoding="utf-8")
                self._publish(temporary, target)
        except (OSError, RuntimeError, CheckpointException) as error:
            failure = _reason(error)
        if any(distributed.gather_objects(bool(failure))):
            shutil.rmtree(temporary, ignore_errors=True)
            why = failure or "another process failed"
            raise UserError(
                f"{target}: the checkpoint cannot be written ({why}): free space and run the same command again"
            )
        return target

    def _publish(self, temporary: Path, target: Path) -> None:
        if target.exists():
            target.rename(self._root / f".old-{target.name}")
        temporary.rename(target)
        for old in self._complete()[: -self._keep]:
            # Rename first: a folder that is deleted in part must not look like a checkpoint.
            doomed = self._root / f".old-{old.name}"
            old.rename(doomed)
            shutil.rmtree(doomed, ignore_errors=True)

    def _complete(self) -> list[Path]:
        return sorted(path for path in self._root.glob("[0-9]*") if (path / STATE_FILE).exists())


def read_state(checkpoint: Path) -> dict[str, Any]:
    """The JSON state of a checkpoint.

    Raises:
        UserError: it is damaged.
    """
    try:
        state: dict[str, Any] = json.loads((checkpoint / STATE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{checkpoint}: is damaged ({error}): remove this folder and run the same command again"
        ) from None
    return state


def restore(checkpoint: Path, tensors: dict[str, Any]) -> None:
    """Load a checkpoint into ``tensors``, in place.

    Raises:
        UserError: a tensor is missing or has another shape, or the checkpoint is damaged.
    """
    try:
        with _quiet():
            load_distributed(tensors, checkpoint_id=str(checkpoint), no_dist=not distributed.active())
    except (OSError, RuntimeError, ValueError, KeyError, CheckpointException) as error:
        raise UserError(
            f"{checkpoint}: cannot be loaded ({_reason(error)}): remove this folder to continue from an older one"
        ) from None


def training_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Weights and optimiser moments by parameter name. They are the live tensors, which ``restore`` fills."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    moments = {names[id(parameter)]: state for parameter, state in optimizer.state.items()}
    return {"model": model.state_dict(), "optimizer": moments}


def refuse_changes(directory: Path, old: Mapping[str, Any], config: Any) -> None:
    """Compare the configuration of a resumed run with the one that it was started with (``old``, as plain values).

    An option that did not exist when the run was started counts as ``Rules.formerly``, or else as its default.

    Raises:
        UserError: an option has changed that must not change. The message names it.
    """
    free = {key for key, _, rules in options(config) if rules.may_change}
    usual = as_plain(type(config)())
    for key, _, rules in options(config):
        if rules.formerly is not None:
            *sections, name = key.split(".")
            reduce(getitem, sections, usual)[name] = rules.formerly
    for key, before, after in differing_keys(_filled(old, usual), as_plain(config)):
        if key not in free:
            raise UserError(
                f"{directory}: was started with {key} = {before!r}, now it is {after!r}: "
                "put the old value back, or choose another output folder for a new run"
            )


def _filled(old: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    filled = {**defaults, **old}
    for key, value in defaults.items():
        if isinstance(value, Mapping) and isinstance(filled[key], Mapping):
            filled[key] = _filled(filled[key], value)
    return filled


def _reason(error: BaseException) -> str:
    """What went wrong, in a few words. torch wraps the cause in a page of tracebacks."""
    if isinstance(error, CheckpointException) and error.failures:
        error = next(iter(error.failures.values()))[0]
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split())[:200]


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence torch's remarks about saving without a process group."""
    logger = logging.getLogger("torch.distributed.checkpoint")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
