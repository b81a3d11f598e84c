"""Training checkpoints: ``torch.distributed.checkpoint`` folders that appear whole or not at all.

A checkpoint is written under a temporary name and then renamed. A process that is killed at any moment therefore leaves
the previous checkpoint intact. A checkpoint can be loaded by any number of processes.

torch's own reader unpickles what it finds, and so runs the code of whoever wrote the folder. Here the description
(``.metadata``) and the tensors are read by the closed unpickler of model files; anything but tensors is refused.
"""

import json
import logging
import math
import pickle
import re
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
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    StorageMeta,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import LoadPlan, LoadPlanner
from torch.distributed.checkpoint.state_dict_loader import load as load_distributed
from torch.distributed.checkpoint.state_dict_saver import save as save_distributed
from torch.futures import Future

from wav2vec2.checkpoints.tensors.torch_file import TorchFile
from wav2vec2.checkpoints.tensors.unpickle import Opaque, closed_load, plain_size
from wav2vec2.config import as_plain, differing_keys, options
from wav2vec2.errors import UserError, cause, quoted
from wav2vec2.input_file import open_input, parse_json, read_input
from wav2vec2.train import distributed

STATE_FILE = "state.json"
_DESCRIPTION = ".metadata"
_TENSOR_FILE = re.compile(r"__\d+_\d+\.distcp")
_LARGEST_DESCRIPTION = 1 << 28


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
        state = parse_json(read_input(checkpoint / STATE_FILE))
        if not isinstance(state, dict):
            raise ValueError(f"{STATE_FILE} is not an object")
    except (OSError, ValueError) as error:
        raise _damaged(checkpoint, error) from None
    return state


@contextmanager
def read_without_trust(checkpoint: Path) -> Iterator[None]:
    """Within this context, a state that lacks a value or has an impossible one is a UserError naming the folder."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(checkpoint, error) from None


def _damaged(checkpoint: Path, error: Exception) -> UserError:
    return UserError(f"{checkpoint}: is damaged ({_reason(error)}): remove this folder and run the same command again")


def restore(checkpoint: Path, tensors: dict[str, Any]) -> None:
    """Load a checkpoint into ``tensors``, in place.

    Raises:
        UserError: a tensor is missing or has another shape, or the checkpoint is damaged.
    """
    failure = ""
    try:
        reader = _ClosedReader(checkpoint)
    except (OSError, pickle.UnpicklingError, UserError) as error:
        failure = _reason(error)
    if not any(distributed.gather_objects(bool(failure))):
        try:
            with _quiet():
                load_distributed(tensors, storage_reader=reader, no_dist=not distributed.active())
            return
        except (OSError, RuntimeError, ValueError, KeyError, CheckpointException) as error:
            failure = _reason(error)
    why = failure or "another process failed"
    raise UserError(f"{checkpoint}: cannot be loaded ({why}): remove this folder to continue from an older one")


class _ClosedReader(FileSystemReader):
    """torch's reader of a checkpoint's folder, but for what it would unpickle."""

    def __init__(self, checkpoint: Path) -> None:
        super().__init__(checkpoint)
        self._folder = checkpoint
        path = checkpoint / _DESCRIPTION
        data = read_input(path, _LARGEST_DESCRIPTION)
        try:
            # Here and not in read_metadata, whose errors torch prints as tracebacks.
            self._described = _described(closed_load(data, path, names=_NAMES)[0])
        except UserError:
            raise
        except Exception as error:  # a hostile or damaged pickle can raise anything
            raise pickle.UnpicklingError(f"{_DESCRIPTION} does not describe tensors ({cause(error)})") from None

    def read_metadata(self, *_args: Any, **_kwargs: Any) -> Metadata:
        """Return the description of the tensors."""
        return self._described

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        """Fill the tensors of ``plan``, each with its piece of a stored tensor."""
        for item in plan.items:
            place = self.storage_data[item.storage_index]
            path = self._folder / place["relative_path"]
            with open_input(path) as file:
                file.seek(place["offset"])
                stored = TorchFile(path, file.read(place["length"]))
            if not isinstance(stored.content, torch.Tensor):
                raise pickle.UnpicklingError(f"{item.storage_index.fqn} is not a tensor")
            values = stored.values(stored.content)
            for dimension, (first, size) in enumerate(zip(item.storage_offsets, item.lengths, strict=True)):
                values = values.narrow(dimension, first, size)
            target = planner.resolve_tensor(item).detach()
            if target.size() != values.size():
                raise pickle.UnpicklingError(f"{item.storage_index.fqn} has another size than described")
            target.copy_(values)
            planner.commit_tensor(item, target)
        done: Future[None] = Future()
        done.set_result(None)
        return done


def _stand_ins(module: str, *names: str) -> dict[tuple[str, str], object]:
    return {(module, name): type(name, (Opaque,), {}) for name in names}


_CLASSES = ("Metadata", "MetadataIndex", "StorageMeta", "TensorProperties", "TensorStorageMetadata")
_NAMES: dict[tuple[str, str], object] = {
    **_stand_ins("torch.distributed.checkpoint.metadata", *_CLASSES, "ChunkStorageMetadata", "_MEM_FORMAT_ENCODING"),
    **_stand_ins("torch.distributed.checkpoint.filesystem", "_StorageInfo"),
    **_stand_ins("torch.serialization", "_get_layout"),
}


def _described(content: Any) -> Metadata:
    """Return torch's description of a checkpoint, given what the closed unpickler made of it; each value is checked."""
    described = content.state
    tensors: dict[str, Any] = {
        str(name): _tensor(entry.state) for name, entry in described["state_dict_metadata"].items()
    }
    storage = {}
    for index, place in described["storage_data"].items():
        key, info = index.state, dict(place.state)
        whole = all(type(info[name]) is int and 0 <= info[name] < 1 << 62 for name in ("offset", "length"))
        if not whole or not _TENSOR_FILE.fullmatch(info["relative_path"]) or info.get("transform_descriptors"):
            raise pickle.UnpicklingError(f"{_DESCRIPTION} describes {quoted(info)}, which is not the place of a tensor")
        offset = None if key.get("offset") is None else plain_size(key["offset"])
        storage[MetadataIndex(key["fqn"], offset, key.get("index"))] = info
    return Metadata(tensors, None, storage, StorageMeta(), "1.0.0")


def _tensor(state: Any) -> TensorStorageMetadata:
    size = plain_size(state["size"])
    pieces = [(plain_size(chunk.state["offsets"]), plain_size(chunk.state["sizes"])) for chunk in state["chunks"]]
    inside = all(
        len(first) == len(length) == len(size)
        and all(f >= 0 and n >= 0 and f + n <= whole for f, n, whole in zip(first, length, size, strict=True))
        for first, length in pieces
    )
    if not inside or sum(math.prod(length) for _, length in pieces) != math.prod(size):
        raise pickle.UnpicklingError(f"{_DESCRIPTION} describes a tensor that its pieces do not make up")
    chunks = [ChunkStorageMetadata(torch.Size(first), torch.Size(length)) for first, length in pieces]
    return TensorStorageMetadata(TensorProperties(), torch.Size(size), chunks)


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
                f"{directory}: was started with {key} = {quoted(before)}, now it is {quoted(after)}: "
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
    return cause(error)


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
