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
    """A process that runs a module of this room, and the channel to it."""

    def __init__(self, process: "subprocess.Popen[bytes]", channel: AsyncChannel, connection: socket.socket) -> None:
        self.process, self.channel, self.socket = process, channel, connection
        self.facts: dict[str, Any] = {}

    @classmethod
    async def start(cls, module: str, settings: Mapping[str, Any], threads: int) -> "Child":
        """Start `wav2vec2.serve.MODULE` with its settings; return when it is ready.

        Raises UserError for what it refuses, and if it ends before it is ready.
        """
        ours, theirs = socket.socketpair()
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "passive"}
        command = [sys.executable, "-m", f"wav2vec2.serve.{module}", str(theirs.fileno())]
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment, stdin=subprocess.DEVNULL)
        theirs.close()
        descriptors = ours.dup()  # asyncio keeps its own to itself; file descriptors go over this one
        child = cls(process, await AsyncChannel.over(ours), descriptors)
        try:
            await child.channel.send(Message("open", dict(settings)))
            answer = await asyncio.wait_for(child.channel.receive(), _START_SECONDS)
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
        self.channel.close()
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
