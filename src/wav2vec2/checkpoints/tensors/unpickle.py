"""Unpickle a file without running any code that it asks for.

A pickle names functions to import and call. Here every name is looked up in a closed list. Tensors, plain containers
and ``argparse.Namespace`` become inert values. Classes of fairseq, omegaconf and numpy, which old files keep beside
their weights (meters, optimiser history), become an ``Opaque`` that keeps its arguments and does nothing with them.
Anything else is refused by name. Nothing but this file's own code runs, and neither fairseq nor omegaconf is imported.
The opcodes are scanned first (``opcodes``): a pickle whose execution would not end, or take all memory, is refused.
``plain_settings`` turns a configuration in any of these forms into dicts, lists and scalars.
"""

import io
import math
import mmap
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wav2vec2.checkpoints.tensors.opcodes import Scan
from wav2vec2.errors import UserError, shortened

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
# Types that omegaconf keeps in its metadata; replaced by stand-ins, because a type can be called.
_SCALARS = (str, bytes, int, float)
_MOST_DIMENSIONS = 64
_TYPE_NAMES = ("dict", "list", "tuple", "int", "long", "float", "str", "unicode", "bool", "object")


class Namespace:
    """Stands for ``argparse.Namespace``: attributes and nothing else."""


class Opaque:
    """Stands for an object of a foreign class: it keeps arguments and state, and acts on neither."""

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
    """A storage that the pickle refers to by key, not read yet."""

    key: str
    dtype: torch.dtype
    count: int


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor's values are: a strided window of a storage."""

    storage: StoredStorage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def span(self) -> int:
        """Number of elements of the storage from the window's first to its last."""
        return 0 if 0 in self.size else 1 + sum((n - 1) * s for n, s in zip(self.size, self.stride, strict=True))


SOURCE_ATTRIBUTE = "stored_tensor"
"""Attribute of a meta tensor that holds its ``StoredTensor``."""


def _rebuild_tensor(
    storage: StoredStorage, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_rest: object
) -> Tensor:
    stored = StoredTensor(storage, offset, plain_size(size), plain_size(stride))
    if not isinstance(storage, StoredStorage) or type(offset) is not int or len(stored.size) != len(stored.stride):
        raise pickle.UnpicklingError("a tensor is not one")
    if min((offset, *stored.size, *stored.stride)) < 0:
        raise pickle.UnpicklingError("a tensor has negative sizes")
    if math.prod(stored.size) > max(storage.count, 1):
        raise pickle.UnpicklingError("a tensor has more elements than its storage")
    if offset + stored.span > storage.count:
        raise pickle.UnpicklingError("a tensor reaches beyond its storage")
    tensor = torch.empty(stored.size, dtype=storage.dtype, device="meta")
    setattr(tensor, SOURCE_ATTRIBUTE, stored)
    return tensor


# Whatever these return may become a key: it must be cheap to hash.
def _rebuild_parameter(data: Tensor, *_rest: object) -> Tensor:
    if not isinstance(data, Tensor):
        raise pickle.UnpicklingError("a parameter is not a tensor")
    return data


def plain_size(values: object = ()) -> tuple[int, ...]:
    """Return the sizes of a tensor, stored as a tuple or list. Raises UnpicklingError if they are anything else."""
    if not isinstance(values, tuple | list) or len(values) > _MOST_DIMENSIONS:
        raise pickle.UnpicklingError("a tensor's size is not one")
    if not all(type(value) is int and abs(value) < 1 << 62 for value in values):
        raise pickle.UnpicklingError("a tensor's size is not one")
    return tuple(values)


def _encode(text: str, encoding: str = "latin1") -> bytes:
    return text.encode("latin1" if encoding not in ("utf-8", "ascii") else encoding)


def _set(items: object = ()) -> set[object]:
    return {item for item in items if isinstance(item, _SCALARS)} if isinstance(items, list | tuple | set) else set()


def _ordered(items: object = ()) -> OrderedDict[object, object]:
    pairs = items if isinstance(items, list | tuple) else ()
    return OrderedDict((pair[0], pair[1]) for pair in pairs if isinstance(pair[0], _SCALARS))


