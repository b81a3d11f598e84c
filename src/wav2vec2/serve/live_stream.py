"""A live session at a compute worker, as the front sees it."""

import itertools
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from wav2vec2.serve.computing import ComputePool, ComputeWorker
from wav2vec2.serve.messages import Message

_NUMBERS = itertools.count(1)


@dataclass
class LiveAnswer:
    """What a worker says to some audio. heard: seconds decided on; speaking: when the utterance began, None between."""

    heard: float = 0.0
    speaking: float | None = None
    events: list[dict[str, Any]] = field(default_factory=list)


class LiveStream:
    """One stream. `hear` and `flush` raise ApiError when the worker has died."""

    def __init__(self, worker: ComputeWorker) -> None:
        self._worker, self._name = worker, str(next(_NUMBERS))

    @classmethod
    async def open(cls, pool: ComputePool, settings: dict[str, Any]) -> "LiveStream":
        """Open a stream at the worker that has the fewest. Raises ApiError for settings that are impossible."""
        worker = min(pool.workers, key=lambda worker: worker.sessions)
        stream = cls(worker)
        worker.sessions += 1
        try:
            await worker.ask(Message("open", {"session": stream._name, "settings": settings}))
        except BaseException:
            worker.sessions -= 1
            raise
        return stream

    async def hear(self, samples: np.ndarray) -> LiveAnswer:
        """Hear float32 samples at 16 kHz."""
        message = Message("hear", {"session": self._name}, samples.astype(np.float32, copy=False).tobytes())
        return self._told(await self._worker.ask(message))

    async def flush(self) -> LiveAnswer:
        """End the utterance now."""
        return self._told(await self._worker.ask(Message("flush", {"session": self._name})))

    async def close(self) -> None:
        """Forget the stream."""
        self._worker.sessions -= 1
        await self._worker.ask(Message("close", {"session": self._name}))

    @staticmethod
    def _told(fields: dict[str, Any]) -> LiveAnswer:
        return LiveAnswer(fields["heard"], fields["speaking"], fields["events"])
