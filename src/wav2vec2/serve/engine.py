"""The front's side of a request: a decoder process for its file, whose pieces are computed in the pool."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from wav2vec2.serve.computing import ComputePool
from wav2vec2.serve.failures import ApiError, crashed
from wav2vec2.serve.messages import AsyncChannel, Closed, Message
from wav2vec2.serve.processes import Child, ask_decoder, kill_process


@dataclass
class Job:
    """What a decoder process is asked to do with a file.

    file: descriptor of the file, in memory. task: transcribe or align. most_seconds: of decoded audio.
    """

    file: int
    name: str
    task: str
    most_seconds: float
    memory_bytes: int
    processor_seconds: int
    values: Mapping[str, Any] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """Return what the process is told."""
        limits = {"memory_bytes": self.memory_bytes, "processor_seconds": self.processor_seconds}
        return {"name": self.name, "task": self.task, "most_seconds": self.most_seconds, **limits, **self.values}


class Engine:
    """Decoder processes, which one parent gives to requests, and the pool that computes."""

    def __init__(self, pool: ComputePool) -> None:
        self.pool = pool
        self._parent: Child | None = None

    async def start(self) -> None:
        """Start all processes. Raises UserError for a model or a search that they refuse."""
        self._parent, _ = await asyncio.gather(self._started(), self.pool.start())

    async def stop(self) -> None:
        """End all processes."""
        await self.pool.stop()
        if self._parent is not None:
            self._parent.kill()

    @property
    def spaced(self) -> bool:
        """Whether the model's words are separated by spaces."""
        return self._parent is None or bool(self._parent.facts.get("spaced", True))

    async def _started(self) -> Child:
        return await Child.start("decoder_process", self.pool.settings, 1)

    async def run(self, job: Job) -> AsyncIterator[Message]:
        """Yield what a decoder process says of a file: `said` for each piece, `peaks` if asked for, then `done`.

        If the iterator is closed before the end, the process is killed, and its pieces are forgotten. Raises ApiError.
        """
        channel, process = await self._decoder(job.file)
        pieces = _Pieces(self.pool, channel)
        ended = False
        try:
            await channel.send(Message("job", job.plain()))
            while (message := await channel.receive()).kind != "failed":
                if message.kind == "piece":
                    pieces.compute(message)
                    continue
                ended = message.kind == "done"
                yield message
                if ended:
                    return
            ended = True
            raise ApiError.of_file(message.fields["message"], message.fields["code"])
        except Closed:
            if pieces.error is not None:
                raise pieces.error from None
            self.pool.metrics.decoder_crashes.inc()
            raise crashed(f"{job.name}: the process that read it has died, or took too much time or memory") from None
        finally:
            pieces.close()
            if not ended:
                kill_process(process)
            channel.close()

    async def _decoder(self, file: int) -> tuple[AsyncChannel, int]:
        for _ in range(3):
            if self._parent is None or not self._parent.alive:
                self._parent = await self._started()
            with contextlib.suppress(Closed):
                return await ask_decoder(self._parent, file)
        raise crashed("the process that starts decoders cannot be started")


class _Pieces:
    """The pieces of one request that are computed. error: why one of them could not be."""

    def __init__(self, pool: ComputePool, channel: AsyncChannel) -> None:
        self._pool, self._channel = pool, channel
        self._tasks: set[asyncio.Task[None]] = set()
        self.error: ApiError | None = None
        pool.scheduler.begin(self)

    def compute(self, message: Message) -> None:
        """Have a piece computed, and its outputs sent back."""
        task = asyncio.create_task(self._answer(message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, message: Message) -> None:
        fields = message.fields
        try:
            frames, payload = await self._pool.compute(self, message.payload, fields["moments"], fields["log_probs"])
            await self._channel.send(Message("computed", {"piece": fields["piece"], "frames": frames}, payload))
        except ApiError as error:
            self.error = error
            self._channel.close()
        except Closed:  # the request has noticed
            pass

    def close(self) -> None:
        """Forget what waits or is computed."""
        self._pool.scheduler.end(self)
        for task in self._tasks:
            task.cancel()
