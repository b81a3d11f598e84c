"""A compute worker: a process that holds the model, computes batches of pieces, and hears live sessions.

It has lanes: each argument is the number of a socket, from which a thread of its own takes messages, in order, and
answers each. A lane that works alone uses all the threads of torch that the worker may have; those that work at the
same time share them. A batch whose computation fails is answered by `failed`; the worker goes on. It ends when the
front closes the first socket.
"""

import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from wav2vec2.errors import UserError, cause
from wav2vec2.serve import idle_memory
from wav2vec2.serve.child import run_child
from wav2vec2.serve.layout import layout_of
from wav2vec2.serve.messages import Channel, Closed, Message
from wav2vec2.serve.search import open_search, tuned_pieces

if TYPE_CHECKING:
    from wav2vec2.inference.acoustic_model import AcousticModel


def pack_batch(pieces: list[tuple[bytes, Any]], log_probs: bool) -> Message:
    """Return the message that asks for a batch: float32 audio at 16 kHz, and moments of the group norm or None."""
    sizes, moments = [len(audio) for audio, _ in pieces], [moment for _, moment in pieces]
    fields = {"bytes": sizes, "moments": moments, "log_probs": log_probs}
    return Message("batch", fields, b"".join(audio for audio, _ in pieces))


class _Worker:
    def __init__(self, settings: dict[str, Any]) -> None:
        # imported here, so that the module can be imported by the front, which has no torch
        import torch

        from wav2vec2.inference.acoustic_model import AcousticModel
        from wav2vec2.inference.frame_outputs import ComputeOptions

        self._layout = layout_of(settings)
        self._torch, self._threads, self._busy = torch, self._layout.threads, 0
        torch.set_num_threads(self._threads)
        self._sharing, self._searching = threading.Lock(), threading.Lock()
        compute = ComputeOptions(device=settings["device"], precision=settings["precision"])
        tuned = tuned_pieces(settings["decoding"])
        self._model = AcousticModel(settings["model"], compute=compute, tuned=tuned, language=settings["language"])
        self._settings = settings
        self._functions = {wanted: self._model.batch_function(log_probs=wanted) for wanted in (False, True)}
        self._sessions: dict[str, Any] = {}
        self._search: Any = None
        self._weights: AcousticModel | None = None

    def facts(self) -> dict[str, Any]:
        """What the front needs to know of the model."""
        return {"symbols": len(self._model.vocabulary), "lanes": self.lanes, **asdict(self._layout)}

    @property
    def lanes(self) -> int:
        """Lanes that are of use: a GPU computes one batch after the other."""
        return self._threads if self._model.device.type == "cpu" else 1

    def answer(self, message: Message) -> Message:
        """Do what a message asks for; several threads may at once."""
        with self._share_of_threads():
            if message.kind == "batch":
                return self._batch(message)
            return Message("events", self._live(message))

    @contextmanager
    def _share_of_threads(self) -> Iterator[None]:
        with self._sharing:
            self._busy += 1
            self._torch.set_num_threads(max(1, self._threads // self._busy))  # of this thread alone
        try:
            yield
        finally:
            with self._sharing:
                self._busy -= 1

    def _batch(self, message: Message) -> Message:
        from wav2vec2.inference.pools import common_moments, padded
        from wav2vec2.model.window_moments import WindowMoments

        fields, device = message.fields, self._model.device
        sizes = [count // 4 for count in fields["bytes"]]
        audio = np.split(np.frombuffer(message.payload, np.float32).copy(), np.cumsum(sizes)[:-1])
        given = [
            None if products is None else WindowMoments(self._torch.tensor(products, dtype=self._torch.float64))
            for products in fields["moments"]
        ]
        moments = common_moments(audio, given, self._model.architecture, device)
        rows = self._functions[fields["log_probs"]](*padded(audio, device), moments)
        payload = b"".join(tensor.cpu().numpy().tobytes() for row in rows for tensor in row)
        return Message("computed", {"frames": [len(row[0]) for row in rows]}, payload)

    def _live(self, message: Message) -> dict[str, Any]:
        session = message.fields["session"]
        if message.kind == "open":
            with self._searching:
                self._sessions[session] = self._opened(message.fields)
            found = []
        elif message.kind in ("hear", "flush"):
            # searches share a language model, which keeps what it has seen
            greedy = self._search is None or self._search.decoder is None
            with nullcontext() if greedy else self._searching:
                live = self._sessions[session]
                audio = np.frombuffer(message.payload, np.float32)
                found = live.push(audio) if message.kind == "hear" else live.flush()
        else:
            self._sessions.pop(session, None)
            found = []
        live = self._sessions.get(session)
        now = {} if live is None else {"heard": live.heard, "speaking": live.speaking}
        return {**now, "events": [event.as_json() for event in found]}

    def _opened(self, fields: dict[str, Any]) -> Any:
        from wav2vec2.inference.live.open import open_session
        from wav2vec2.inference.live.settings import LiveSettings

        model = self._live_model()
        heard = getattr(model.model, "longest_heard", None)
        settings = LiveSettings(**fields["settings"], vad=self._settings["vad"]).suited(
            heard, tuned_pieces(self._settings["decoding"])
        )
        return open_session(model, settings, self._live_search())

    def _live_model(self) -> "AcousticModel":
        """Return the model with its weights: an exported file that lies beside it computes whole recordings only."""
        from wav2vec2.inference.acoustic_model import AcousticModel
        from wav2vec2.inference.frame_outputs import ComputeOptions

        if isinstance(self._model.model, self._torch.nn.Module):
            return self._model
        if self._weights is None:
            compute = ComputeOptions(device=self._settings["device"], precision="float32")
            self._weights = AcousticModel(self._settings["model"], compute=compute, language=self._settings["language"])
        return self._weights

    def _live_search(self) -> Any:
        if self._search is None:
            model = self._model
            self._search = open_search(self._settings["decoding"], model.vocabulary, model.language_model_folder)
        return self._search


def _answer_lanes(worker: _Worker, connection: socket.socket) -> None:
    """Answer the first lane here, and the others in threads that end with the process."""
    idle_memory.watch()
    for number in map(int, sys.argv[2 : worker.lanes + 1]):
        threading.Thread(target=_answer_lane, args=(worker, socket.socket(fileno=number)), daemon=True).start()
    _answer_all(worker, connection)


def _answer_lane(worker: _Worker, connection: socket.socket) -> None:
    with suppress(Closed):
        _answer_all(worker, connection)


def _answer_all(worker: _Worker, connection: socket.socket) -> None:
    channel = Channel(connection)
    while True:
        message = channel.receive()
        try:
            reply = worker.answer(message)
        except (UserError, RuntimeError, MemoryError, ValueError, KeyError) as error:
            reply = Message("failed", {"message": cause(error)})
        channel.send(reply)


if __name__ == "__main__":
    run_child(_Worker, _Worker.facts, _answer_lanes)
