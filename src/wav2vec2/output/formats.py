"""The formats that transcripts and alignments are written in. All are UTF-8 text; times are seconds from the start."""

import json
from typing import Any, Literal, Protocol

from wav2vec2.output.captions import as_srt, as_vtt
from wav2vec2.output.tables import as_ctm, as_tsv
from wav2vec2.output.textgrid import as_textgrid
from wav2vec2.output.timed import TimedText

Format = Literal["text", "json", "jsonl", "srt", "vtt", "tsv", "ctm", "textgrid"]

SUFFIXES: dict[Format, str] = {
    "text": ".txt",
    "json": ".json",
    "jsonl": ".jsonl",
    "srt": ".srt",
    "vtt": ".vtt",
    "tsv": ".tsv",
    "ctm": ".ctm",
    "textgrid": ".TextGrid",
}

ONE_RECORDING = frozenset[Format](("srt", "vtt", "textgrid"))
"""Formats whose files hold one recording each."""


class Result(Protocol):
    """A transcript or an alignment."""

    @property
    def text(self) -> str:
        """What is said."""

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""

    def timed(self, name: str = "") -> TimedText:
        """Return the words with their times, under the recording's own name or another one."""


def render(result: Result, style: Format, name: str = "") -> str:
    """Return the whole content of a file in a format; `name` replaces the recording's own name in tables.

    Raises ValueError for a format that does not exist.
    """
    if style not in SUFFIXES:
        raise ValueError(f"{style!r}: is no format; choose one of {', '.join(SUFFIXES)}")
    if style == "text":
        return result.text + "\n"
    if style in ("json", "jsonl"):
        indent = 2 if style == "json" else None
        return json.dumps(result.as_json(), ensure_ascii=False, indent=indent) + "\n"
    timed = result.timed(name)
    if style == "srt":
        return as_srt(timed)
    if style == "vtt":
        return as_vtt(timed)
    if style == "tsv":
        return as_tsv(timed)
    return as_ctm(timed) if style == "ctm" else as_textgrid(timed)
