"""What the processes of a server say to each other: a name, plain values as JSON, and bytes, over a Unix socket.

Nothing is pickled: a decoder process reads files of strangers, and what it says must not run in another process.
"""

import asyncio
import json
import socket
import struct
from dataclasses import dataclass, field
from typing import Any

MOST_FIELDS, MOST_PAYLOAD = 64 << 20, 1 << 30
"""Bytes of the JSON and of the payload of one message, at most."""

_HEAD = struct.Struct("<II")


class Closed(Exception):
    """The other side has closed its end, or died."""


@dataclass(frozen=True)
class Message:
    """One message. kind: what it is about; fields: plain values; payload: bytes."""

    kind: str
    fields: dict[str, Any] = field(default_factory=dict)
    payload: bytes = b""

    def encoded(self) -> bytes:
        """Return the message as it is sent."""
        text = json.dumps([self.kind, self.fields], ensure_ascii=False).encode()
        return b"".join((_HEAD.pack(len(text), len(self.payload)), text, self.payload))


def _sizes(head: bytes) -> tuple[int, int]:
    text, payload = _HEAD.unpack(head)
    if text > MOST_FIELDS or payload > MOST_PAYLOAD:
        raise Closed(f"a message of {text + payload} bytes")
    return text, payload


def _decoded(text: bytes, payload: bytes) -> Message:
    try:
        kind, fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Closed("a message that is no JSON") from error
    if not isinstance(kind, str) or not isinstance(fields, dict):
        raise Closed("a message of another shape")
    return Message(kind, fields, payload)


class Channel:
    """The end of a process that waits for its messages.

    `send` and `receive` raise `Closed` when the other side is gone.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection

    def send(self, message: Message) -> None:
        """Send a message; waits while the other side does not read."""
        try:
            self._socket.sendall(message.encoded())
        except OSError as error:
            raise Closed(str(error)) from None

    def receive(self) -> Message:
        """Wait for a message."""
        text, payload = _sizes(self._exactly(_HEAD.size))
        return _decoded(self._exactly(text), self._exactly(payload))

    def _exactly(self, count: int) -> bytes:
        parts = bytearray(count)
        view, have = memoryview(parts), 0
        while have < count:
            try:
                got = self._socket.recv_into(view[have:])
            except OSError as error:
                raise Closed(str(error)) from None
            if not got:
                raise Closed("the end of the connection")
            have += got
        return bytes(parts)


class AsyncChannel:
    """The end of the front. `send` and `receive` raise `Closed` when the other side is gone."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def over(cls, connection: socket.socket) -> "AsyncChannel":
        """Return the channel of one end of a socket pair."""
        return cls(*await asyncio.open_unix_connection(sock=connection))

    def write(self, message: Message) -> None:
        """Send a message without waiting; one to a side that is gone is lost."""
        self._writer.write(message.encoded())

    async def send(self, message: Message) -> None:
        """Send a message; waits while the other side does not read."""
        try:
            self.write(message)
            await self._writer.drain()
        except OSError as error:
            raise Closed(str(error)) from None

    async def receive(self) -> Message:
        """Wait for a message."""
        try:
            text, payload = _sizes(await self._reader.readexactly(_HEAD.size))
            return _decoded(await self._reader.readexactly(text), await self._reader.readexactly(payload))
        except (OSError, asyncio.IncompleteReadError) as error:
            raise Closed(str(error)) from None

    def close(self) -> None:
        """Close this end."""
        self._writer.close()
