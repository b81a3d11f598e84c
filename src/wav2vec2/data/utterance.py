"""One row of a manifest, the Arrow schema of its columns, and writing rows to a Parquet file."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from wav2vec2.output_file import writing

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("start", pa.int64(), nullable=False),
        pa.field("samples", pa.int64(), nullable=False),
        pa.field("sample_rate", pa.int32(), nullable=False),
        pa.field("text", pa.string()),
        pa.field("speaker", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("language", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
    ]
)
ROWS_PER_GROUP = 65_536


@dataclass(frozen=True)
class Utterance:
    """One row of a manifest. `speaker`, `split`, `language` and `source` may be empty."""

    id: str
    path: str
    """A file, or an fsspec URL."""
    offset: int = -1
    """If `path` is a tar shard, the position of the recording's first byte in it; else -1."""
    size: int = -1
    """If `path` is a tar shard, the number of the recording's bytes; else -1."""
    start: int = 0
    """First sample of the utterance within its recording, at 16 kHz."""
    samples: int = -1
    """Length of the utterance at 16 kHz; -1, before the recording is examined, means up to its end."""
    sample_rate: int = 0
    """Sampling rate of the file itself, in Hz."""
    text: str | None = None
    """Transcript; None for unlabelled speech."""
    speaker: str = ""
    split: str = ""
    language: str = ""
    source: str = ""


@dataclass(frozen=True)
class Rejection:
    """A recording or transcript that is left out of a manifest."""

    id: str
    path: str
    reason: str
    """A short label under which rejections are counted."""
    message: str
    """One line for the user."""


COLUMNS = tuple(field.name for field in fields(Utterance))


def write_manifest(rows: Iterable[Utterance], path: str | Path) -> Path:
    """Write utterances to a Parquet file; a failed write leaves the old file as it was.

    Rows may come from a generator: one row group is held in memory at a time.

    Raises:
        UserError: the file cannot be written (disk full, no permission).
    """
    return write_batches(record_batches(rows), path)


def write_batches(batches: Iterable[pa.RecordBatch], path: str | Path, metadata: dict[str, str] | None = None) -> Path:
    """Write record batches of the manifest's schema to a Parquet file, as `write_manifest` does.

    Raises:
        UserError: the file cannot be written.
    """
    with writing(path) as temporary, pq.ParquetWriter(temporary, SCHEMA.with_metadata(metadata)) as writer:
        for batch in batches:
            writer.write_batch(batch.cast(SCHEMA) if batch.schema != SCHEMA else batch)
    return Path(path)


def record_batch(rows: Sequence[Utterance]) -> pa.RecordBatch:
    """Convert utterances to one Arrow record batch."""
    columns = [pa.array([getattr(row, field.name) for row in rows], type=field.type) for field in SCHEMA]
    return pa.record_batch(columns, schema=SCHEMA)


def record_batches(rows: Iterable[Utterance]) -> Iterator[pa.RecordBatch]:
    """Convert utterances to Arrow record batches of `ROWS_PER_GROUP` rows, one at a time."""
    pending: list[Utterance] = []
    for row in rows:
        pending.append(row)
        if len(pending) == ROWS_PER_GROUP:
            yield record_batch(pending)
            pending = []
    if pending:
        yield record_batch(pending)
