"""Examining recordings: each is decoded and either becomes rows of the manifest or is rejected with a reason.

This runs in the worker processes of `prepare`, a chunk of files at a time. The result of a chunk is a small Parquet
file in the journal, written in one step: after an interruption, a chunk that has its file is not decoded again.
"""

import hashlib
import json
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from wav2vec2.audio.decoders import container_of
from wav2vec2.audio.pauses import (
    Detector,
    Segmentation,
    frame_energies,
    load_silero,
    pause_segments,
    speech_by_energy,
    speech_by_silero,
)
from wav2vec2.audio.read import SAMPLE_RATE, AudioError, AudioInfo, Source, audio_info, read_audio
from wav2vec2.data.utterance import Rejection, Utterance, record_batch, write_batches
from wav2vec2.data.waveforms import read_bytes

SILENT_PEAK = 1e-4
"""A recording whose loudest sample is below this (-80 dB, three steps of 16 bits) is silent."""

# Longer recordings are decoded in blocks, so that memory does not grow with their length. A whole number of frames.
_BLOCK = 300 * SAMPLE_RATE
_UNWRITABLE = frozenset({"Cc", "Cs", "Co", "Cn"})
_SAME_CONTAINER = (
    {"ogg", "oga", "opus"},
    {"m4a", "m4b", "mp4", "mov", "3gp"},
    {"aiff", "aif", "aifc"},
    {"webm", "mkv", "mka"},
    {"wav", "rf64"},
)


@dataclass(frozen=True)
class Rules:
    """Which recordings are accepted, and how they are split and cut: options of `prepare`; all times in seconds."""

    valid_percent: float = 1.0
    min_seconds: float = 0.1
    max_seconds: float | None = None
    segmentation: Segmentation | None = None
    detector: Detector = "energy"
    alphabet: str | None = None
    check: Literal["decode", "header"] = "decode"


@dataclass
class Findings:
    """The result of examining some recordings."""

    rows: list[Utterance] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)
    notes: list[Rejection] = field(default_factory=list)
    """Recordings that were accepted although something about them is odd."""
    samples: int = 0
    """Samples decoded, at 16 kHz."""


def examine_chunk(chunk: Sequence[Utterance], rules: Rules, journal: Path) -> int:
    """Examine recordings and write the findings to the file `journal`; returns the number of samples decoded.

    Raises:
        UserError: the journal cannot be written.
    """
    found = Findings()
    silero = load_silero() if rules.segmentation and rules.detector == "silero" else None
    for recording in chunk:
        try:
            if (odd := _unwritable(recording)) is not None:
                found.rejected.append(odd)
                continue
            _examine(recording, rules, silero, found)
        except AudioError as error:
            found.rejected.append(Rejection(recording.id, recording.path, error.reason, str(error)))
        except Exception as error:
            # One strange file must not stop the preparation of a million others.
            message = f"{recording.path}: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
            found.rejected.append(Rejection(recording.id, recording.path, "unreadable", message))
    metadata = {
        "rejected": json.dumps([asdict(rejection) for rejection in found.rejected]),
        "notes": json.dumps([asdict(note) for note in found.notes]),
        "samples": str(found.samples),
    }
    write_batches([record_batch(found.rows)] if found.rows else [], journal, metadata)
    return found.samples


