"""Files of ``torch.save``, in the zip format or the older one, read piece by piece and written.

Opening a file unpickles its structure, with the closed list of names in ``unpickle``, and reads no weights: every
tensor is on the meta device and remembers where its values lie. ``values`` then reads exactly that part of the file. So
an optimiser's state beside the weights costs nothing, and no weight is in memory twice.
"""

import io
import mmap
import pickle
import struct
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from wav2vec2.checkpoints.tensors.unpickle import SOURCE_ATTRIBUTE, StoredStorage, StoredTensor, closed_load
from wav2vec2.errors import UserError, cause
from wav2vec2.input_file import open_input

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LARGEST_PICKLE = 1 << 28


def write_torch_file(content: Mapping[str, Any], path: Path) -> None:
    """Write ``content`` with ``torch.save``; raises OSError with the system's own reason if the disk is full."""
    with path.open("wb") as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:
            # torch's archive writer fails again while it cleans up, and hides the file's own error.
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


class TorchFile:
    """An opened file: ``content`` is its structure, with tensors on the meta device; ``values`` reads one of them.

    Args:
        path: the file.
        data: its bytes, if they are a part of a larger file; ``path`` is then only named in messages.

    Raises:
        UserError: The file is missing, damaged, or asks for anything but tensors and plain containers.
    """

    def __init__(self, path: Path, data: bytes | None = None) -> None:
        self.path, self._data = path, data
        self._places: dict[str, tuple[int, int]] = {}
        """Storage key -> offset of its values in the file, and their bytes."""
        with self._explained(), self._file() as file:
            self._size = file.seek(0, io.SEEK_END)
            zipped = zipfile.is_zipfile(file)
            file.seek(0)
            self.content: Any = self._open_zip(file) if zipped else self._open_legacy(file)

    def values(self, tensor: Tensor) -> Tensor:
        """Return the values of a meta tensor of ``content``, contiguous, in memory of their own.

        Raises:
            UserError: The file cannot be read or is cut short.
        """
        stored: StoredTensor = getattr(tensor, SOURCE_ATTRIBUTE)
        dtype = stored.storage.dtype
        if not stored.span:
            return torch.empty(stored.size, dtype=dtype)
        with self._explained(), self._file() as file:
            begin, length = self._places[stored.storage.key]
            first, size = stored.offset * dtype.itemsize, stored.span * dtype.itemsize
            if first + size > length:
                raise pickle.UnpicklingError("the file is cut short")
            data = bytearray(size)
            file.seek(begin + first)
            if file.readinto(data) != size:
                raise pickle.UnpicklingError("the file is cut short")
        return torch.frombuffer(data, dtype=dtype).as_strided(stored.size, stored.stride).contiguous()

    def _file(self) -> io.BufferedReader | io.BytesIO:
        return open_input(self.path) if self._data is None else io.BytesIO(self._data)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except UserError:
            raise
        except OSError as error:
            raise UserError(f"{self.path}: {error.strerror or error}; give a readable checkpoint") from error
        except Exception as error:  # a hostile or damaged pickle can raise anything
            raise UserError(
                f"{self.path}: not a readable torch checkpoint ({cause(error)}); fetch or copy the file again"
            ) from error

    def _open_zip(self, file: BinaryIO) -> Any:
        with zipfile.ZipFile(file) as archive:
            members = {member.filename: member for member in archive.infolist()}
            for member in members.values():
                # torch never compresses; a compressed member could expand to any size.
                if member.compress_type != zipfile.ZIP_STORED or member.file_size > self._size:
                    raise pickle.UnpicklingError(f"{member.filename} is compressed, which torch.save never does")
            pickles = [name for name in members if name.count("/") == 1 and name.endswith("/data.pkl")]
            if len(pickles) != 1:
                raise pickle.UnpicklingError("no data.pkl inside")
            root = pickles[0].removesuffix("data.pkl")
            if f"{root}byteorder" in members and archive.read(f"{root}byteorder") != b"little":
                raise pickle.UnpicklingError("big-endian tensors")

            def storage(pid: tuple[Any, ...]) -> StoredStorage:
                stored = StoredStorage(pid[2], pid[1], pid[4])
                if stored.key not in self._places:
                    member = members[f"{root}data/{stored.key}"]
                    self._places[stored.key] = (_data_offset(file, member), member.file_size)
                if stored.count * stored.dtype.itemsize > self._places[stored.key][1]:
                    raise pickle.UnpicklingError("the file is cut short")
                return stored

            if members[pickles[0]].file_size > _LARGEST_PICKLE:
                raise pickle.UnpicklingError("its pickle is larger than in any model")
            return closed_load(archive.read(pickles[0]), self.path, storage)[0]

    def _open_legacy(self, file: BinaryIO) -> Any:
        """Read the older format: five pickles (magic, protocol, system, object, keys), then the storages.

        A storage is the number of its values, followed by the values.
        """
        known: dict[str, StoredStorage] = {}

        def storage(pid: tuple[Any, ...]) -> StoredStorage:
            if len(pid) > 5 and pid[5] is not None:
                raise pickle.UnpicklingError("storage views are not supported")
            stored = StoredStorage(pid[2], pid[1], pid[4])
            if stored.count * stored.dtype.itemsize > self._size:
                raise pickle.UnpicklingError("the file is cut short")
            if known.setdefault(stored.key, stored) != stored:
                raise pickle.UnpicklingError("a storage has two sizes")
            return stored

        data = self._data if self._data is not None else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        found, end = closed_load(data, self.path, storage)
        if found != _LEGACY_MAGIC:
            raise pickle.UnpicklingError("neither a zip archive nor torch's older format")
        pickles = []
        for _ in range(4):
            found, end = closed_load(data, self.path, storage, begin=end)
            pickles.append(found)
        content, keys = pickles[2:]
        file.seek(end)
        for key in keys:
            count = struct.unpack("<q", file.read(8))[0]
            length = count * known[key].dtype.itemsize
            if count != known[key].count:
                raise pickle.UnpicklingError("a storage does not have the size that the file states")
            self._places[key] = (file.tell(), length)
            if file.tell() + length > self._size:
                raise pickle.UnpicklingError("the file is cut short")
            file.seek(length, io.SEEK_CUR)
        return content


def _data_offset(file: BinaryIO, member: zipfile.ZipInfo) -> int:
    """Return the offset of a member's bytes, after its local header, whose name and extra field have any length."""
    position = file.tell()
    file.seek(member.header_offset)
    header = file.read(30)
    file.seek(position)
    if len(header) != 30 or not header.startswith(b"PK\x03\x04"):
        raise zipfile.BadZipFile("a member has no header")
    name, extra = struct.unpack("<HH", header[26:30])
    return member.header_offset + 30 + int(name) + int(extra)
