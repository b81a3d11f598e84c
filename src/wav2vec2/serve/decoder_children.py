"""The decoder processes that a parent has forked: one for each request at a time, kept for the next one.

Forking costs more than a short clip (the memory that is shared has to be mapped), so a process that has finished its
request waits for another one. It is trusted with the next file only if all went well: it ends after an error that is
not the file's, when its memory has grown, and after many requests.
"""

import os
import resource
import select
import signal
import socket
from collections.abc import Callable, Iterator

from wav2vec2.inference.freed_memory import give_back
from wav2vec2.serve.idle_memory import IDLE_SECONDS

MOST_IDLE = 8
"""Processes that wait for a request, at most; the memory of each is a few MiB of its own."""
MOST_REQUESTS = 200
"""Requests of one process."""
MOST_GROWTH = 64 << 20
"""Bytes by which a process may have grown and still be kept."""
_IDLE = b"."


class DecoderChildren:
    """The parent's side.

    work: what a child does with a request, given the descriptors of its end of the channel and of the file; it returns
    whether all went well.
    """

    def __init__(self, work: Callable[[int, int], bool], parent: socket.socket) -> None:
        self._work, self._parent = work, parent
        self._idle: list[socket.socket] = []
        self._busy: list[socket.socket] = []
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them

    def give(self, connection: int, file: int) -> None:
        """Have a process do a request: one that waits, or a new one."""
        try:
            while self._idle:
                control = self._idle.pop()
                try:
                    socket.send_fds(control, [_IDLE], [connection, file])
                except OSError:  # it was killed while it waited
                    control.close()
                    continue
                self._busy.append(control)
                return
            self._fork(connection, file)
        finally:
            os.close(connection)
            os.close(file)

    def news(self, readable: list[socket.socket]) -> None:
        """Take note of children that have finished or died."""
        for control in readable:
            idle = control in self._busy and _heard(control)
            (self._busy if control in self._busy else self._idle).remove(control)
            if idle and len(self._idle) < MOST_IDLE:
                self._idle.append(control)
            else:
                control.close()

    def retire(self) -> None:
        """Let all waiting children end but the last that worked; a burst will fork others again."""
        while len(self._idle) > 1:
            self._idle.pop(0).close()

    @property
    def controls(self) -> list[socket.socket]:
        """What can be read when there is news."""
        return self._idle + self._busy

    def replace(self) -> None:
        """Let none of the present children have another request: the parent has learnt something that they lack."""
        for control in self.controls:
            control.close()
        self._idle, self._busy = [], []

    def _fork(self, connection: int, file: int) -> None:
        ours, theirs = socket.socketpair()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for inherited in (self._parent, ours, *self.controls):
                inherited.close()
            _live(self._work, theirs, connection, file)
        theirs.close()
        self._busy.append(ours)


def _live(work: Callable[[int, int], bool], control: socket.socket, connection: int, file: int) -> None:
    """Do requests, and end the process without what Python does at its end."""
    status = 1
    try:
        begin = _memory()[1]
        for first, second in _requests(control, connection, file):
            if not work(first, second) or _memory()[1] - begin > MOST_GROWTH:
                break
        status = 0
    finally:
        os._exit(status)


def _requests(control: socket.socket, connection: int, file: int) -> Iterator[tuple[int, int]]:
    yield connection, file
    for _ in range(MOST_REQUESTS - 1):
        try:
            control.sendall(_IDLE)
            if not select.select([control], [], [], IDLE_SECONDS)[0]:
                give_back()
            request = next_request(control)
        except OSError:
            return
        if request is None:  # the parent wants no more of this one, or is gone
            return
        yield request


def next_request(connection: socket.socket) -> tuple[int, int] | None:
    """Wait for the two descriptors of a request: its channel's end and its file. None: there will be no more."""
    _, descriptors, _, _ = socket.recv_fds(connection, 1, 2)
    return (descriptors[0], descriptors[1]) if len(descriptors) == 2 else None


def _heard(control: socket.socket) -> bool:
    try:
        return control.recv(1) == _IDLE
    except OSError:
        return False


def _memory() -> tuple[int, int]:
    """Bytes of address space of this process, and of those that lie in memory and are no files."""
    with open("/proc/self/statm", encoding="ascii") as file:
        size, resident, shared = (int(pages) * resource.getpagesize() for pages in file.read().split()[:3])
    return size, resident - shared


def limit(memory: int, seconds: int) -> None:
    """Limit this process: `memory` bytes beyond what it has now, `seconds` of processor time from now on.

    Only the soft limits are set, so that the next request can have its own.
    """
    used = resource.getrusage(resource.RUSAGE_SELF)
    for kind, most in (
        (resource.RLIMIT_AS, _memory()[0] + memory),
        (resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime) + 1 + seconds),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (most, resource.getrlimit(kind)[1]))
