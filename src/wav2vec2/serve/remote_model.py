"""The model, as a decoder process sees it: it is elsewhere."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.audio.recordings import Failure
from wav2vec2.inference.cuts import Cut, Ended
from wav2vec2.inference.pools import Computed
from wav2vec2.serve.messages import Channel, Message

_AHEAD = 60 * SAMPLE_RATE
"""Samples of a request that are on their way to the model at once, at most."""


class Refused(Exception):
    """The front has said why a request ends here."""


class RemoteModel:
    """Pieces go out over a channel, and their frames come back.

    log_probs: whether with all log-probabilities; width: the number of symbols. Raises `Closed` and `Refused`.
    """

    def __init__(self, channel: Channel, *, log_probs: bool, width: int) -> None:
        self._channel, self._log_probs, self._width = channel, log_probs, width

    def pools(self, events: Iterable[Cut | Ended | Failure]) -> Iterator[list[Computed | Ended | Failure]]:
        """Yield the events in order, each cut with its outputs; as many as fit into `_AHEAD` are under way."""
        waiting: deque[tuple[int, Cut | Ended | Failure]] = deque()
        answers: dict[int, tuple[torch.Tensor, ...]] = {}
        ahead = 0
        for number, event in enumerate(events):
            waiting.append((number, event))
            if isinstance(event, Cut):
                self._send(number, event)
                ahead += len(event.waveform)
            while ahead > _AHEAD:
                ahead -= self._receive(answers, waiting)
                yield from self._known(waiting, answers)
        while waiting:
            yield from self._known(waiting, answers)
            if waiting:
                self._receive(answers, waiting)

    def _send(self, number: int, cut: Cut) -> None:
        moments = None if cut.moments is None else cut.moments.products.tolist()
        fields = {"piece": number, "log_probs": self._log_probs, "moments": moments}
        self._channel.send(Message("piece", fields, np.ascontiguousarray(cut.waveform, np.float32).tobytes()))

    def _receive(self, answers: dict[int, tuple[torch.Tensor, ...]], waiting: Iterable[tuple[int, Any]]) -> int:
        message = self._channel.receive()
        if message.kind != "computed":
            raise Refused
        number, frames = message.fields["piece"], message.fields["frames"]
        answers[number] = self._tensors(message.payload, frames)
        return next(len(event.waveform) for place, event in waiting if place == number)

    def _tensors(self, payload: bytes, frames: int) -> tuple[torch.Tensor, ...]:
        symbols = np.frombuffer(payload, np.int64, frames)
        numbers = np.frombuffer(payload, np.float32, offset=8 * frames)
        parts: list[np.ndarray[Any, Any]] = [symbols, numbers[:frames]]
        if self._log_probs:
            parts.append(numbers[frames:].reshape(frames, self._width))
        return tuple(torch.from_numpy(part.copy()) for part in parts)

    @staticmethod
    def _known(
        waiting: deque[tuple[int, Cut | Ended | Failure]], answers: dict[int, tuple[torch.Tensor, ...]]
    ) -> Iterator[list[Computed | Ended | Failure]]:
        while waiting and (not isinstance(waiting[0][1], Cut) or waiting[0][0] in answers):
            number, event = waiting.popleft()
            if isinstance(event, Cut):
                kept = slice(event.skip, event.skip + event.keep)
                yield [(event, tuple(tensor[kept] for tensor in answers.pop(number)))]
            else:
                yield [event]
