"""The front's side of computing: the queue of pieces, and workers that take batches from it and live messages before.

A live message goes to its worker at once, without waiting for the answer to the one before, so that a worker with much
to do is never idle. A worker that dies is started again, and its batch is computed by another one.
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

    async def start(self) -> None:
        """Start the workers. Raises UserError for a model that they refuse."""
        facts = await asyncio.gather(*(worker.start() for worker in self.workers))
        self.symbols = facts[0]["symbols"]

    async def stop(self) -> None:
        """End the workers."""
        for worker in self.workers:
            await worker.stop()

    def news(self) -> None:
        """Say that there is something to do."""
        for worker in self.workers:
            worker.news.set()

    async def next_batch(self, worker: "ComputeWorker") -> list[Piece]:
        """Wait for a batch, while a worker has nothing else to answer."""
        while True:
            worker.news.clear()
            batch, wait = ([], 0.0) if worker.busy else self.scheduler.take(time.monotonic())
            if batch:
                return batch
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait or None):
                    await worker.news.wait()

    async def compute(self, request: Hashable, audio: bytes, moments: Any, log_probs: bool) -> tuple[int, bytes]:
        """Have a piece computed: its frames, and the bytes of its outputs. Raises ApiError if it cannot be."""
        answer: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()

        def failed(message: str) -> None:
            if not answer.done():
                answer.set_exception(crashed(message))

        wanted = _Wanted(audio, moments, log_probs, answer)
        self.scheduler.add(Piece(request, len(audio) // 4, wanted, failed), time.monotonic())
        self.news()
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
    """One worker of a pool. Messages go to its process as they come, and it answers them in order."""

    def __init__(self, pool: ComputePool) -> None:
        self._pool = pool
        self.sessions = 0
        self.news = asyncio.Event()
        self._ready = asyncio.Event()
        self._answers: deque[asyncio.Future[Message]] = deque()
        self._child: Child | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether there are answers to come."""
        return bool(self._answers)

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
        await self._ready.wait()
        try:
            reply = await self._answer(message)
        except Closed:
            raise crashed("the process of this session has died") from None
        if reply.kind == "failed":
            raise ApiError.of_file(reply.fields["message"], "bad_audio")
        return reply.fields

    def _answer(self, message: Message) -> "asyncio.Future[Message]":
        """Send a message to the process, which must be ready; the answer is Closed if it dies."""
        assert self._child is not None
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._answers.append(answer)
        self._child.channel.write(message)
        return answer

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
                if self._child is not None:
                    self._child.kill()
                await asyncio.sleep(_RESTART_SECONDS[min(failures, len(_RESTART_SECONDS) - 1)])
                failures += 1

    async def _work(self, child: Child) -> None:
        """Take answers and batches until the process dies. Raises Closed then."""
        self._ready.set()
        computing = asyncio.create_task(self._compute_all())
        try:
            while True:
                reply = await child.channel.receive()
                answer = self._answers.popleft()
                if not answer.done():
                    answer.set_result(reply)
                if not self._answers:
                    self.news.set()
        finally:
            self._ready.clear()
            computing.cancel()
            await asyncio.gather(computing, return_exceptions=True)
            while self._answers:
                if not (answer := self._answers.popleft()).done():
                    answer.set_exception(Closed())

    async def _compute_all(self) -> None:
        while True:
            batch = await self._pool.next_batch(self)
            try:
                await self._compute(batch)
            except asyncio.CancelledError:  # the process has died
                self._pool.scheduler.lost(batch)
                self._pool.news()
                raise

    async def _compute(self, batch: list[Piece]) -> None:
        wanted: list[_Wanted] = [piece.data for piece in batch]
        log_probs = any(item.log_probs for item in wanted)
        begin = time.monotonic()
        reply = await self._answer(pack_batch([(item.audio, item.moments) for item in wanted], log_probs))
        self._pool.metrics.batch_seconds.observe(time.monotonic() - begin)
        self._pool.deliver(batch, reply, log_probs)
