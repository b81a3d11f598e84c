"""The front's side of computing: the queue of pieces, and workers that take batches from it and live messages before.

A worker that dies is started again, and its batch is computed by another one.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.errors import UserError
from wav2vec2.serve.compute_worker import pack_batch
from wav2vec2.serve.failures import ApiError, crashed
from wav2vec2.serve.messages import Closed, Message
from wav2vec2.serve.metrics import Metrics
from wav2vec2.serve.processes import Child
from wav2vec2.serve.scheduler import Piece, Scheduler

_RESTART_SECONDS = (0.0, 1.0, 5.0, 15.0)
_FRESH_SECONDS = 30.0


@dataclass
class _Wanted:
    """A piece whose answer somebody waits for."""

    audio: bytes
    moments: Any
    log_probs: bool
    answer: "asyncio.Future[tuple[int, bytes]]"


class ComputePool:
    """Compute workers and their queue. settings: of the workers, see `command`; threads: of each."""

    def __init__(self, settings: Mapping[str, Any], workers: int, threads: int, metrics: Metrics) -> None:
        self.settings, self.threads, self.metrics = {**settings, "threads": threads}, threads, metrics
        self.scheduler = Scheduler(int(SAMPLE_RATE * settings["batch_seconds"]))
        self.workers = [ComputeWorker(self) for _ in range(workers)]
        self.symbols = 0
        self.computed_at = float("-inf")
        self._news = asyncio.Condition()

    async def start(self) -> None:
        """Start the workers. Raises UserError for a model that they refuse."""
        facts = await asyncio.gather(*(worker.start() for worker in self.workers))
        self.symbols = facts[0]["symbols"]

    async def stop(self) -> None:
        """End the workers."""
        for worker in self.workers:
            await worker.stop()

    async def news(self) -> None:
        """Say that there is something to do."""
        async with self._news:
            self._news.notify_all()

    async def next_batch(self, worker: "ComputeWorker") -> list[Piece]:
        """Wait for a batch, or for a live message of a worker (then an empty one)."""
        while True:
            if worker.live:
                return []
            batch, wait = self.scheduler.take(time.monotonic())
            if batch:
                return batch
            async with self._news:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._news.wait(), wait or None)

    async def compute(self, request: Hashable, audio: bytes, moments: Any, log_probs: bool) -> tuple[int, bytes]:
        """Have a piece computed: its frames, and the bytes of its outputs. Raises ApiError if it cannot be."""
        answer: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()

        def failed(message: str) -> None:
            if not answer.done():
                answer.set_exception(crashed(message))

        wanted = _Wanted(audio, moments, log_probs, answer)
        self.scheduler.add(Piece(request, len(audio) // 4, wanted, failed), time.monotonic())
        await self.news()
        return await answer

    async def probe(self, seconds: float) -> bool:
        """Whether a piece was computed in the last 30 s, or is within `seconds`."""
        if time.monotonic() - self.computed_at < _FRESH_SECONDS:
            return True
        request = object()
        self.scheduler.begin(request)
        try:
            await asyncio.wait_for(self.compute(request, bytes(4 * SAMPLE_RATE), None, False), seconds)
        except (TimeoutError, ApiError):
            return False
        finally:
            self.scheduler.end(request)
        return True

    def deliver(self, batch: list[Piece], reply: Message, log_probs: bool) -> None:
        """Hand out the answer to a batch, which was computed with `log_probs` or without."""
        wanted: list[_Wanted] = [piece.data for piece in batch]
        if reply.kind == "failed":
            for piece in batch:
                piece.failed(reply.fields["message"])
            return
        self.computed_at = time.monotonic()
        self.metrics.audio_seconds.inc(sum(piece.samples for piece in batch) / SAMPLE_RATE)
        self.metrics.batch_pieces.observe(len(batch))
        place = 0
        for item, frames in zip(wanted, reply.fields["frames"], strict=True):
            path = frames * (8 + 4)  # a symbol and its log-probability
            size = path + (4 * frames * self.symbols if log_probs else 0)
            if not item.answer.done():
                item.answer.set_result((frames, reply.payload[place : place + (size if item.log_probs else path)]))
            place += size


class ComputeWorker:
    """One worker of a pool."""

    def __init__(self, pool: ComputePool) -> None:
        self._pool = pool
        self.live: deque[tuple[Message, asyncio.Future[dict[str, Any]]]] = deque()
        self.sessions = 0
        self._child: Child | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> dict[str, Any]:
        """Start the process; return what it says of the model. Raises UserError for a model that it refuses."""
        self._child = await self._started()
        self._task = asyncio.create_task(self._run())
        return self._child.facts

    async def _started(self) -> Child:
        return await Child.start("compute_worker", self._pool.settings, self._pool.threads)

    async def stop(self) -> None:
        """End the process."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._child is not None:
            self._child.kill()

    async def ask(self, message: Message) -> dict[str, Any]:
        """Send a live message; return the answer's fields. Raises ApiError if the worker dies or refuses."""
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self.live.append((message, answer))
        await self._pool.news()
        return await answer

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                if self._child is None or not self._child.alive:
                    self._child = await self._started()
                failures = 0
                await self._work(self._child)
            except (Closed, UserError):
                self._pool.metrics.worker_deaths.inc()
                self._end_sessions()
                if self._child is not None:
                    self._child.kill()
                await asyncio.sleep(_RESTART_SECONDS[min(failures, len(_RESTART_SECONDS) - 1)])
                failures += 1

    def _end_sessions(self) -> None:
        while self.live:
            _, answer = self.live.popleft()
            if not answer.done():
                answer.set_exception(crashed("the process of this session has died"))

    async def _work(self, child: Child) -> None:
        while True:
            if batch := await self._pool.next_batch(self):
                try:
                    await self._compute(child, batch)
                except Closed:
                    self._pool.scheduler.lost(batch)
                    await self._pool.news()
                    raise
            while self.live:
                await self._hear(child)

    async def _hear(self, child: Child) -> None:
        message, answer = self.live[0]
        await child.channel.send(message)
        reply = await child.channel.receive()
        self.live.popleft()
        if answer.done():
            return
        if reply.kind == "failed":
            answer.set_exception(ApiError.of_file(reply.fields["message"], "bad_audio"))
        else:
            answer.set_result(reply.fields)

    async def _compute(self, child: Child, batch: list[Piece]) -> None:
        wanted: list[_Wanted] = [piece.data for piece in batch]
        log_probs = any(item.log_probs for item in wanted)
        begin = time.monotonic()
        audio = [(item.audio, item.moments) for item in wanted]
        await child.channel.send(pack_batch(audio, log_probs))
        reply = await child.channel.receive()
        self._pool.metrics.batch_seconds.observe(time.monotonic() - begin)
        self._pool.deliver(batch, reply, log_probs)
