"""Examining recordings: each is decoded and either becomes rows of the manifest or is rejected with a reason.

This runs in the worker processes of `prepare`, a chunk of files at a time. The result of a chunk is a small Parquet
file in the journal, written in one step: after an interruption, a chunk that has its file is not decoded again.
"""

import hashlib
import json
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from io import FileIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from wav2vec2.audio.container import container_of
from wav2vec2.audio.encoded_file import AudioError
from wav2vec2.audio.read import SAMPLE_RATE, AudioInfo
from wav2vec2.audio.silero import load_silero
from wav2vec2.data.prepare.decode import Rules, decode
from wav2vec2.data.utterance import Rejection, Utterance, record_batch, write_batches
from wav2vec2.output_file import write_error

WRONG_SUFFIX = "the format is not that of the suffix"
"""The reason of a note about a file with a misleading name."""

_BEGUN = ".begun"
_UNWRITABLE = frozenset({"Cc", "Cs", "Co", "Cn"})
_SAME_CONTAINER = (
    {"ogg", "oga", "opus"},
    {"m4a", "m4b", "mp4", "mov", "3gp"},
    {"aiff", "aif", "aifc"},
    {"webm", "mkv", "mka"},
    {"wav", "rf64"},
)


@dataclass
class Findings:
    """The result of examining some recordings."""

    rows: list[Utterance] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)
    notes: list[Rejection] = field(default_factory=list)
    """Recordings that were accepted although something about them is odd."""
    samples: int = 0
    """Samples decoded, at 16 kHz."""

    def add(self, other: "Findings") -> None:
        """Append the findings of more recordings."""
        self.rows += other.rows
        self.rejected += other.rejected
        self.notes += other.notes
        self.samples += other.samples


@dataclass(frozen=True)
class Chunk:
    """Recordings that are examined together, and the journal file for the findings.

    keys: a hash for each recording of everything that its findings depend on; 0: whether it changes cannot be known.
    known: findings of an earlier run, by the place of the recording in the chunk.
    """

    recordings: tuple[Utterance, ...]
    journal: Path
    rules: Rules
    keys: tuple[int, ...] = ()
    known: Mapping[int, Findings] = field(default_factory=dict)


def examine_chunk(chunk: Chunk, deadly: frozenset[int] = frozenset()) -> int:
    """Examine recordings and write the findings to the chunk's journal; returns the number of samples decoded.

    The recordings whose places are `deadly` are rejected: they have made a process die. While one is examined, its
    place stands in a note beside the journal (`begun_recording`). What is known already is not examined.

    Raises:
        UserError: the journal cannot be written.
    """
    found = Findings()
    kept: list[tuple[int, int, int]] = []
    rules, new = chunk.rules, len(chunk.known) < len(chunk.recordings)
    silero = load_silero() if new and rules.segmentation and rules.detector == "silero" else None
    with _note_beside(chunk.journal) as note:
        for place, recording in enumerate(chunk.recordings):
            if (one := chunk.known.get(place)) is None:
                note.seek(0)
                note.write(b"%8d" % place)
                one = Findings()
                if place in deadly:
                    one.rejected.append(_deadly(recording))
                else:
                    _examine_safely(recording, rules, silero, one)
            found.add(one)
            key = chunk.keys[place] if chunk.keys and not one.rejected else 0
            kept.append((key, len(one.rows), len(one.notes)))
    metadata = {
        "rejected": json.dumps([asdict(rejection) for rejection in found.rejected]),
        "notes": json.dumps([asdict(note) for note in found.notes]),
        "samples": str(found.samples),
        "kept": json.dumps(kept),
    }
    write_batches([record_batch(found.rows)] if found.rows else [], chunk.journal, metadata)
    return found.samples


