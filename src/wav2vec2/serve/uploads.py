"""Uploads: a multipart body, read as it comes into a file that lies in memory, with every count kept.

A framework would write a large upload to the disk before anybody had looked at it. Here the bytes of all requests
together are limited, a body that comes too slowly is ended, and nothing touches the disk unless a folder is given.
"""

import asyncio
import contextlib
import os
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from wav2vec2.serve.failures import ApiError, busy, wrong

_MOST_FIELD, _MOST_FIELDS, _MOST_HEADERS = 1 << 20, 200, 16 << 10
_GRACE_SECONDS = 10.0


@dataclass
class Budget:
    """The bytes of uploads that may be in memory at once, over all requests."""

    most: int
    used: int = 0

    def take(self, count: int) -> None:
        """Take bytes. Raises ApiError (503) if there are not so many left."""
        if self.used + count > self.most:
            raise busy("the server holds as many bytes of audio as it may; try again in a moment")
        self.used += count

    def give(self, count: int) -> None:
        """Give bytes back."""
        self.used -= count


@dataclass
class UploadLimits:
    """most_bytes: of a file. bytes_a_second: of the slowest body. spool: folder for files, None for memory."""

    most_bytes: int
    bytes_a_second: int
    spool: Path | None = None


@dataclass
class Upload:
    """A form: its plain fields, in order, and its file, `size` bytes that are read through a descriptor."""

    fields: list[tuple[str, str]] = field(default_factory=list)
    name: str = ""
    size: int = 0
    descriptor: int | None = None
    _budget: Budget | None = None

    def values(self, name: str) -> list[str]:
        """Return the values of a field; some clients write the brackets of a list behind its name, once or twice."""
        return [value for key, value in self.fields if key.rstrip("[]") == name]

    def value(self, name: str, default: str = "") -> str:
        """Return the last value of a field."""
        return (self.values(name) or [default])[-1]

    def close(self) -> None:
        """Forget the file, and give its bytes back."""
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None
        if self._budget is not None:
            self._budget.give(self.size)
            self._budget = None


class _Form:
    """What the parser of python-multipart calls: collects a form, and writes the field `file` to a descriptor."""

    def __init__(self, upload: Upload, limits: UploadLimits, budget: Budget) -> None:
        self._upload, self._limits, self._budget = upload, limits, budget
        self._header, self._value, self._seen = bytearray(), bytearray(), 0
        self._headers: dict[bytes, bytes] = {}
        self._name, self._is_file, self._content = "", False, bytearray()
        self.ended = False

    def callbacks(self) -> dict[str, object]:
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._grow(self._header, data[start:end]),
            "on_header_value": lambda data, start, end: self._grow(self._value, data[start:end]),
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_headers,
            "on_part_data": lambda data, start, end: self._data(data[start:end]),
            "on_part_end": self._end_part,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        self._headers, self._content = {}, bytearray()
        self._seen += 1
        if self._seen > _MOST_FIELDS:
            raise wrong(f"the form has more than {_MOST_FIELDS} fields")

    def _grow(self, kept: bytearray, data: bytes) -> None:
        kept += data
        if len(kept) > _MOST_HEADERS:
            raise wrong("a header of the form is too long")

    def _end_header(self) -> None:
        self._headers[bytes(self._header).lower()] = bytes(self._value)
        self._header, self._value = bytearray(), bytearray()

    def _end_headers(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        self._is_file = self._name == "file" and b"filename" in options
        if not self._is_file:
            return
        if self._upload.descriptor is not None:
            raise wrong("the form has more than one file; send them one by one", "file")
        name = options[b"filename"].decode("utf-8", "replace").replace("\\", "/").rsplit("/", 1)[-1]
        self._upload.name = "".join(letter for letter in name if letter.isprintable())[:200] or "file"
        self._upload.descriptor = _empty_file(self._limits.spool)
        self._upload._budget = self._budget

    def _data(self, data: bytes) -> None:
        if not self._is_file:
            self._content += data
            if len(self._content) > _MOST_FIELD:
                raise wrong(f"the field {self._name[:80]!r} is longer than {_MOST_FIELD >> 20} MiB", self._name[:80])
            return
        upload = self._upload
        assert upload.descriptor is not None
        if upload.size + len(data) > self._limits.most_bytes:
            raise too_large(self._limits.most_bytes)
        self._budget.take(len(data))
        upload.size += len(data)
        view = memoryview(data)
        while view:
            view = view[os.write(upload.descriptor, view) :]

    def _end_part(self) -> None:
        if not self._is_file:
            self._upload.fields.append((self._name, bytes(self._content).decode("utf-8", "replace")))

    def _end(self) -> None:
        self.ended = True


def too_large(most: int) -> ApiError:
    """Return the error for a file of more than `most` bytes."""
    return ApiError(413, f"the file has more than {most >> 20} MiB; send it in parts", "file_too_large", param="file")


def _empty_file(spool: Path | None) -> int:
    if spool is None:
        return os.memfd_create("upload", os.MFD_CLOEXEC)
    descriptor, path = tempfile.mkstemp(dir=spool)
    os.unlink(path)
    return descriptor


async def read_upload(
    content_type: str, length: str | None, body: AsyncIterator[bytes], limits: UploadLimits, budget: Budget
) -> Upload:
    """Read a form as it comes. Close the result.

    Raises ApiError: for a body that is no form or ends early (400), comes too slowly (408), or is too large (413), and
    when all uploads together are (503).
    """
    kind, options = parse_options_header(content_type.encode("latin-1", "replace"))
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise wrong("send the file as multipart/form-data, in the field 'file'", code="invalid_content_type")
    if length is not None and length.isdigit() and int(length) > limits.most_bytes + (_MOST_FIELDS << 10):
        raise too_large(limits.most_bytes)
    upload = Upload()
    form = _Form(upload, limits, budget)
    try:
        parser = MultipartParser(options[b"boundary"], form.callbacks())  # type: ignore[arg-type]
        async for block in _paced(body, limits.bytes_a_second):
            parser.write(block)
        parser.finalize()
        if not form.ended:
            raise wrong("the body ends before the form does", code="incomplete_body")
    except MultipartParseError:
        upload.close()
        raise wrong("the body is no well-formed multipart/form-data", code="invalid_body") from None
    except BaseException:
        upload.close()
        raise
    return upload


async def _paced(body: AsyncIterator[bytes], least: int) -> AsyncIterator[bytes]:
    """Yield the blocks of a body. Raises ApiError (408) when it comes more slowly than `least` bytes a second."""
    begin, seen = time.monotonic(), 0
    iterator = aiter(body)
    while True:
        allowed = begin + _GRACE_SECONDS + seen / max(least, 1) - time.monotonic()
        block = None
        with contextlib.suppress(StopAsyncIteration):
            try:
                block = await asyncio.wait_for(anext(iterator), max(allowed, 0.001))
            except TimeoutError:
                message = f"the body comes more slowly than {least} bytes a second"
                raise ApiError(408, message, "too_slow", headers={"connection": "close"}) from None
        if block is None:
            return
        seen += len(block)
        yield block
