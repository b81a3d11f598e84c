"""Tables of named tensors in one or several files: shapes from the headers, values one at a time.

Every format is read in the same two steps: first all shapes, then the values one by one, in file order, with one shard
open at a time. So ``info`` reads no weights, and a model of many shards is held in memory only once.
"""

import struct
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from wav2vec2.checkpoints.tensors.torch_file import TorchFile
from wav2vec2.errors import UserError, cause
from wav2vec2.input_file import open_input, parse_json

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_LONGEST_HEADER = 100_000_000


class TensorTable(Protocol):
    """The tensors of a checkpoint by the names of its own format."""

    @property
    def shapes(self) -> Mapping[str, Tensor]:
        """Meta tensors by name, in file order."""
        ...

    def read(self, name: str) -> Tensor:
        """Return the values of a tensor, in memory of their own; UserError if the file is damaged."""
        ...

    def close(self) -> None:
        """Close open files; ``read`` opens them again."""
        ...


class SafetensorsTable:
    """Tensors of one or several safetensors files. Raises UserError, naming the file, if one is missing or damaged."""

    def __init__(self, files: Iterable[Path]) -> None:
        self.shapes: dict[str, Tensor] = {}
        self._home: dict[str, Path] = {}
        for path in files:
            for name, shape in _header(path).items():
                self.shapes[name] = shape
                self._home[name] = path
        self._stack = ExitStack()
        self._open: tuple[Path, Any] | None = None

    def read(self, name: str) -> Tensor:
        """See ``TensorTable``; the file stays mapped until a tensor of another file is read."""
        path = self._home[name]
        try:
            if self._open is None or self._open[0] != path:
                self.close()
                self._open = (path, self._stack.enter_context(safe_open(path, framework="pt")))
            # A copy, because the file may be replaced or truncated while the model is in use.
            return self._open[1].get_tensor(name).clone()  # type: ignore[no-any-return]
        except (OSError, SafetensorError) as error:
            raise _damaged(path, error) from error

    def close(self) -> None:
        """See ``TensorTable``."""
        self._stack.close()
        self._open = None


def _header(path: Path) -> dict[str, Tensor]:
    """Read names and shapes from the first bytes of a safetensors file, and check them against its length."""
    try:
        with open_input(path) as file:
            length = struct.unpack("<Q", file.read(8))[0]
            if length > _LONGEST_HEADER:
                raise ValueError("its header is longer than in any model")
            header = parse_json(file.read(length))
            size = file.seek(0, 2) - 8 - length
        shapes = {}
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            first, last = entry["data_offsets"]
            shapes[name] = torch.empty(entry["shape"], dtype=_DTYPES[entry["dtype"]], device="meta")
            if not 0 <= first <= last <= size or last - first != shapes[name].nbytes:
                raise ValueError(f"{name} lies beyond its end")
        return shapes
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}; give the complete model directory") from error
    except Exception as error:  # a damaged header can raise anything
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(f"{path}: damaged or cut short ({cause(error)}); fetch or copy the file again")


class TorchTable:
    """Tensors of one or several ``torch.save`` files; ``pick`` finds the table of tensors in a file's content.

    Raises UserError if a file holds something else.
    """

    def __init__(self, files: Iterable[TorchFile], pick: Callable[[Any], Any] = lambda content: content) -> None:
        self.shapes: dict[str, Tensor] = {}
        self._home: dict[str, TorchFile] = {}
        for file in files:
            table = pick(file.content)
            if not isinstance(table, Mapping) or not all(isinstance(name, str) for name in table):
                raise UserError(f"{file.path}: not a table of tensors; give a model's checkpoint")
            for name, tensor in table.items():
                if not isinstance(tensor, Tensor):
                    kind = type(tensor).__name__
                    raise UserError(f"{file.path}: {name} is a {kind}, not a tensor; give a model's checkpoint")
                self.shapes[name] = tensor
                self._home[name] = file

    def read(self, name: str) -> Tensor:
        """See ``TensorTable``."""
        return self._home[name].values(self.shapes[name])

    def close(self) -> None:
        """See ``TensorTable``; no file stays open."""


class JoinedTable:
    """Two tables as one; of a tensor that both have, the second's is taken."""

    def __init__(self, first: TensorTable, second: TensorTable) -> None:
        self._tables = (first, second)
        self.shapes: Mapping[str, Tensor] = {**first.shapes, **second.shapes}

    def read(self, name: str) -> Tensor:
        """See ``TensorTable``."""
        first, second = self._tables
        return second.read(name) if name in second.shapes else first.read(name)

    def close(self) -> None:
        """See ``TensorTable``."""
        for table in self._tables:
            table.close()


class ChangedTable:
    """Another table with tensors renamed, left out or changed."""

    def __init__(
        self,
        inner: TensorTable,
        *,
        rename: Callable[[str], str | None] = lambda name: name,
        changed: Mapping[str, Callable[[Tensor], Tensor]] | None = None,
    ) -> None:
        """Set up the changes; no value is read.

        Args:
            inner: the other table.
            rename: gives the new name of a tensor, or None to leave it out.
            changed: functions, by new name, to apply to values and, as meta tensors, to shapes.
        """
        self._inner, self._changed = inner, dict(changed or {})
        self._old = {new: old for old in inner.shapes if (new := rename(old)) is not None}
        self.shapes: Mapping[str, Tensor] = {
            new: self._change(new, inner.shapes[old]) for new, old in self._old.items()
        }

    def _change(self, name: str, tensor: Tensor) -> Tensor:
        return self._changed[name](tensor) if name in self._changed else tensor

    def read(self, name: str) -> Tensor:
        """See ``TensorTable``."""
        return self._change(name, self._inner.read(self._old[name]))

    def close(self) -> None:
        """See ``TensorTable``."""
        self._inner.close()
