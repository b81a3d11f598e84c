"""What a checkpoint holds: the tensors of training by name, loaded in place, and the recipe, which must not change."""

import logging
import pickle
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

from wav2vec2.config import as_plain, differing_keys, options
from wav2vec2.errors import UserError, cause, quoted
from wav2vec2.train import distributed
from wav2vec2.train.checkpoint.closed_reader import ClosedReader
from wav2vec2.train.checkpoint.seal import Damaged

SCALE = "loss_scale"


def restore(checkpoint: Path, tensors: dict[str, Any]) -> None:
    """Load a checkpoint into ``tensors``, in place.

    The scale of the loss stays as it is if the checkpoint has none: it was written on a device that needs none.

    Raises:
        Damaged: a tensor is missing or has another shape, or a file cannot be read.
    """
    failure = ""
    try:
        reader = ClosedReader(checkpoint)
    except (OSError, pickle.UnpicklingError, UserError) as error:
        failure = reason(error)
    if not any(distributed.gather_objects(bool(failure))):
        stored = reader.read_metadata().state_dict_metadata
        if not any(name.startswith(f"{SCALE}.") for name in stored):
            tensors = {name: value for name, value in tensors.items() if name != SCALE}
        try:
            with quiet():
                load_distributed(tensors, storage_reader=reader, no_dist=not distributed.active())
            return
        except (OSError, RuntimeError, ValueError, KeyError, CheckpointException) as error:
            failure = reason(error)
    raise Damaged(checkpoint, f"cannot be loaded: {failure or 'another process failed'}")


def training_tensors(
    model: nn.Module, optimizer: torch.optim.Optimizer, fixed: frozenset[str] = frozenset()
) -> dict[str, Any]:
    """Weights, but those that are ``fixed``, and optimiser moments by parameter name.

    They are the live tensors, which ``restore`` fills.
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    moments = {names[id(parameter)]: state for parameter, state in optimizer.state.items()}
    weights = {name: value for name, value in model.state_dict().items() if name not in fixed}
    return {"model": weights, "optimizer": moments}


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
                f"{directory}: was started with {key} = {quoted(before)}, now it is {quoted(after)}: "
                "put the old value back, or choose another output folder for a new run"
            )


def _filled(old: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    filled = {**defaults, **old}
    for key, value in defaults.items():
        if isinstance(value, Mapping) and isinstance(filled[key], Mapping):
            filled[key] = _filled(filled[key], value)
    return filled


def reason(error: BaseException) -> str:
    """What went wrong, in a few words. torch wraps the cause in a page of tracebacks."""
    if isinstance(error, CheckpointException) and error.failures:
        error = next(iter(error.failures.values()))[0]
    # torch's archive writer fails again while it cleans up, and hides the file's own error.
    own: BaseException | None = error
    while own is not None and not isinstance(own, OSError):
        own = own.__context__
    if own is None and "inline_container" in str(error):
        return "a file cannot be written, as on a full disk"
    return cause(own or error)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence torch's remarks about saving without a process group."""
    logger = logging.getLogger("torch.distributed.checkpoint")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
