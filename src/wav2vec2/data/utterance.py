"""One row of a manifest, its Arrow schema, and writing such rows to Parquet: whole or not at all."""

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
    """One row of a manifest.

    `start` and `samples` are counted at 16 kHz and cut the utterance out of its file; `sample_rate` is the file's own,
    in Hz. `offset` and `size` are the file's byte range inside `path` when that is a tar shard, else -1. `text` is None
    for unlabelled speech. `speaker`, `split`, `language` and `source` may be empty.
    """

    id: str
    path: str
    offset: int = -1
    size: int = -1
    start: int = 0
    samples: int = -1
    sample_rate: int = 0
    text: str | None = None
    speaker: str = ""
    split: str = ""
    language: str = ""
    source: str = ""


@dataclass(frozen=True)
class Rejection:
    """A file (or transcript) that does not enter the manifest: `reason` is counted, `message` is one line."""

    id: str
    path: str
    reason: str
    message: str


COLUMNS = tuple(field.name for field in fields(Utterance))


def write_manifest(rows: Iterable[Utterance], path: str | Path) -> Path:
    """Write utterances to a Parquet file, whole or not at all. Rows may be a generator; a row group is held at a time.

    Raises:
        UserError: when it cannot be written (disk full, no permission).
    """
    return write_batches(_record_batches(rows), path)


def write_batches(batches: Iterable[pa.RecordBatch], path: str | Path, metadata: dict[str, str] | None = None) -> Path:
    """Write record batches of the manifest's schema to a Parquet file, whole or not at all.

    Raises:
        UserError: when it cannot be written.
    """
    with writing(path) as temporary, pq.ParquetWriter(temporary, SCHEMA.with_metadata(metadata)) as writer:
        for batch in batches:
            writer.write_batch(batch.cast(SCHEMA) if batch.schema != SCHEMA else batch)
    return Path(path)


def record_batch(rows: Sequence[Utterance]) -> pa.RecordBatch:
    """Utterances as one Arrow record batch."""
    columns = [pa.array([getattr(row, field.name) for row in rows], type=field.type) for field in SCHEMA]
    return pa.record_batch(columns, schema=SCHEMA)


def _record_batches(rows: Iterable[Utterance]) -> Iterator[pa.RecordBatch]:
    pending: list[Utterance] = []
    for row in rows:
        pending.append(row)
        if len(pending) == ROWS_PER_GROUP:
            yield record_batch(pending)
            pending = []
    if pending:
        yield record_batch(pending)
