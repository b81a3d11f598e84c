"""What the description of the interface (`/docs`, `/openapi.json`) says that routes cannot say by their types."""

from typing import Any

DESCRIPTION = """Speech to text with a CTC model (wav2vec 2.0). The audio endpoints have the shapes of OpenAI's, so that
its clients work unchanged; fields of theirs that a CTC model has no use for (`prompt`, `temperature`, `language`) are
accepted and change nothing."""

_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": "string"},
            },
        }
    },
}

ERROR_ANSWERS: dict[int | str, dict[str, Any]] = {
    status: {"description": text, "content": {"application/json": {"schema": _ERROR}}}
    for status, text in {
        400: "The request or the file is wrong",
        401: "No valid key",
        404: "No such path, or no such model",
        405: "Another method",
        408: "The body came too slowly",
        413: "The file has too many bytes or too many seconds",
        422: "Never sent: a request that is wrong is answered by 400",
        429: "Too many requests",
        500: "The file made a process die",
        503: "Too much to do; see Retry-After",
    }.items()
}


def _form(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    schema = {"type": "object", "required": required, "properties": properties}
    return {"required": True, "content": {"multipart/form-data": {"schema": schema}}}


_FILE = {"type": "string", "format": "binary", "description": "A recording in any common format"}
_MODEL = {"type": "string", "description": "A name from /v1/models; may be left out"}
_LIST = {"type": "array", "items": {"type": "string"}}

TRANSCRIPTION_FORM = _form(
    {
        "file": _FILE,
        "model": _MODEL,
        "response_format": {"type": "string", "enum": ["json", "text", "srt", "vtt", "verbose_json"]},
        "timestamp_granularities[]": {"type": "array", "items": {"type": "string", "enum": ["word", "segment"]}},
        "stream": {"type": "boolean", "description": "Send what is said as server-sent events, as it is known"},
        "include[]": {
            "type": "array",
            "items": {"type": "string", "enum": ["logprobs", "peaks", "greedy"]},
            "description": "logprobs: the confidence of each word. peaks: the outline of the sound, for a picture. "
            "greedy: what is written without the language model, too",
        },
        "hotwords[]": {**_LIST, "description": "Words to favour, WORD or WORD:WEIGHT (nats, 5 if left out)"},
        "keywords[]": {**_LIST, "description": "The same, under OpenAI's name"},
    },
    ["file"],
)

ALIGNMENT_FORM = _form(
    {
        "file": _FILE,
        "model": _MODEL,
        "text": {"type": "string", "description": "What is said in the recording, or in the part of it"},
        "start": {"type": "number", "description": "Where that part begins, in seconds; times count from there"},
        "end": {"type": "number", "description": "Where it ends"},
    },
    ["file", "text"],
)

_WORD = {
    "type": "object",
    "required": ["word", "start", "end"],
    "properties": {"word": {"type": "string"}, "start": {"type": "number"}, "end": {"type": "number"}},
}
CAPTIONS_BODY = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["words"],
                "properties": {
                    "words": {"type": "array", "items": _WORD},
                    "format": {
                        "type": "string",
                        "enum": ["text", "json", "jsonl", "srt", "vtt", "tsv", "ctm", "textgrid"],
                    },
                    "name": {"type": "string"},
                },
            }
        }
    },
}
