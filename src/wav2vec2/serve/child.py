"""What every process of a server does: it takes its settings, says that it is ready or why not, and works."""

import signal
import socket
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from wav2vec2.errors import UserError
from wav2vec2.serve.messages import Channel, Closed, Message

Opened = TypeVar("Opened")


def run_child(
    opened: Callable[[dict[str, Any]], Opened],
    facts: Callable[[Opened], dict[str, Any]],
    work: Callable[[Opened, socket.socket], None],
) -> None:
    """Run a process whose end of the socket has the number in its first argument, until the front is gone.

    opened: makes what works from the settings, or raises UserError; facts: what the front is told of it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the front says when it is over
    connection = socket.socket(fileno=int(sys.argv[1]))
    channel = Channel(connection)
    try:
        try:
            made = opened(channel.receive().fields)
        except UserError as error:
            channel.send(Message("refused", {"message": str(error)}))
            return
        channel.send(Message("ready", facts(made)))
        work(made, connection)
    except Closed:
        return
