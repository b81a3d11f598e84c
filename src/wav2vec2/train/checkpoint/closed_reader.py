"""Reads the folder of a checkpoint without running what is in it.

torch's own reader unpickles what it finds, and so runs the code of whoever wrote the folder. Here the description
(``.metadata``) and the tensors are read by the closed unpickler of model files; anything but tensors is refused.
"""

import math
import pickle
import re
from pathlib import Path
from typing import Any

import torch
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
from torch.futures import Future

from wav2vec2.checkpoints.tensors.torch_file import TorchFile
from wav2vec2.checkpoints.tensors.unpickle import Opaque, closed_load, plain_size
from wav2vec2.errors import UserError, cause, quoted
from wav2vec2.input_file import open_input, read_input

DESCRIPTION = ".metadata"
TENSOR_FILE = re.compile(r"__\d+_\d+\.distcp")
_LARGEST_DESCRIPTION = 1 << 28


class ClosedReader(FileSystemReader):
    """torch's reader of a checkpoint's folder, but for what it would unpickle."""

    def __init__(self, checkpoint: Path) -> None:
        super().__init__(checkpoint)
        self._folder = checkpoint
        path = checkpoint / DESCRIPTION
        data = read_input(path, _LARGEST_DESCRIPTION)
        try:
            # Here and not in read_metadata, whose errors torch prints as tracebacks.
            self._described = _described(closed_load(data, path, names=_NAMES)[0])
        except UserError:
            raise
        except Exception as error:  # a hostile or damaged pickle can raise anything
            raise pickle.UnpicklingError(f"{DESCRIPTION} does not describe tensors ({cause(error)})") from None

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
        if not whole or not TENSOR_FILE.fullmatch(info["relative_path"]) or info.get("transform_descriptors"):
            raise pickle.UnpicklingError(f"{DESCRIPTION} describes {quoted(info)}, which is not the place of a tensor")
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
        raise pickle.UnpicklingError(f"{DESCRIPTION} describes a tensor that its pieces do not make up")
    chunks = [ChunkStorageMetadata(torch.Size(first), torch.Size(length)) for first, length in pieces]
    return TensorStorageMetadata(TensorProperties(), torch.Size(size), chunks)
