"""Read what ``torch.save`` wrote without running anything that the file asks for.

A pickle names functions to import and call. Here every name is looked up in a closed list: tensors, plain containers
and ``argparse.Namespace`` come through as inert values; classes of fairseq, omegaconf and numpy become an ``Opaque``
that nobody opens (old files keep meters and optimiser history beside their weights); anything else is refused by name.
Nothing but this file's own code runs, and neither fairseq nor omegaconf is imported.
"""

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
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
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_OPAQUE_PACKAGES = ("fairseq", "omegaconf", "numpy")


class Namespace:
    """What stands for ``argparse.Namespace``: attributes and nothing else."""


class Opaque:
    """An object of a foreign class, kept closed: it ignores its arguments and its state."""

    def __init__(self, *_args: object, **_kwargs: object) -> None:
        """Take anything and keep nothing."""

    def __setstate__(self, state: object) -> None:
        """Drop the state: nothing in it is needed."""

    def append(self, item: object) -> None:
        """Ignore a list item."""

    def extend(self, items: object) -> None:
        """Ignore list items."""

    def __setitem__(self, key: object, value: object) -> None:
        """Ignore a dictionary item."""


class _Storage:
    """One flat tensor that several tensors may share; filled later in the legacy format."""

    def __init__(self, flat: Tensor) -> None:
        self.flat = flat


def _rebuild_tensor(
    storage: _Storage, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_rest: object
) -> Tensor:
    if min((offset, *size, *stride)) < 0:
        raise pickle.UnpicklingError("a tensor has negative sizes")
    if 0 in size:
        return storage.flat.new_empty(size)
    if offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True)) >= storage.flat.numel():
        raise pickle.UnpicklingError("a tensor reaches beyond its storage")
    return storage.flat.as_strided(size, stride, offset)


def _rebuild_parameter(data: Tensor, *_rest: object) -> Tensor:
    return data


def _encode(text: str, encoding: str = "latin1") -> bytes:
    return text.encode("latin1" if encoding not in ("utf-8", "ascii") else encoding)


_ALLOWED: dict[tuple[str, str], object] = {
    ("argparse", "Namespace"): Namespace,
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch", "Size"): tuple,
    ("torch", "device"): Opaque,
    ("_codecs", "encode"): _encode,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
    **{("torch", name): dtype for name, dtype in _STORAGE_DTYPES.items()},
}


class _Unpickler(pickle.Unpickler):
    """A pickle reader whose every import goes through the closed list."""

    def __init__(self, file: BinaryIO, path: Path, load_storage: Callable[[tuple[Any, ...]], _Storage]) -> None:
        super().__init__(file, encoding="utf-8")
        self._path = path
        self._load_storage = load_storage

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

    def persistent_load(self, pid: Any) -> _Storage:
        """Return the storage that the pickle refers to."""
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage" or not isinstance(pid[1], torch.dtype):
            raise pickle.UnpicklingError("an unknown kind of storage")
        return self._load_storage(pid)


def read_torch_file(path: Path, *, tensors: bool = True) -> Any:
    """Return the object in a file of ``torch.save``, in its zip or its older format.

    With ``tensors`` False no weight is read: tensors come back on the meta device, with shape and dtype only.

    Raises:
        UserError: The file is missing, damaged, or names something else than tensors and plain containers.
    """
    try:
        with path.open("rb") as file:
            return _read_zip(file, path, tensors) if zipfile.is_zipfile(file) else _read_legacy(file, path, tensors)
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}; give a readable checkpoint") from error
    except Exception as error:  # a hostile or damaged pickle can raise anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path}: not a readable torch checkpoint ({reason}); fetch or copy the file again") from error


def _read_zip(file: BinaryIO, path: Path, tensors: bool) -> Any:
    with zipfile.ZipFile(file) as archive:
        names = set(archive.namelist())
        pickles = [name for name in names if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise pickle.UnpicklingError("no data.pkl inside")
        root = pickles[0].removesuffix("data.pkl")
        if f"{root}byteorder" in names and archive.read(f"{root}byteorder") != b"little":
            raise pickle.UnpicklingError("big-endian tensors")
        loaded: dict[str, _Storage] = {}

        def load_storage(pid: tuple[Any, ...]) -> _Storage:
            _, dtype, key, _, count = pid[:5]
            if key not in loaded:
                loaded[key] = _Storage(
                    _from_bytes(archive.read(f"{root}data/{key}"), dtype, count)
                    if tensors
                    else torch.empty(count, dtype=dtype, device="meta")
                )
            return loaded[key]

        return _Unpickler(io.BytesIO(archive.read(pickles[0])), path, load_storage).load()


def _from_bytes(data: bytes, dtype: torch.dtype, count: int) -> Tensor:
    if len(data) < count * dtype.itemsize:
        raise pickle.UnpicklingError("the file is cut short")
    return torch.frombuffer(bytearray(data), dtype=dtype, count=count) if count else torch.empty(0, dtype=dtype)


def _read_legacy(file: BinaryIO, path: Path, tensors: bool) -> Any:
    """Five pickles (magic, protocol, system, object, keys), then each storage as its count and raw values."""
    file.seek(0, io.SEEK_END)
    size = file.tell()
    file.seek(0)
    loaded: dict[str, _Storage] = {}

    def load_storage(pid: tuple[Any, ...]) -> _Storage:
        _, dtype, key, _, count = pid[:5]
        if len(pid) > 5 and pid[5] is not None:
            raise pickle.UnpicklingError("storage views are not supported")
        if key not in loaded:
            if not 0 <= count * dtype.itemsize <= size:
                raise pickle.UnpicklingError("the file is cut short")
            loaded[key] = _Storage(torch.empty(count, dtype=dtype, device=None if tensors else "meta"))
        return loaded[key]

    if _Unpickler(file, path, load_storage).load() != _LEGACY_MAGIC:
        raise pickle.UnpicklingError("neither a zip archive nor torch's older format")
    for _ in range(2):
        _Unpickler(file, path, load_storage).load()
    result = _Unpickler(file, path, load_storage).load()
    for key in _Unpickler(file, path, load_storage).load() if tensors else ():
        flat = loaded[key].flat
        (count,) = struct.unpack("<q", file.read(8))
        if count != flat.numel():
            raise pickle.UnpicklingError("a storage has another size than announced")
        flat.copy_(_from_bytes(file.read(count * flat.dtype.itemsize), flat.dtype, count))
    return result
