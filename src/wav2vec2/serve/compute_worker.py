"""A compute worker: a process that holds the model, computes batches of pieces, and hears live sessions.

It takes its messages from a socket whose number is its only argument, in order, and answers each. A batch whose
computation fails is answered by `failed`; the worker goes on. It ends when the front closes the socket.
"""

import signal
import socket
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from wav2vec2.device import limit_threads
from wav2vec2.errors import UserError, cause
from wav2vec2.serve.messages import Channel, Closed, Message
from wav2vec2.serve.search import open_search, tuned_pieces

if TYPE_CHECKING:
    from wav2vec2.inference.acoustic_model import AcousticModel


def pack_batch(number: int, pieces: list[tuple[bytes, Any]], log_probs: bool) -> Message:
    """Return the message that asks for a batch: float32 audio at 16 kHz, and moments of the group norm or None."""
    fields = {"batch": number, "bytes": [len(audio) for audio, _ in pieces], "log_probs": log_probs}
    moments = [moment for _, moment in pieces]
    if any(moment is not None for moment in moments):
        fields["moments"] = moments
    return Message("batch", fields, b"".join(audio for audio, _ in pieces))


class _Worker:
    def __init__(self, settings: dict[str, Any]) -> None:
        # imported here, so that the module can be imported by the front, which has no torch
        import torch

        from wav2vec2.inference.acoustic_model import AcousticModel
        from wav2vec2.inference.frame_outputs import ComputeOptions

        torch.set_num_threads(settings["threads"])
        self._torch = torch
        compute = ComputeOptions(device=settings["device"], precision=settings["precision"])
        tuned = tuned_pieces(settings["decoding"])
        self._model = AcousticModel(settings["model"], compute=compute, tuned=tuned, language=settings["language"])
        self._settings = settings
        self._functions = {wanted: self._model.batch_function(log_probs=wanted) for wanted in (False, True)}
        self._sessions: dict[str, Any] = {}
        self._search: Any = None
        self._weights: AcousticModel | None = None

    def facts(self) -> dict[str, Any]:
        """What the front tells its clients about the model."""
        a = self._model.architecture
        return {"symbols": len(self._model.vocabulary), "device": str(self._model.device), "stride": a.stride}

    def answer(self, message: Message) -> Message:
        """Do what a message asks for."""
        if message.kind == "batch":
            return self._batch(message)
        return Message("events", self._live(message))

    def _batch(self, message: Message) -> Message:
        torch, fields = self._torch, message.fields
        sizes = [count // 4 for count in fields["bytes"]]
        audio = np.frombuffer(message.payload, np.float32)
        parts = np.split(audio, np.cumsum(sizes)[:-1])
        padded = torch.zeros(len(sizes), max(sizes))
        for row, part in zip(padded, parts, strict=True):
            row[: len(part)] = torch.from_numpy(part.copy())
        device = self._model.device
        moments = self._moments(fields.get("moments"), parts)
        function = self._functions[fields["log_probs"]]
        rows = function(padded.to(device), torch.tensor(sizes, device=device), moments)
        payload = b"".join(tensor.cpu().numpy().tobytes() for row in rows for tensor in row)
        return Message("computed", {"batch": fields["batch"], "frames": [len(row[0]) for row in rows]}, payload)

    def _moments(self, given: list[Any] | None, parts: list[np.ndarray]) -> Any:
        if given is None:
            return None
        from wav2vec2.model.window_moments import WindowMoments

        torch, a = self._torch, self._model.architecture
        return [
            WindowMoments.of(torch.from_numpy(part.copy()), a)
            if products is None
            else WindowMoments(torch.tensor(products, dtype=torch.float64, device=self._model.device))
            for products, part in zip(given, parts, strict=True)
        ]

    def _live(self, message: Message) -> dict[str, Any]:
        session = message.fields["session"]
        if message.kind == "open":
            self._sessions[session] = self._opened(message.fields)
            found = []
        elif message.kind == "hear":
            found = self._sessions[session].push(np.frombuffer(message.payload, np.float32))
        elif message.kind == "flush":
            found = self._sessions[session].flush()
        else:
            self._sessions.pop(session, None)
            found = []
        live = self._sessions.get(session)
        now = {} if live is None else {"heard": live.heard, "speaking": live.speaking}
        return {"session": session, **now, "events": [event.as_json() for event in found]}

    def _opened(self, fields: dict[str, Any]) -> Any:
        from wav2vec2.inference.live.open import open_session
        from wav2vec2.inference.live.settings import LiveSettings

        model = self._live_model()
        heard = getattr(model.model, "longest_heard", None)
        settings = LiveSettings(**fields["settings"]).suited(heard, tuned_pieces(self._settings["decoding"]))
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


def serve(channel: Channel) -> None:
    """Answer messages until the front is gone."""
    settings = channel.receive().fields
    try:
        worker = _Worker(settings)
    except UserError as error:
        channel.send(Message("refused", {"message": str(error)}))
        return
    channel.send(Message("ready", worker.facts()))
    while True:
        message = channel.receive()
        try:
            reply = worker.answer(message)
        except (UserError, RuntimeError, MemoryError, ValueError, KeyError) as error:
            reply = Message("failed", {"message": cause(error)})
        channel.send(reply)


def main() -> None:
    """Run the worker whose end of the socket has the number in the first argument."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the front says when it is over
    limit_threads()
    try:
        serve(Channel(socket.socket(fileno=int(sys.argv[1]))))
    except Closed:
        return


if __name__ == "__main__":
    main()
