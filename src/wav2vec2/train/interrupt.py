"""Requests to stop: Ctrl-C and SIGTERM, which schedulers send before they take a machine away.

A run that is asked to stop finishes its update, saves, and leaves with a status of its own (``errors.Stopped``), so
that a launcher can tell it from a run that is done and from one that has failed.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

CTRL_C = "Ctrl-C"


@dataclass
class StopRequest:
    """Why a run was asked to stop; empty if it was not."""

    reason: str = ""
    by_signal: bool = False
    """A signal asked, and not an option of the run."""


@contextmanager
def stop_signals(*, speak: bool = True) -> Iterator[StopRequest]:
    """Turn Ctrl-C and SIGTERM into a request to stop after the current update, and say so at once on stderr.

    A second Ctrl-C raises KeyboardInterrupt at once. ``speak``: this process writes to the console.
    """
    request = StopRequest()

    def handle(number: int, _: Any) -> None:
        if request.by_signal and number == signal.SIGINT:
            raise KeyboardInterrupt
        again, first = "; Ctrl-C again leaves now", not request.by_signal
        request.reason, request.by_signal = CTRL_C if number == signal.SIGINT else signal.Signals(number).name, True
        if speak and first:
            with suppress(OSError):  # not print: a signal may come in the middle of another print
                os.write(2, f"{request.reason}: stopping after this update{again}\n".encode())

    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