_ALLOWED: dict[tuple[str, str], object] = {
    ("argparse", "Namespace"): Namespace,
    ("collections", "OrderedDict"): _ordered,
    ("collections", "defaultdict"): Opaque,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch", "Size"): plain_size,
    ("torch", "device"): Opaque,
    ("typing", "Any"): Opaque,
    ("_codecs", "encode"): _encode,
    ("builtins", "set"): _set,
    ("__builtin__", "set"): _set,
    **{(module, name): Opaque for module in ("builtins", "__builtin__") for name in _TYPE_NAMES},
    **{("torch", name): dtype for name, dtype in _STORAGE_DTYPES.items()},
    **{("torch", str(dtype).removeprefix("torch.")): Opaque for dtype in _STORAGE_DTYPES.values()},
}


Names = Mapping[tuple[str, str], object]
Storages = Callable[[tuple[Any, ...]], StoredStorage]


def no_storage(_pid: tuple[Any, ...]) -> StoredStorage:
    """Refuse a storage, for a pickle that has none."""
    raise pickle.UnpicklingError("a tensor where there is none")


def closed_load(
    data: bytes | mmap.mmap, path: Path, storage: Storages = no_storage, *, begin: int = 0, names: Names | None = None
) -> tuple[Any, int]:
    """Return the object that the pickle at ``begin`` stands for, and where the pickle ends.

    Args:
        data: the bytes of the pickle, and what follows it.
        path: the file, for messages.
        storage: called for each storage that the pickle refers to.
        begin: where the pickle begins.
        names: stand-ins for further global names.

    Raises:
        UserError: the pickle asks for a name outside the closed list.
        Exception: it is damaged or hostile; which exception, the pickle decides.
    """
    end = Scan(data, begin).end
    return _ClosedUnpickler(data[begin:end], path, storage, {**_ALLOWED, **(names or {})}).load(), end


class _ClosedUnpickler(pickle.Unpickler):
    """A pickle reader that imports nothing and takes every name from the closed list; it reads no storage."""

    def __init__(self, data: bytes, path: Path, storage: Storages, names: Names) -> None:
        super().__init__(io.BytesIO(data), encoding="utf-8")
        self._path = path
        self._storage, self._names = storage, names

    def find_class(self, module: str, name: str) -> Any:
        """Return the harmless stand-in for a global name, or refuse it."""
        if (module, name) in self._names:
            return self._names[module, name]
        if module.split(".")[0] in _OPAQUE_PACKAGES:
            return Opaque
        raise UserError(
            f"{self._path}: not loaded, because it asks for {shortened(f'{module}.{name}')}; a checkpoint may hold "
            "only tensors and plain containers"
        )

    def persistent_load(self, pid: Any) -> StoredStorage:
        """Return the storage that the pickle refers to."""
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage" or not isinstance(pid[1], torch.dtype):
            raise pickle.UnpicklingError("an unknown kind of storage")
        if type(pid[4]) is not int or pid[4] < 0 or not isinstance(pid[2], str):
            raise pickle.UnpicklingError("a storage has an impossible size")
        return self._storage(pid)


def plain_settings(value: object) -> Any:
    """Return a stored configuration as dicts, lists and scalars, however it was pickled.

    It may consist of dicts, ``argparse.Namespace``, omegaconf's containers (their ``${a.b}`` references are followed),
    and members of enumerations, which become their values. Any other object becomes None.

    Raises:
        ValueError: It is nested deeper, or is larger, than any real configuration.
    """
    reader = _SettingsReader()
    root = reader.plain(value, 0)
    return reader.resolved(root, root, 0) if isinstance(root, Mapping) else root


class _SettingsReader:
    """Counts the values it visits, because a small pickle can refer to itself and expand without end."""

    deepest, most = 50, 100_000
    reference = re.compile(r"\$\{([\w.]+)\}")

    def __init__(self) -> None:
        self.visited = 0

    def _visit(self, depth: int) -> None:
        self.visited += 1
        if depth > self.deepest or self.visited > self.most:
            raise ValueError("it is too large or refers to itself")

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
            # An omegaconf container has _content, a leaf _val; anything else is a plain object with attributes.
            inner = next((state[name] for name in ("_content", "_val") if name in state), dict(state))
            return self.plain(inner, depth + 1)
        # A member of an enumeration is pickled as its class called with its value.
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
