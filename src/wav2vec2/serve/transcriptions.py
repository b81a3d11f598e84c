"""`POST /v1/audio/transcriptions` and `/v1/audio/alignments`."""

import base64
from collections.abc import AsyncIterator
from typing import Any, cast

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from wav2vec2.output.formats import Format
from wav2vec2.output.transcript import Word
from wav2vec2.serve.described import ALIGNMENT_FORM, TRANSCRIPTION_FORM
from wav2vec2.serve.disconnect import unless_gone
from wav2vec2.serve.engine import Job
from wav2vec2.serve.failures import ApiError, wrong
from wav2vec2.serve.forms import Asked, asked_for, check_model, seconds_field
from wav2vec2.serve.server import Server
from wav2vec2.serve.shapes import MEDIA_TYPES, Heard, logprobs_of, server_event
from wav2vec2.serve.uploads import Upload, read_upload


def add_transcriptions(app: FastAPI, server: Server) -> None:
    """Add the routes of uploads."""

    @app.post(
        "/v1/audio/transcriptions",
        tags=["audio"],
        summary="Write down what is said in a file",
        openapi_extra={"requestBody": TRANSCRIPTION_FORM},
    )
    async def transcriptions(request: Request) -> Response:
        upload = await _upload(server, request)
        try:
            asked = asked_for(server, upload)
            job = _job(
                server, upload, "transcribe", {"hotwords": asked.hotwords, "peaks": asked.peaks, "greedy": asked.greedy}
            )
        except ApiError:
            upload.close()
            raise
        if asked.stream:
            events = _stream(server, upload, job, asked)
            first = await anext(events)  # an error before the first word is an answer of its own
            return StreamingResponse(_chained(first, events), media_type="text/event-stream")
        try:
            heard, outline = await unless_gone(request, _whole(server, job))
        finally:
            upload.close()
        return _answer(server, heard, asked, outline)

    @app.post(
        "/v1/audio/alignments",
        tags=["audio"],
        summary="Find when the words of a known text are said",
        openapi_extra={"requestBody": ALIGNMENT_FORM},
    )
    async def alignments(request: Request) -> Response:
        upload = await _upload(server, request)
        try:
            check_model(server, upload)
            text = upload.value("text")
            if not text.strip():
                raise wrong("the field 'text' is missing: send what is said in the file", "text", "missing_field")
            values = {"text": text, "start": seconds_field(upload, "start"), "end": seconds_field(upload, "end")}
            done = await unless_gone(request, _aligned(server, _job(server, upload, "align", values)))
        finally:
            upload.close()
        return JSONResponse(done)


async def _upload(server: Server, request: Request) -> Upload:
    headers = request.headers
    upload = await read_upload(
        headers.get("content-type", ""), headers.get("content-length"), request.stream(), server.uploads, server.budget
    )
    server.metrics.upload_bytes.inc(upload.size)
    if upload.descriptor is None:
        raise wrong("the field 'file' is missing: send the recording in it", "file", "missing_field")
    return upload


def _job(server: Server, upload: Upload, task: str, values: dict[str, Any]) -> Job:
    o = server.options
    assert upload.descriptor is not None
    seconds = 60 + int(o.most_seconds / 10)
    return Job(upload.descriptor, upload.name, task, o.most_seconds, o.memory_bytes, seconds, values)


async def _whole(server: Server, job: Job) -> tuple[Heard, dict[str, Any] | None]:
    heard, outline = Heard(job.name), None
    async with server.places.place():
        async for message in server.engine.run(job):
            if message.kind == "said":
                heard.pieces.append(message.fields)
            elif message.kind == "peaks":
                outline = {**message.fields, "data": base64.b64encode(message.payload).decode()}
            else:
                _end(heard, message.fields)
    return heard, outline


def _end(heard: Heard, fields: dict[str, Any]) -> None:
    heard.text, heard.seconds = fields["text"], fields["seconds"]
    heard.spaced, heard.warning = fields["spaced"], fields["warning"]


async def _aligned(server: Server, job: Job) -> dict[str, Any]:
    async with server.places.place():
        async for message in server.engine.run(job):
            if message.kind == "done":
                return message.fields
    raise AssertionError("an engine ends with done, or raises")


def _answer(server: Server, heard: Heard, asked: Asked, outline: dict[str, Any] | None) -> Response:
    warning = {} if not heard.warning else {"x-warning": heard.warning.encode("ascii", "backslashreplace").decode()}
    if asked.style in MEDIA_TYPES:
        text = heard.rendered(cast(Format, asked.style))
        return PlainTextResponse(text, media_type=MEDIA_TYPES[asked.style], headers=warning)
    if asked.style == "json":
        answer = heard.brief(logprobs=asked.logprobs)
    else:
        answer = heard.verbose(server.options.language, asked.granularities)
    return JSONResponse(answer | ({"peaks": outline} if outline else {}))


async def _stream(server: Server, upload: Upload, job: Job, asked: Asked) -> AsyncIterator[bytes]:
    """Yield the events of a streamed transcription; an error after the first one is an event as well."""
    heard = Heard(job.name)
    begun = False
    try:
        async with server.places.place():
            async for message in server.engine.run(job):
                if message.kind == "done":
                    _end(heard, message.fields)
                    whole = {"type": "transcript.text.done", **heard.brief(logprobs=asked.logprobs)}
                    yield server_event(whole)
                elif message.kind == "said" and message.fields["text"]:
                    said = message.fields
                    heard.pieces.append(said)
                    space = " " if begun and server.engine.spaced else ""
                    delta: dict[str, Any] = {"type": "transcript.text.delta", "delta": space + said["text"]}
                    if asked.logprobs:
                        words = [Word(*word) for word in said["words"]]
                        delta["logprobs"] = logprobs_of(words, server.engine.spaced, begun=begun)
                    begun = True
                    yield server_event(delta)
    except ApiError as error:
        if not begun:
            raise
        server.metrics.refused.labels(error.code).inc()
        yield b"event: error\n" + server_event({"type": "error", **error.body()})
    finally:
        upload.close()


async def _chained(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    try:
        yield first
        async for event in rest:
            yield event
    finally:
        await rest.aclose()  # type: ignore[attr-defined]