def read_journal(journal: Path) -> tuple[pa.RecordBatch | None, dict[str, str]]:
    """Read a chunk's rows (None if it has none) and its metadata: rejected, notes and kept (as JSON), samples.

    kept: for each recording, its key (0: it is to be examined again) and how many rows and notes are of it.
    """
    table = pq.read_table(journal)
    metadata = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    batches = table.replace_schema_metadata(None).combine_chunks().to_batches()
    return (batches[0] if batches and batches[0].num_rows else None), metadata


def begun_recording(journal: Path) -> int | None:
    """Return the place in its chunk of the recording at which a process died; None if none did."""
    try:
        return int(journal.with_suffix(_BEGUN).read_bytes())
    except (OSError, ValueError):
        return None


@contextmanager
def _note_beside(journal: Path) -> Iterator[FileIO]:
    """A file that is there while this process examines a chunk, and afterwards only if the process died."""
    path = journal.with_suffix(_BEGUN)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        note = FileIO(path, "w")
    except OSError as error:
        raise write_error(journal, error) from None
    try:
        with note:
            yield note
    finally:
        path.unlink(missing_ok=True)


def _deadly(recording: Utterance) -> Rejection:
    problem = "makes the process that decodes it die: convert it to WAV or FLAC, or remove it"
    return Rejection(recording.id, recording.path, "crashes the decoder", f"{recording.path}: {problem}")


def _examine_safely(recording: Utterance, rules: Rules, silero: Any, found: Findings) -> None:
    """Examine a recording; whatever is wrong with it becomes a rejection."""
    if (odd := _unwritable(recording)) is not None:
        found.rejected.append(odd)
        return
    try:
        _examine(recording, rules, silero, found)
    except AudioError as error:
        found.rejected.append(Rejection(recording.id, recording.path, error.reason, str(error)))
    except Exception as error:
        # One strange file must not stop the preparation of a million others.
        message = f"{recording.path}: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
        found.rejected.append(Rejection(recording.id, recording.path, "unreadable", message))


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
    decoded = decode(recording, rules, silero, segmentation=rules.segmentation if text is None else None)
    found.samples += decoded.samples
    row = replace(
        recording,
        samples=decoded.samples,
        sample_rate=decoded.info.sample_rate,
        text=text,
        split=recording.split or _split(recording, rules.valid_percent),
    )
    pieces = [(0, decoded.samples)]
    if decoded.long and rules.segmentation is not None:
        pieces = decoded.pauses(rules.segmentation)
        if not pieces:
            raise AudioError(f"{recording.path}: holds no speech: remove it, or try --vad silero", "no speech")
    rows = [_piece(row, start, length) if decoded.long else row for start, length in pieces]
    kept = [piece for piece in rows if _length_problem(piece, rules) is None]
    if not kept:
        reason, message = _length_problem(rows[0], rules) or ("", "")
        raise AudioError(f"{recording.path}: {message}", reason)
    found.rows += kept
    if note := _extension_note(recording, decoded.info):
        found.notes.append(Rejection(recording.id, recording.path, WRONG_SUFFIX, note))
    if decoded.info.warning:
        found.notes.append(Rejection(recording.id, recording.path, "cut short or damaged", decoded.info.warning))


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
        remedy = (
            "save the text as UTF-8" if "\ufffd" in unknown else "correct it" if alphabet is None else "see --alphabet"
        )
        problem = f"has unknown characters in its transcript: {shown}: {remedy}"
        raise AudioError(f"{recording.path}: {problem}", "unknown characters")
    return text


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


def _extension_note(recording: Utterance, info: AudioInfo) -> str | None:
    if recording.size >= 0 or "://" in recording.path:
        return None
    with open(recording.path, "rb") as file:
        container = container_of(file.read(64))
    suffix = Path(recording.path).suffix.lower().lstrip(".")
    if container is None or suffix == container or any({container, suffix} <= same for same in _SAME_CONTAINER):
        return None
    return f"{recording.path}: ends in '.{suffix}' but contains {container} ({info.container})"
