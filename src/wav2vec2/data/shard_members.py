"""The members of a shard: a recording as it is, or its segments as files of their own, with what is known of them."""

import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from wav2vec2.audio.container import container_of
from wav2vec2.audio.encoded_file import Source
from wav2vec2.audio.read import SAMPLE_RATE, read_audio
from wav2vec2.audio.recordings import Waveform
from wav2vec2.data.byte_range import read_bytes
from wav2vec2.data.remote import is_remote
from wav2vec2.data.utterance import Utterance

_TAR_BLOCK = 512
_FULL_SCALE = 32_768.0
_DESCRIBED = ("id", "start", "samples", "sample_rate", "text", "speaker", "split", "language", "source")


def add_recording(shard: tarfile.TarFile, rows: Sequence[Utterance]) -> list[Utterance]:
    """Add the encoded bytes of one recording with the .json and .txt of its segments.

    Returns the rows with the place of the bytes in the shard, their path unchanged.

    Raises:
        AudioError: it cannot be read.
    """
    row = rows[0]
    encoded = read_bytes(row.path, row.offset, row.size)
    suffix = container_of(encoded[:64]) or Path(row.path).suffix.lstrip(".").lower() or "audio"
    offset = add_member(shard, f"{_key(row)}.{suffix}", encoded)
    segments = [_described(segment) for segment in rows]
    _describe(shard, row, segments[0] if len(segments) == 1 else {"id": row.id, "segments": segments}, len(rows) == 1)
    return [replace(segment, offset=offset, size=len(encoded)) for segment in rows]


def add_segments(shard: tarfile.TarFile, rows: Sequence[Utterance]) -> list[Utterance]:
    """Add each segment of one recording as a FLAC file of its own: mono, 16 kHz, 16 bits.

    The samples are those of the recording, exactly where that has 16 bits, one channel and 16 kHz. Returns the rows
    with their place in the shard, their path unchanged.

    Raises:
        AudioError: the recording cannot be read, or is shorter than a segment says; nothing is added.
    """
    first = rows[0]
    inside = first.offset >= 0 or is_remote(first.path)
    source: Source = read_bytes(first.path, first.offset, first.size) if inside else first.path
    encoded = [
        _flac(read_audio(source, start=row.start, samples=None if row.samples < 0 else row.samples)) for row in rows
    ]
    placed = []
    for row, content in zip(rows, encoded, strict=True):
        offset = add_member(shard, f"{_key(row)}.flac", content)
        placed.append(replace(row, start=0, sample_rate=SAMPLE_RATE, offset=offset, size=len(content)))
        _describe(shard, row, _described(placed[-1]), labelled=True)
    return placed


def add_member(shard: tarfile.TarFile, name: str, content: bytes) -> int:
    """Append a file to an archive; returns the offset of its first byte in it."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    member.mode = 0o644
    shard.addfile(member, io.BytesIO(content))
    return shard.offset - -(-len(content) // _TAR_BLOCK) * _TAR_BLOCK


def _describe(shard: tarfile.TarFile, row: Utterance, described: dict[str, Any], labelled: bool) -> None:
    add_member(shard, f"{_key(row)}.json", json.dumps(described, ensure_ascii=False).encode())
    if labelled and row.text is not None:
        add_member(shard, f"{_key(row)}.txt", row.text.encode())


def _described(row: Utterance) -> dict[str, Any]:
    return {name: value for name, value in asdict(row).items() if name in _DESCRIBED}


def _key(row: Utterance) -> str:
    return row.id.replace(".", "_")  # to WebDataset, the key ends at the first dot


def _flac(waveform: Waveform) -> bytes:
    # Rounded here: libsndfile scales by 32767 when it writes and by 32768 when it reads.
    whole = np.clip(np.rint(waveform * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE - 1).astype(np.int16)
    file = io.BytesIO()
    soundfile.write(file, whole, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return file.getvalue()
