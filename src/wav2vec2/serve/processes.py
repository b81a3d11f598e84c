"""The processes of a server as its front sees them: started, spoken to, and started again when they die."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from wav2vec2.errors import UserError
from wav2vec2.serve.messages import AsyncChannel, Closed, Message

_START_SECONDS = 600  # a large model on a slow disk


class Child:
    """A process that runs a module of this room, and the channels to it. socket: that of the first one."""

    def __init__(
        self, process: "subprocess.Popen[bytes]", channels: list[AsyncChannel], connection: socket.socket
    ) -> None:
        self.process, self.channels, self.socket = process, channels, connection
        self.facts: dict[str, Any] = {}

    @classmethod
    async def start(cls, module: str, settings: Mapping[str, Any], threads: int, channels: int = 1) -> "Child":
        """Start `wav2vec2.serve.MODULE` with its settings and so many channels; return when it is ready.

        Raises UserError for what it refuses, and if it ends before it is ready.
        """
        pairs = [socket.socketpair() for _ in range(channels)]
        numbers = [theirs.fileno() for _, theirs in pairs]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "passive"}
        command = [sys.executable, "-m", f"wav2vec2.serve.{module}", *map(str, numbers)]
        process = subprocess.Popen(command, pass_fds=numbers, env=environment, stdin=subprocess.DEVNULL)
        for _, theirs in pairs:
            theirs.close()
        descriptors = pairs[0][0].dup()  # asyncio keeps its own to itself; file descriptors go over this one
        child = cls(process, [await AsyncChannel.over(ours) for ours, _ in pairs], descriptors)
        try:
            await child.channels[0].send(Message("open", dict(settings)))
            answer = await asyncio.wait_for(child.channels[0].receive(), _START_SECONDS)
        except (Closed, TimeoutError) as error:
            child.kill()
            raise UserError(f"serve: {module} has ended before it was ready (status {process.wait()})") from error
        if answer.kind == "refused":
            child.kill()
            raise UserError(answer.fields["message"])
        child.facts = answer.fields
        return child

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process.poll() is None

    def kill(self) -> None:
        """End the process at once."""
        for channel in self.channels:
            channel.close()
        self.socket.close()
        self.process.kill()
        self.process.wait()


async def ask_decoder(parent: Child, file: int) -> tuple[AsyncChannel, int]:
    """Have a decoder process take the file with a descriptor; return the channel to it, and its number.

    Raises Closed if the parent or the process is dead.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            socket.send_fds(parent.socket, [b"."], [theirs.fileno(), file])
        except OSError as error:
            ours.close()
            raise Closed(str(error)) from None
    channel = await AsyncChannel.over(ours)
    try:
        return channel, int((await channel.receive()).fields["pid"])
    except BaseException:
        channel.close()
        raise


def kill_process(number: int) -> None:
    """End a decoder process, which may have ended."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(number, signal.SIGKILL)
