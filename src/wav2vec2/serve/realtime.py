"""`/v1/realtime?intent=transcription`: OpenAI's transcription session over a websocket, on our live recognition.

With turn detection (the default) an utterance ends after silence and becomes an item; without it, a client commits.
What is committed by the model comes as `delta`, and never changes; with "tentative" in `include`, what probably follows
comes as `...input_audio_transcription.tentative`, an event of ours that replaces the one before.
"""

import asyncio
import base64
import binascii
import contextlib
import json
import secrets
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from fastapi.responses import JSONResponse

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.serve.failures import ApiError, busy, wrong
from wav2vec2.serve.live_audio import LiveAudio
from wav2vec2.serve.live_stream import LiveAnswer, LiveStream
from wav2vec2.serve.live_wishes import Wishes
from wav2vec2.serve.server import Server

_TRANSCRIPTION = "conversation.item.input_audio_transcription"
_TENTATIVE = "tentative"
_KEY_PROTOCOL = "openai-insecure-api-key."
_MOST_WAITING = 60 * SAMPLE_RATE
_GOING_AWAY, _DIED = 1012, 1011


class _Session:
    """One client: what it sends is taken by `receive`, and what follows from it is sent by `answer`."""

    def __init__(self, server: Server, socket: WebSocket, model: str) -> None:
        self._server, self._socket, self.wishes = server, socket, Wishes(model)
        self._audio: LiveAudio | None = None
        self._stream: LiveStream | None = None
        self._work: asyncio.Queue[tuple[str, Any, str | None]] = asyncio.Queue()
        self._blocks: list[np.ndarray] | None = None  # what is to be heard last, while it waits
        self._waiting = 0
        self._item = _name("item")
        self._before: str | None = None
        self._text: list[str] = []
        self._words: list[dict[str, Any]] = []
        self._item_begin = 0.0
        self._speaking: float | None = None

    async def send(self, kind: str, **values: Any) -> None:
        """Send an event."""
        await self._socket.send_text(
            json.dumps({"type": kind, "event_id": _name("event"), **values}, ensure_ascii=False)
        )

    async def complain(self, error: ApiError, event: str | None) -> None:
        """Send an error; the session goes on."""
        self._server.metrics.refused.labels(error.code).inc()
        await self.send("error", error={**error.body()["error"], "event_id": event})

    async def receive(self) -> None:
        """Take events until the client has gone."""
        await self.send("session.created", session=self.wishes.plain())
        while True:
            received = await self._socket.receive()
            if received["type"] == "websocket.disconnect":
                return
            event: Any = None
            try:
                try:
                    event = json.loads(received.get("text") or received.get("bytes") or b"")
                except (ValueError, RecursionError):
                    raise wrong("the message is no JSON", code="invalid_json") from None
                if not isinstance(event, dict):
                    raise wrong("the message is no object", code="invalid_json")
                await self._take(event)
            except ApiError as error:
                given = event.get("event_id") if isinstance(event, dict) else None
                await self.complain(error, given if isinstance(given, str) else None)

    async def _take(self, event: dict[str, Any]) -> None:
        kind, name = event.get("type"), event.get("event_id")
        if kind in ("session.update", "transcription_session.update"):
            if self._audio is not None and self._changes_audio(event.get("session")):
                raise wrong("the format cannot change once audio was sent; open another session", "session")
            self.wishes.update(event.get("session"), self._server)
            await self.send(kind + "d", session=self.wishes.plain())
        elif kind == "input_audio_buffer.append":
            samples = self._samples(event.get("audio"))
            self._waiting += len(samples)
            if self._waiting > _MOST_WAITING:
                self._waiting -= len(samples)
                raise busy("more than a minute of audio waits to be heard: send it as it is spoken")
            if self._blocks is None:
                self._blocks = []
                self._work.put_nowait(("hear", self._blocks, name))
            self._blocks.append(samples)
        elif kind in ("input_audio_buffer.commit", "input_audio_buffer.clear"):
            self._blocks = None
            self._work.put_nowait((kind.rpartition(".")[2], None, name))
        else:
            known = "session.update, input_audio_buffer.append, .commit and .clear"
            raise wrong(f"type: {str(kind)[:80]!r} is none of {known}", "type", "unknown_event")

    def _changes_audio(self, session: Any) -> bool:
        other = Wishes(self.wishes.model, self.wishes.format)
        other.update(session, self._server)
        return other.format != self.wishes.format

    def _samples(self, audio: Any) -> np.ndarray:
        if not isinstance(audio, str):
            raise wrong("audio: is no string of base64", "audio")
        try:
            data = base64.b64decode(audio, validate=True)
        except (binascii.Error, ValueError):
            raise wrong("audio: is no base64", "audio") from None
        if self._audio is None:
            self._audio = LiveAudio(self.wishes.format)
        return self._audio.push(data)

    async def answer(self) -> None:
        """Do the work that waits, forever. Raises ApiError when the session's process has died."""
        while True:
            kind, value, name = await self._work.get()
            if kind == "finish":
                await self._finish()
                return
            if self._stream is None:
                self._stream = await LiveStream.open(self._server.pool, self.wishes.settings())
            if kind == "hear":
                if value is self._blocks:
                    self._blocks = None
                await self._hear(np.concatenate(value))
            elif kind == "commit":
                await self._commit(name)
            else:
                await self._stream.flush()
                self._forget()
                await self.send("input_audio_buffer.cleared")

    async def _hear(self, samples: np.ndarray) -> None:
        assert self._stream is not None
        heard = await self._stream.hear(samples)
        self._waiting -= len(samples)
        await self._tell(heard)

    async def _commit(self, name: str | None) -> None:
        assert self._stream is not None
        item = self._item
        await self._tell(await self._stream.flush())
        if self._item != item:  # the end of the utterance has completed it
            return
        if self._text or not self.wishes.turns:
            await self._complete()
        else:
            await self.complain(wrong("no speech since the last item", code="input_audio_buffer_empty"), name)

    def end(self) -> None:
        """Have what is left sent, and the connection closed: the server is about to end."""
        self._work.put_nowait(("finish", None, None))

    async def _finish(self) -> None:
        if self._stream is not None:
            await self._tell(await self._stream.flush())
            if self._text:
                await self._complete()
        await self._socket.close(_GOING_AWAY, "the server is shutting down")

    async def close(self) -> None:
        """Forget the stream."""
        if self._stream is not None:
            with contextlib.suppress(ApiError):
                await self._stream.close()

    async def _tell(self, heard: LiveAnswer) -> None:
        for event in heard.events:
            if event["kind"] == "committed":
                await self._begin(event["words"][0]["start"])
                space = " " if self._text and self._server.engine.spaced else ""
                self._text.append(event["text"])
                self._words += event["words"]
                delta = space + event["text"]
                await self.send(f"{_TRANSCRIPTION}.delta", item_id=self._item, content_index=0, delta=delta)
            elif event["kind"] == "tentative":
                if _TENTATIVE in self.wishes.include:
                    await self.send(f"{_TRANSCRIPTION}.tentative", item_id=self._item, text=event["text"])
            elif self.wishes.turns:
                await self._stop(event["heard"])
                await self._complete()
        if self.wishes.turns:
            if heard.speaking is not None:
                await self._begin(heard.speaking)
            elif self._speaking is not None:
                await self._stop(heard.heard)

    async def _begin(self, start: float) -> None:
        if self._speaking is None and self.wishes.turns:
            self._speaking = start
            milliseconds = max(0, round(1000 * start))
            await self.send("input_audio_buffer.speech_started", audio_start_ms=milliseconds, item_id=self._item)

    async def _stop(self, end: float) -> None:
        if self._speaking is not None:
            self._speaking = None
            await self.send("input_audio_buffer.speech_stopped", audio_end_ms=round(1000 * end), item_id=self._item)

    async def _complete(self) -> None:
        item, before = self._item, self._before
        text = (" " if self._server.engine.spaced else "").join(self._text)
        words, seconds = self._words, self._length()
        self._before = item
        self._forget()
        await self.send("input_audio_buffer.committed", item_id=item, previous_item_id=before)
        content = [{"type": "input_audio", "transcript": text}]
        message = {"id": item, "type": "message", "role": "user", "status": "completed", "content": content}
        await self.send("conversation.item.added", previous_item_id=before, item=message)
        await self.send("conversation.item.done", previous_item_id=before, item=message)
        usage = {"type": "duration", "seconds": seconds}
        completed = {"item_id": item, "content_index": 0, "transcript": text, "usage": usage, "words": words}
        await self.send(f"{_TRANSCRIPTION}.completed", **completed)

    def _length(self) -> float:
        return round(self._words[-1]["end"] - self._words[0]["start"], 3) if self._words else 0.0

    def _forget(self) -> None:
        self._item = _name("item")
        self._text, self._words, self._speaking = [], [], None

    async def fail(self, error: ApiError) -> None:
        """Say that the session has died, and close it."""
        about = error.body()["error"]
        await self.send(f"{_TRANSCRIPTION}.failed", item_id=self._item, content_index=0, error=about)
        await self._socket.close(_DIED, error.message[:100])


