"""The front's side of computing: the queue of pieces, and the workers whose lanes take batches from it.

A worker that dies is started again, and its batches are computed by another one.
"""

import asyncio
import contextlib
import time
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.device import compute_threads
from wav2vec2.errors import UserError
from wav2vec2.serve.compute_worker import pack_batch
from wav2vec2.serve.failures import ApiError, crashed
from wav2vec2.serve.lane import Lane
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
    """Compute workers and their queue. settings: of the workers, see `command`.

    workers, threads: how many, and of each; 0: the first worker decides it, which knows the model (`layout`).
    """

    def __init__(self, settings: Mapping[str, Any], workers: int, threads: int, metrics: Metrics) -> None:
        self.settings, self.metrics = {**settings, "processes": workers, "threads": threads}, metrics
        self.threads = threads or compute_threads()
        self.scheduler = Scheduler(int(SAMPLE_RATE * settings["batch_seconds"]))
        self.workers: list[ComputeWorker] = []
        self.symbols = 0
        self.computed_at = float("-inf")

    @property
    def lanes(self) -> list[Lane]:
        """The lanes of all workers."""
        return [lane for worker in self.workers for lane in worker.lanes]

    async def start(self) -> None:
        """Start the first worker, which may have to download the model, and then the others.

        Raises UserError for a model that they refuse.
        """
        self.workers = [ComputeWorker(self)]
        facts = await self.workers[0].start()
        self.symbols, self.threads = facts["symbols"], facts["threads"]
        self.settings |= {"processes": facts["processes"], "threads": facts["threads"]}
        others = [ComputeWorker(self) for _ in range(1, facts["processes"])]
        self.workers += others
        await asyncio.gather(*(worker.start() for worker in others))

    async def stop(self) -> None:
        """End the workers."""
        for worker in self.workers:
            await worker.stop()

    def news(self) -> None:
        """Say that there is something to do."""
        for lane in self.lanes:
            lane.news.set()

    async def next_batch(self, lane: Lane) -> list[Piece]:
        """Wait for a batch, while a lane has nothing else to answer."""
        while True:
            lane.news.clear()
            batch, wait = ([], 0.0) if lane.busy else self.scheduler.take(time.monotonic())
            if batch:
                return batch
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait or None):
                    await lane.news.wait()

    async def compute_batches(self, lane: Lane) -> None:
        """Have batches computed in a lane, forever; if this is cancelled, its batch is computed in another one."""
        while True:
            batch = await self.next_batch(lane)
            wanted: list[_Wanted] = [piece.data for piece in batch]
            log_probs = any(item.log_probs for item in wanted)
            begin = time.monotonic()
            try:
                reply = await lane.answer(pack_batch([(item.audio, item.moments) for item in wanted], log_probs))
            except asyncio.CancelledError:
                self.scheduler.lost(batch)
                self.news()
                raise
            self.metrics.batch_seconds.observe(time.monotonic() - begin)
            self.deliver(batch, reply, log_probs)

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
    """One worker of a pool: a process, and a lane for each of its threads."""

    def __init__(self, pool: ComputePool) -> None:
        self._pool = pool
        self.lanes = [Lane() for _ in range(pool.threads)]
        self._child: Child | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> dict[str, Any]:
        """Start the process; return what it says of the model. Raises UserError for a model that it refuses."""
        self._child = await self._started()
        del self.lanes[self._child.facts["lanes"] :]
        self._task = asyncio.create_task(self._run())
        return self._child.facts

    async def _started(self) -> Child:
        return await Child.start("compute_worker", self._pool.settings, self._pool.threads, len(self.lanes))

    async def stop(self) -> None:
        """End the process."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._child is not None:
            self._child.kill()

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
        """Keep the lanes busy until the process dies. Raises Closed then."""
        running = [
            asyncio.create_task(work)
            for lane, channel in zip(self.lanes, child.channels, strict=False)
            for work in (lane.listen(channel), self._pool.compute_batches(lane))
        ]
        try:
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            for lane in self.lanes:
                lane.close()
