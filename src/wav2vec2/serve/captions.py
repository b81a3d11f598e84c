"""`POST /v1/audio/captions`: words with times, which somebody may have corrected, as captions and tables."""

import json
import math
from typing import Any, cast, get_args

from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse, Response

from wav2vec2.output.formats import Format, render
from wav2vec2.output.transcript import Transcript, Word
from wav2vec2.serve.described import CAPTIONS_BODY
from wav2vec2.serve.failures import ApiError, wrong
from wav2vec2.serve.server import Server
from wav2vec2.serve.shapes import MEDIA_TYPES

_MOST_BYTES = 32 << 20


def add_captions(app: FastAPI, server: Server) -> None:
    """Add the route."""

    @app.post(
        "/v1/audio/captions",
        tags=["audio"],
        summary="Write words with times as captions or tables",
        openapi_extra={"requestBody": CAPTIONS_BODY},
        response_class=PlainTextResponse,
    )
    async def captions(request: Request) -> Response:
        given = await _body(request)
        style = given.get("format", "srt")
        if style not in get_args(Format):
            raise wrong(f"format: is not one of {', '.join(get_args(Format))}", "format")
        words = _words(given.get("words"))
        spaced = server.engine.spaced
        text = (" " if spaced else "").join(word.text for word in words)
        seconds = max((word.end for word in words), default=0.0)
        name = str(given.get("name", "recording"))[:200]
        transcript = Transcript(name, text, words, seconds, 0.0, spaced=spaced)
        kind = MEDIA_TYPES.get(style, "text/plain")
        return PlainTextResponse(render(transcript, cast(Format, style)), media_type=kind)


async def _body(request: Request) -> dict[str, Any]:
    content = bytearray()
    async for block in request.stream():
        content += block
        if len(content) > _MOST_BYTES:
            raise ApiError(413, f"the body has more than {_MOST_BYTES >> 20} MiB", "body_too_large")
    try:
        given = json.loads(content)
    except (ValueError, RecursionError):
        raise wrong("the body is no JSON", code="invalid_json") from None
    if not isinstance(given, dict):
        raise wrong("the body is no object", code="invalid_json")
    return given


def _words(given: Any) -> tuple[Word, ...]:
    if not isinstance(given, list):
        raise wrong("words: is no list", "words")
    words: list[Word] = []
    for one in given:
        word = one if isinstance(one, dict) else {}
        text, start, end = word.get("word"), _time(word.get("start")), _time(word.get("end"))
        if not isinstance(text, str) or start is None or end is None or end < start:
            raise wrong(f"words: number {len(words)} lacks its word, or its times in seconds", "words")
        words.append(Word(" ".join(text.split()), start, end))
    return tuple(words)


def _time(value: Any) -> float | None:
    known = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf
    return float(value) if known else None