def _name(kind: str) -> str:
    return f"{kind}_{secrets.token_hex(10)}"


def add_realtime(app: FastAPI, server: Server) -> None:
    """Add the route of live sessions."""

    @app.websocket("/v1/realtime")
    async def realtime(socket: WebSocket) -> None:
        offered = socket.scope.get("subprotocols") or []
        try:
            server.keys.check(_shown_key(socket, offered))
            server.rate.check(socket.client.host if socket.client else "")
            if socket.query_params.get("intent", "transcription") != "transcription":
                raise wrong("intent: only transcription is served", "intent")
            model = server.checked_model(socket.query_params.get("model", server.options.model_names[0]))
            if server.places.draining or len(server.sessions) >= server.options.live_sessions:
                raise busy(f"{len(server.sessions)} live sessions are open, as many as may be")
        except ApiError as error:
            server.metrics.refused.labels(error.code).inc()
            await socket.send_denial_response(JSONResponse(error.body(), error.status, error.headers))
            return
        await socket.accept(subprotocol="realtime" if "realtime" in offered else None)
        async with _counted(server, _Session(server, socket, model)) as session:
            await _run(session)


def _shown_key(socket: WebSocket, offered: list[str]) -> str | None:
    """Return the key: a page cannot send headers with a websocket, and names it among the protocols."""
    shown = next((name.removeprefix(_KEY_PROTOCOL) for name in offered if name.startswith(_KEY_PROTOCOL)), None)
    return f"Bearer {shown}" if shown is not None else socket.headers.get("authorization")


@contextlib.asynccontextmanager
async def _counted(server: Server, session: _Session) -> AsyncIterator[_Session]:
    server.sessions.add(session)
    server.metrics.live_sessions.set(len(server.sessions))
    try:
        yield session
    finally:
        server.sessions.discard(session)
        server.metrics.live_sessions.set(len(server.sessions))
        await session.close()


async def _run(session: _Session) -> None:
    receiving = asyncio.create_task(session.receive())
    answering = asyncio.create_task(session.answer())
    try:
        await asyncio.wait({receiving, answering}, return_when=asyncio.FIRST_COMPLETED)
        if answering.done() and isinstance(error := answering.exception(), ApiError):
            with contextlib.suppress(WebSocketDisconnect, RuntimeError):
                await session.fail(error)
    finally:
        for task in (receiving, answering):
            task.cancel()
        await asyncio.gather(receiving, answering, return_exceptions=True)
