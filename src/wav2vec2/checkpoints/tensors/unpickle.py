"""Unpickle without running anything that the file asks for.

A pickle names functions to import and call. Here every name is looked up in a closed list: tensors, plain containers
and ``argparse.Namespace`` come through as inert values; classes of fairseq, omegaconf and numpy become an ``Opaque``
that keeps what it was given and does nothing with it (old files keep meters and optimiser history beside their
weights); anything else is refused by name. Nothing but this file's own code runs, and neither fairseq nor omegaconf is
imported. ``plain_settings`` turns a configuration in any of these disguises into dicts, lists and scalars.
"""

import math
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from wav2vec2.errors import UserError

_STORAGE_DTYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_OPAQUE_PACKAGES = ("fairseq", "fairseq2", "omegaconf", "numpy", "pathlib")
# Types that omegaconf keeps in its metadata; as stand-ins, because a type can be called.
_TYPE_NAMES = ("dict", "list", "tuple", "int", "long", "float", "str", "unicode", "bool", "object")


class Namespace:
    """What stands for ``argparse.Namespace``: attributes and nothing else."""


class Opaque:
    """An object of a foreign class, kept closed: it remembers arguments and state, and neither is acted upon."""

    arguments: tuple[object, ...] = ()
    state: object = None

    def __init__(self, *arguments: object, **_named: object) -> None:
        """Keep the arguments."""
        self.arguments = arguments

    def __setstate__(self, state: object) -> None:
        """Keep the state as it is."""
        self.state = state

    def append(self, item: object) -> None:
        """Ignore a list item."""

    def extend(self, items: object) -> None:
        """Ignore list items."""

    def __setitem__(self, key: object, value: object) -> None:
        """Ignore a dictionary item."""


@dataclass(frozen=True)
class StoredStorage:
    """A storage that the pickle refers to by key; nothing of it has been read."""

    key: str
    dtype: torch.dtype
    count: int


@dataclass(frozen=True)
class StoredTensor:
    """Where the values of a tensor lie: a strided window of a storage."""

    storage: StoredStorage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def span(self) -> int:
        """Elements of the storage from the first to the last of the window."""
        return 0 if 0 in self.size else 1 + sum((n - 1) * s for n, s in zip(self.size, self.stride, strict=True))


SOURCE_ATTRIBUTE = "stored_tensor"
"""Attribute of a meta tensor that says where its values lie."""


def _rebuild_tensor(
    storage: StoredStorage, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_rest: object
) -> Tensor:
    stored = StoredTensor(storage, offset, tuple(size), tuple(stride))
    if min((offset, *stored.size, *stored.stride)) < 0:
        raise pickle.UnpicklingError("a tensor has negative sizes")
    if math.prod(stored.size) > max(storage.count, 1):
        raise pickle.UnpicklingError("a tensor has more elements than its storage")
    if offset + stored.span > storage.count:
        raise pickle.UnpicklingError("a tensor reaches beyond its storage")
    tensor = torch.empty(stored.size, dtype=storage.dtype, device="meta")
    setattr(tensor, SOURCE_ATTRIBUTE, stored)
    return tensor


def _rebuild_parameter(data: Tensor, *_rest: object) -> Tensor:
    return data


def _encode(text: str, encoding: str = "latin1") -> bytes:
    return text.encode("latin1" if encoding not in ("utf-8", "ascii") else encoding)


_ALLOWED: dict[tuple[str, str], object] = {
    ("argparse", "Namespace"): Namespace,
    ("collections", "OrderedDict"): OrderedDict,
    ("collections", "defaultdict"): Opaque,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch", "Size"): tuple,
    ("torch", "device"): Opaque,
    ("typing", "Any"): Opaque,
    ("_codecs", "encode"): _encode,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
    **{(module, name): Opaque for module in ("builtins", "__builtin__") for name in _TYPE_NAMES},
    **{("torch", name): dtype for name, dtype in _STORAGE_DTYPES.items()},
    **{("torch", str(dtype).removeprefix("torch.")): Opaque for dtype in _STORAGE_DTYPES.values()},
}


class ClosedUnpickler(pickle.Unpickler):
    """A pickle reader whose every import goes through the closed list; storages stay where they are."""

    def __init__(self, file: BinaryIO, path: Path, storage: Callable[[tuple[Any, ...]], StoredStorage]) -> None:
        super().__init__(file, encoding="utf-8")
        self._path = path
        self._storage = storage

    def find_class(self, module: str, name: str) -> Any:
        """Return the harmless stand-in of a global, or refuse it."""
        if (module, name) in _ALLOWED:
            return _ALLOWED[module, name]
        if module.split(".")[0] in _OPAQUE_PACKAGES:
            return Opaque
        raise UserError(
            f"{self._path}: not loaded, because it asks for {module}.{name}; a checkpoint may hold tensors and plain "
            "containers only"
        )

    def persistent_load(self, pid: Any) -> StoredStorage:
        """Return the storage that the pickle refers to."""
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage" or not isinstance(pid[1], torch.dtype):
            raise pickle.UnpicklingError("an unknown kind of storage")
        if type(pid[4]) is not int or pid[4] < 0 or not isinstance(pid[2], str):
            raise pickle.UnpicklingError("a storage has an impossible size")
        return self._storage(pid)


def plain_settings(value: object) -> Any:
    """Return a stored configuration as dicts, lists and scalars, whichever way it was pickled.

    Understood: dicts, ``argparse.Namespace``, omegaconf's containers (their ``${a.b}`` references are followed), and
    enumeration members by their value. Any other object becomes None.

    Raises:
        ValueError: It is nested or repeated beyond what any configuration is.
    """
    reader = _SettingsReader()
    root = reader.plain(value, 0)
    return reader.resolved(root, root, 0) if isinstance(root, Mapping) else root


class _SettingsReader:
    """Counts what it visits: a small pickle can refer to itself so often that it unfolds without end."""

    deepest, most = 50, 100_000
    reference = re.compile(r"\$\{([\w.]+)\}")

    def __init__(self) -> None:
        self.visited = 0

    def _visit(self, depth: int) -> None:
        self.visited += 1
        if depth > self.deepest or self.visited > self.most:
            raise ValueError("a configuration without end")

    def plain(self, value: object, depth: int) -> Any:
        self._visit(depth)
        if isinstance(value, Opaque):
            return self._opened(value, depth)
        if isinstance(value, Namespace):
            value = vars(value)
        if isinstance(value, Mapping):
            return {str(key): self.plain(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.plain(item, depth + 1) for item in value]
        return value if isinstance(value, str | int | float | bool) else None

    def _opened(self, value: Opaque, depth: int) -> Any:
        state = value.state[0] if isinstance(value.state, tuple) and value.state else value.state
        if isinstance(state, Mapping):
            # omegaconf: a container has _content, a leaf _val; anything else is a plain object with attributes
            inner = next((state[name] for name in ("_content", "_val") if name in state), dict(state))
            return self.plain(inner, depth + 1)
        # a member of an enumeration was pickled as its class called with its value
        return value.arguments[0] if len(value.arguments) == 1 and isinstance(value.arguments[0], str) else None

    def resolved(self, value: Any, root: Mapping[str, Any], depth: int) -> Any:
        self._visit(depth)
        if isinstance(value, Mapping):
            return {key: self.resolved(item, root, depth + 1) for key, item in value.items()}
        if isinstance(value, list):
            return [self.resolved(item, root, depth + 1) for item in value]
        reference = self.reference.fullmatch(value) if isinstance(value, str) else None
        if reference is None:
            return value
        found: Any = root
        for part in reference[1].split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
        return self.resolved(found, root, depth + 1)
