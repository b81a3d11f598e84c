"""A lane of a compute worker: one of its threads, and the channel over which the front speaks to it.

Messages go out as they come, without waiting for the answer to the one before, so that a worker with much to do is
never idle; they are answered in order. A live session stays in its lane.
"""

import asyncio
from collections import deque
from typing import Any

from wav2vec2.serve.failures import ApiError, crashed
from wav2vec2.serve.messages import AsyncChannel, Closed, Message


class Lane:
    """The front's side of a lane. sessions: how many live sessions it has. news: set when there may be work for it."""

    def __init__(self) -> None:
        self.sessions = 0
        self.news = asyncio.Event()
        self._open = asyncio.Event()
        self._channel: AsyncChannel | None = None
        self._answers: deque[asyncio.Future[Message]] = deque()

    @property
    def busy(self) -> bool:
        """Whether there are answers to come."""
        return bool(self._answers)

    async def listen(self, channel: AsyncChannel) -> None:
        """Take the answers that come over a channel. Raises Closed when the process has died."""
        self._channel = channel
        self._open.set()
        self.news.set()
        while True:
            reply = await channel.receive()
            answer = self._answers.popleft()
            if not answer.done():
                answer.set_result(reply)
            if not self._answers:
                self.news.set()

    def close(self) -> None:
        """Forget the process, which has died, and all that it was asked."""
        self._open.clear()
        while self._answers:
            if not (answer := self._answers.popleft()).done():
                answer.set_exception(Closed())

    async def answer(self, message: Message) -> Message:
        """Send a message; return the answer. Raises Closed if the process dies."""
        await self._open.wait()
        assert self._channel is not None
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._answers.append(answer)
        self._channel.write(message)
        return await answer

    async def ask(self, message: Message) -> dict[str, Any]:
        """Send a live message; return the answer's fields. Raises ApiError if the process dies or refuses."""
        try:
            reply = await self.answer(message)
        except Closed:
            raise crashed("the process of this session has died") from None
        if reply.kind == "failed":
            raise ApiError.of_file(reply.fields["message"], "bad_audio")
        return reply.fields
