"""Who may ask, and how much at once: keys, requests a minute, requests that run and wait."""

import asyncio
import hmac
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from wav2vec2.errors import UserError, cause
from wav2vec2.serve.failures import ApiError, busy
from wav2vec2.serve.metrics import Metrics

_CLIENTS = 10_000


def read_keys(path: Path) -> list[bytes]:
    """Return the keys in a file, one a line; lines that begin with # are comments.

    Raises UserError if it cannot be read or holds none.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({cause(error)}); give a text file with one key a line") from None
    keys = [line.strip().encode() for line in lines if line.strip() and not line.startswith("#")]
    if not keys:
        raise UserError(f"{path}: holds no key; write one a line, or leave out --keys")
    return keys


class Keys:
    """The keys that clients may show; none: everybody may ask."""

    def __init__(self, keys: list[bytes]) -> None:
        self._keys = keys

    def check(self, header: str | None) -> None:
        """Raise ApiError (401) unless a header Authorization shows a key. Takes the same time for all."""
        if not self._keys:
            return
        kind, _, shown = (header or "").partition(" ")
        given = shown.strip().encode("utf-8", "replace")
        found = False
        for key in self._keys:
            found |= hmac.compare_digest(key, given)
        if kind.lower() != "bearer" or not found:
            message = "no valid API key; send a header Authorization: Bearer KEY"
            raise ApiError(401, message, "invalid_api_key", headers={"www-authenticate": "Bearer"})


class Rate:
    """Requests a minute of each client. most: 0 for no limit."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._seen: OrderedDict[str, deque[float]] = OrderedDict()

    def check(self, client: str) -> None:
        """Count a request. Raises ApiError (429) if there were too many in the last minute."""
        if not self._most:
            return
        now = time.monotonic()
        times = self._seen.setdefault(client, deque())
        self._seen.move_to_end(client)
        while len(self._seen) > _CLIENTS:
            self._seen.popitem(last=False)
        while times and times[0] <= now - 60:
            times.popleft()
        if len(times) >= self._most:
            wait = str(max(1, round(times[0] + 60 - now)))
            message = f"more than {self._most} requests a minute; wait {wait} s"
            raise ApiError(429, message, "rate_limit_exceeded", headers={"retry-after": wait})
        times.append(now)


class Places:
    """The requests that run at once, and a queue for those that wait; no request runs while the server drains."""

    def __init__(self, running: int, waiting: int, metrics: Metrics) -> None:
        self._free, self._most_waiting, self._metrics = asyncio.Semaphore(running), waiting, metrics
        self.waiting = self.running = 0
        self.draining = False

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold a place. Raises ApiError (503) if too many wait already, or the server is about to end."""
        if self.draining:
            raise busy("the server is shutting down; ask another one, or again in a moment")
        if self._free.locked() and self.waiting >= self._most_waiting:
            raise busy(f"{self.waiting} requests wait already; try again in a moment")
        self.waiting += 1
        self._metrics.queued.set(self.waiting)
        try:
            await self._free.acquire()
        finally:
            self.waiting -= 1
            self._metrics.queued.set(self.waiting)
        self.running += 1
        self._metrics.active.set(self.running)
        try:
            yield
        finally:
            self.running -= 1
            self._metrics.active.set(self.running)
            self._free.release()
