"""Training checkpoints: ``torch.distributed.checkpoint`` folders that appear whole or not at all.

A checkpoint is written under a temporary name and renamed, so a process killed at any moment leaves the one before
usable. It loads at any number of processes.
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
        """Write tensors (replicated on all processes) and a small JSON state; called by all processes together.

        Raises:
            UserError: it cannot be written (disk full, no permission); older checkpoints stay.
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
            # Renamed first: a half-deleted folder must not look like a checkpoint.
            doomed = self._root / f".old-{old.name}"
            old.rename(doomed)
            shutil.rmtree(doomed, ignore_errors=True)

    def _complete(self) -> list[Path]:
        return sorted(path for path in self._root.glob("[0-9]*") if (path / STATE_FILE).exists())


def read_state(checkpoint: Path) -> dict[str, Any]:
    """The JSON state of a checkpoint. Raises UserError when it is damaged."""
    try:
        state: dict[str, Any] = json.loads((checkpoint / STATE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{checkpoint}: is damaged ({error}): remove this folder and run the same command again"
        ) from None
    return state


def restore(checkpoint: Path, tensors: dict[str, Any]) -> None:
    """Fill ``tensors`` in place from a checkpoint.

    Raises:
        UserError: a tensor is missing or has another shape.
    """
    try:
        with _quiet():
            load_distributed(tensors, checkpoint_id=str(checkpoint), no_dist=not distributed.active())
    except (OSError, RuntimeError, ValueError, KeyError, CheckpointException) as error:
        raise UserError(
            f"{checkpoint}: cannot be loaded ({_reason(error)}): remove this folder, an older one is then used"
        ) from None


def training_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Weights and optimiser moments by parameter name: the tensors themselves, so that ``restore`` fills them."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    moments = {names[id(parameter)]: state for parameter, state in optimizer.state.items()}
    return {"model": model.state_dict(), "optimizer": moments}


def refuse_changes(directory: Path, old: Mapping[str, Any], config: Any) -> None:
    """Compare a resumed run's configuration with the one that it was started with (``old``, as plain values).

    An option that the old run's version did not know yet counts as having had its default (or ``Rules.formerly``).

    Raises:
        UserError: an option differs that may not change; the message names it.
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
    """What went wrong, in a few words: torch's CheckpointException is a page of tracebacks around it."""
    if isinstance(error, CheckpointException) and error.failures:
        error = next(iter(error.failures.values()))[0]
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split())[:200]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch's remarks about running without a process group off the console."""
    logger = logging.getLogger("torch.distributed.checkpoint")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