def _unwritable(recording: Utterance) -> Rejection | None:
    """Return a rejection if a name or text is not valid Unicode, which Parquet cannot store; None otherwise."""
    identity, path = (value.encode(errors="backslashreplace").decode() for value in (recording.id, recording.path))
    for value in asdict(recording).values():
        if isinstance(value, str) and not _is_unicode(value):
            return Rejection(
                identity, path, "not UTF-8", f"{path}: its name or transcript is not UTF-8: rename or convert it"
            )
    return None


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def speaker_fraction(speaker: str) -> float:
    """Map a speaker's name to a number in [0, 1) by a hash, so that all parts and machines agree on splits."""
    digest = hashlib.blake2b(speaker.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2.0**64


def _examine(recording: Utterance, rules: Rules, silero: Any, found: Findings) -> None:
    text = _checked_text(recording, rules.alphabet)
    source = _source(recording)
    info = audio_info(source)
    whole = info.samples - recording.start if recording.samples < 0 else recording.samples
    long = rules.segmentation is not None and text is None and whole > rules.segmentation.longest * SAMPLE_RATE
    samples, speech, energies = _decode(recording, source, whole, rules, silero, segmented=long)
    found.samples += samples
    row = replace(
        recording,
        samples=samples,
        sample_rate=info.sample_rate,
        text=text,
        split=recording.split or _split(recording, rules.valid_percent),
    )
    pieces = [(0, samples)]
    if long and rules.segmentation is not None:
        pieces = pause_segments(speech, energies, samples, rules.segmentation)
        if not pieces:
            raise AudioError(f"{recording.path}: holds no speech: remove it, or try --vad silero", "no speech")
    rows = [_piece(row, start, length) if long else row for start, length in pieces]
    kept = [piece for piece in rows if _length_problem(piece, rules) is None]
    if not kept:
        reason, message = _length_problem(rows[0], rules) or ("", "")
        raise AudioError(f"{recording.path}: {message}", reason)
    found.rows += kept
    if note := _extension_note(recording, source, info):
        found.notes.append(Rejection(recording.id, recording.path, "wrong extension", note))


def _checked_text(recording: Utterance, alphabet: str | None) -> str | None:
    """Return the transcript in NFC with single spaces. Raises AudioError if it is empty or has unknown characters."""
    if recording.text is None:
        return None
    text = " ".join(unicodedata.normalize("NFC", recording.text).split())
    if not text:
        raise AudioError(f"{recording.path}: has an empty transcript: fill it in, or remove the file", "no words")
    if alphabet is None:
        unknown = {char for char in text if char == "\ufffd" or unicodedata.category(char) in _UNWRITABLE}
    else:
        unknown = set(text) - set(unicodedata.normalize("NFC", alphabet)) - {" "}
    if unknown:
        shown = " ".join(f"{char!r} (U+{ord(char):04X})" for char in sorted(unknown)[:5])
        raise AudioError(f"{recording.path}: has unknown characters in its transcript: {shown}", "unknown characters")
    return text


def _source(recording: Utterance) -> Source:
    if recording.size >= 0 or "://" in recording.path:
        return read_bytes(recording.path, recording.offset, recording.size)
    return recording.path


def _decode(
    recording: Utterance, source: Source, whole: int, rules: Rules, silero: Any, *, segmented: bool
) -> tuple[int, np.ndarray, np.ndarray]:
    """Decode and check a recording; returns its length and, if `segmented`, its speech frames and their energies."""
    peak, samples = 0.0, 0
    energies: list[np.ndarray] = []
    speech: list[np.ndarray] = []
    for waveform in _blocks(recording, source, whole, header=rules.check == "header" and not segmented):
        samples += len(waveform)
        peak = max(peak, float(np.abs(waveform).max()))
        if segmented:
            energies.append(frame_energies(waveform))
            if silero is not None:
                speech.append(speech_by_silero(waveform, silero))
    if peak < SILENT_PEAK:
        raise AudioError(f"{recording.path}: is silent (peak {peak:.1e}): remove it, or record it again", "silent")
    if not segmented:
        return (whole if rules.check == "header" else samples), np.zeros(0, bool), np.zeros(0, np.float32)
    every = np.concatenate(energies)
    return samples, np.concatenate(speech) if speech else speech_by_energy(every), every


def _blocks(recording: Utterance, source: Source, whole: int, *, header: bool) -> Iterator[np.ndarray]:
    """Yield a recording's samples in blocks; if `header`, only a second at its beginning and one in the middle."""
    if header and whole > 2 * SAMPLE_RATE:
        for start in (0, whole // 2):
            yield read_audio(source, start=recording.start + start, samples=SAMPLE_RATE)
    elif whole <= _BLOCK:
        yield read_audio(source, start=recording.start, samples=None if recording.samples < 0 else whole)
    else:
        for start in range(0, whole, _BLOCK):
            yield read_audio(source, start=recording.start + start, samples=min(_BLOCK, whole - start))


def _split(recording: Utterance, valid_percent: float) -> str:
    # Without a known speaker, each recording counts as a speaker of its own.
    return "valid" if speaker_fraction(recording.speaker or recording.id) * 100 < valid_percent else "train"


def _piece(row: Utterance, start: int, samples: int) -> Utterance:
    return replace(row, id=f"{row.id}-{start}-{start + samples}", start=row.start + start, samples=samples)


def _length_problem(row: Utterance, rules: Rules) -> tuple[str, str] | None:
    seconds = row.samples / SAMPLE_RATE
    if seconds < rules.min_seconds:
        return "too short", f"lasts {seconds:.2f} s, less than --min-seconds {rules.min_seconds:g}"
    if rules.max_seconds is not None and seconds > rules.max_seconds:
        advice = "" if row.text is not None else " (--segment cuts long recordings)"
        return "too long", f"lasts {seconds:.2f} s, more than --max-seconds {rules.max_seconds:g}{advice}"
    return None


def _extension_note(recording: Utterance, source: Source, info: AudioInfo) -> str | None:
    if isinstance(source, bytes):
        return None
    with open(source, "rb") as file:
        container = container_of(file.read(64))
    suffix = Path(source).suffix.lower().lstrip(".")
    if container is None or suffix == container or any({container, suffix} <= same for same in _SAME_CONTAINER):
        return None
    return f"{recording.path}: ends in '.{suffix}' but contains {container} ({info.container})"
