"""A live session in a lane of a compute worker, as the front sees it."""

import itertools
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from wav2vec2.serve.computing import ComputePool
from wav2vec2.serve.lane import Lane
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

    def __init__(self, lane: Lane) -> None:
        self._lane, self._name = lane, str(next(_NUMBERS))

    @classmethod
    async def open(cls, pool: ComputePool, settings: dict[str, Any]) -> "LiveStream":
        """Open a stream in the lane that has the fewest. Raises ApiError for settings that are impossible."""
        lane = min(pool.lanes, key=lambda lane: lane.sessions)
        stream = cls(lane)
        lane.sessions += 1
        try:
            await lane.ask(Message("open", {"session": stream._name, "settings": settings}))
        except BaseException:
            lane.sessions -= 1
            raise
        return stream

    async def hear(self, samples: np.ndarray) -> LiveAnswer:
        """Hear float32 samples at 16 kHz."""
        message = Message("hear", {"session": self._name}, samples.astype(np.float32, copy=False).tobytes())
        return self._told(await self._lane.ask(message))

    async def flush(self) -> LiveAnswer:
        """End the utterance now."""
        return self._told(await self._lane.ask(Message("flush", {"session": self._name})))

    async def close(self) -> None:
        """Forget the stream."""
        self._lane.sessions -= 1
        await self._lane.ask(Message("close", {"session": self._name}))

    @staticmethod
    def _told(fields: dict[str, Any]) -> LiveAnswer:
        return LiveAnswer(fields["heard"], fields["speaking"], fields["events"])
