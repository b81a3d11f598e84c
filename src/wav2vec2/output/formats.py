"""The formats that transcripts and alignments are written in. All are UTF-8 text; times are seconds from the start."""

import json
from typing import Literal

from wav2vec2.output.alignment import Alignment
from wav2vec2.output.captions import as_srt, as_vtt
from wav2vec2.output.tables import as_ctm, as_tsv
from wav2vec2.output.textgrid import as_textgrid
from wav2vec2.output.transcript import Transcript

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


def render(result: Transcript | Alignment, style: Format, name: str = "") -> str:
    """Return the whole content of a file in a format; `name` replaces the recording's own name in tables."""
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
