"""Byte ranges of local files and fsspec URLs: one, or many at a time with neighbours in one request.

A request to an object store costs tens of milliseconds before its first byte, in which a connection moves megabytes.
So ranges of one file that lie near each other are fetched together, and requests run side by side.
"""

import io
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from wav2vec2.audio.encoded_file import AudioError, NamedBytes
from wav2vec2.data.remote import StorageError, asked, filesystem, is_remote, repeated
from wav2vec2.errors import UserError, cause
from wav2vec2.input_file import refuse_special

LARGEST_GAP = 1 << 20
"""Bytes that are fetched for nothing rather than making two requests."""
LARGEST_REQUEST = 32 << 20
"""Ranges are joined to at most so many bytes; a longer recording is one request."""
AT_A_TIME = 8
"""Requests that one process has under way."""


@dataclass(frozen=True)
class ByteRange:
    """`size` bytes of a file or URL from `offset` on; the whole of it if `size` is negative."""

    path: str
    offset: int = -1
    size: int = -1

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.path if self.size < 0 else f"{self.path} (bytes {self.offset} to {self.offset + self.size})"


def read_bytes(path: str, offset: int = -1, size: int = -1) -> NamedBytes:
    """Read `size` bytes from `offset` on, or the whole file if `size` is negative; from a local file or an fsspec URL.

    A request to a URL is repeated for up to two minutes if it fails for a passing reason.

    Raises:
        AudioError: the file is missing, unreadable, or too short.
    """
    content = _remote(path, offset, size) if is_remote(path) else _local(path, offset, size)
    if size >= 0 and len(content) < size:
        raise AudioError(
            f"{path}: ends before byte {offset + size}: copy it again, or write the shards again", "cut short"
        )
    named = NamedBytes(content)
    named.name = ByteRange(path, offset, size).name
    return named


def read_ranges(ranges: Iterable[ByteRange]) -> dict[ByteRange, NamedBytes | AudioError]:
    """Read ranges of URLs, each once, neighbours in one request and several requests at a time.

    Returns the bytes of each range, or the error that reading it alone would have raised.
    """
    requests = joined(ranges)
    found: dict[ByteRange, NamedBytes | AudioError] = {}
    if len(requests) < 2:
        answers = [_answered(request) for request in requests]
    else:
        with ThreadPoolExecutor(min(AT_A_TIME, len(requests)), "byte-range") as pool:
            answers = list(pool.map(_answered, requests))
    for answer in answers:
        found.update(answer)
    return found


def joined(ranges: Iterable[ByteRange]) -> list[list[ByteRange]]:
    """Group ranges into requests: those of one file whose gaps are at most LARGEST_GAP, in the order of their bytes."""
    requests: list[list[ByteRange]] = []
    end = first = 0
    for one in sorted(set(ranges), key=lambda one: (one.path, one.size < 0, one.offset, one.size)):
        last = requests[-1][-1] if requests else None
        near = last is not None and last.path == one.path and last.size >= 0 and one.size >= 0
        if near and one.offset - end <= LARGEST_GAP and max(end, one.offset + one.size) - first <= LARGEST_REQUEST:
            requests[-1].append(one)
            end = max(end, one.offset + one.size)
        else:
            requests.append([one])
            first, end = one.offset, one.offset + one.size
    return requests


class RemoteFile(io.RawIOBase):
    """A URL as a seekable file that is read by ranges. `open_remote` reads ahead."""

    def __init__(self, url: str, size: int) -> None:
        self._url, self._size = url, size
        self._position = 0

    def readable(self) -> bool:
        """Whether it may be read: always."""
        return True

    def seekable(self) -> bool:
        """Whether it may be read from any place: always."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a place; returns its distance from the beginning."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        """The place of the next byte."""
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer; returns the number of bytes, 0 at the end."""
        wanted = min(len(buffer), self._size - self._position)
        if wanted <= 0:
            return 0
        buffer[:wanted] = read_bytes(self._url, self._position, wanted)
        self._position += wanted
        return wanted


def open_remote(url: str, ahead: int = 8 << 20) -> io.BufferedIOBase:
    """Open a URL as a seekable file that is fetched in pieces of at least `ahead` bytes; a smaller one at once.

    Raises:
        AudioError: it is missing or unreadable.
    """
    size = described(url).get("size")
    if size is None or size <= ahead:  # a server of files need not know ranges or sizes
        return io.BytesIO(read_bytes(url))
    return io.BufferedReader(RemoteFile(url, int(size)), ahead)


def described(url: str) -> dict[str, Any]:
    """What a store says of a URL: its "size", and what else it gives. Raises AudioError if there is nothing."""

    def ask() -> dict[str, Any]:
        files, key = filesystem(url)
        files.invalidate_cache()
        answer: dict[str, Any] = asked(files, "info", key)
        return answer

    return repeated(url, ask)


def _answered(request: Sequence[ByteRange]) -> dict[ByteRange, NamedBytes | AudioError]:
    first = request[0]
    try:
        if len(request) == 1:
            return {first: read_bytes(first.path, first.offset, first.size)}
        end = max(one.offset + one.size for one in request)
        whole = read_bytes(first.path, first.offset, end - first.offset)
    except AudioError as error:
        if len(request) == 1 or error.reason != "cut short":
            return dict.fromkeys(request, error)
        return {range_: answer for one in request for range_, answer in _answered([one]).items()}
    answers: dict[ByteRange, NamedBytes | AudioError] = {}
    for one in request:
        answers[one] = named = NamedBytes(whole[one.offset - first.offset :][: one.size])
        named.name = one.name
    return answers


def _remote(url: str, offset: int, size: int) -> bytes:
    if size == 0:
        return b""

    def ask() -> bytes:
        files, key = filesystem(url)
        if size < 0:
            answer: bytes = files.cat_file(key)
        else:
            answer = asked(files, "cat_file", key, start=offset, end=offset + size, expected=size)
        return answer

    content = repeated(url, ask)
    if 0 <= size < len(content):
        raise StorageError(
            f"{url}: its server sends the whole file when it is asked for a range: "
            "copy the folder to a disk, or to a server that answers range requests",
            "unreadable",
        )
    return content


def _local(path: str, offset: int, size: int) -> bytes:
    try:
        refuse_special(path)
        with open(path, "rb", buffering=0 if size >= 0 else -1) as file:
            if size < 0:
                return file.read()
            file.seek(offset)
            return _read_fully(file, size)
    except FileNotFoundError:
        raise AudioError(f"{path}: does not exist: correct the path or prepare the manifest again", "missing") from None
    except UserError as error:
        raise AudioError(str(error), "unreadable") from None
    except (OSError, ValueError) as error:
        raise AudioError(f"{path}: cannot be read ({cause(error)}): check address and permissions") from None


def _read_fully(file: Any, size: int) -> bytes:
    pieces = []
    while size > 0 and (piece := file.read(size)):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)
