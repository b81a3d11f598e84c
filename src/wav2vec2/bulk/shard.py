"""A file of results: the rows of one task, with a note of what they were computed from.

A file appears whole, when it is on the disk; one that is there is therefore finished. Its metadata hold the key of its
task, so that results of another model, other options or another manifest are never taken for these.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from wav2vec2.audio.recordings import Failure
from wav2vec2.bulk.job import Row, Worker
from wav2vec2.data.manifest_files import open_parquet
from wav2vec2.data.utterance import Utterance
from wav2vec2.data.whole_files import WholeFiles
from wav2vec2.errors import UserError
from wav2vec2.input_file import parse_json

NOTE = "wav2vec2"
"""Key of the note in the metadata of the Parquet file; its value is JSON."""
_BYTES_PER_GROUP = 64 << 20
_ROWS_PER_GROUP = 10_000


@dataclass(frozen=True)
class Note:
    """What a file of results says about itself.

    key: of its task. work: of all tasks of the same work. rows, failed: how many rows it has, and how many of them
    could not be computed. about: the command, the model, the options, and what a reader of the columns needs to know.
    """

    key: str
    work: str
    rows: int = 0
    failed: int = 0
    about: Mapping[str, Any] | None = None


def write_shard(
    folder: WholeFiles, name: str, worker: Worker, rows: Iterable[Utterance], ids: Iterable[str], note: Note
) -> Note:
    """Compute the results of `rows`, whose ids are `ids`, and write them; returns the note with what was counted.

    A group of rows at a time is held in memory. Raises UserError if the file cannot be written.
    """
    columns = worker.columns
    schema = pa.schema([pa.field("id", pa.string(), nullable=False), *columns, pa.field("error", pa.string())])
    arrays = any(pa.types.is_large_list(column.type) for column in columns)  # noise to a compressor
    how: dict[str, Any] = {"use_dictionary": False, "write_statistics": False} if arrays else {"compression": "zstd"}
    failed = written = 0
    with (
        folder.writing(name) as temporary,
        pq.ParquetWriter(temporary, schema, write_page_checksum=True, **how) as writer,
    ):
        for group in _groups(rows, ids, worker):
            failed += sum(row["error"] is not None for row in group)
            written += len(group)
            arrows = [pa.array([row.get(field.name) for row in group], type=field.type) for field in schema]
            writer.write_batch(pa.record_batch(arrows, schema=schema))
        about = {**(note.about or {}), **worker.facts}
        done = Note(note.key, note.work, written, failed, about)
        writer.add_key_value_metadata({NOTE: json.dumps(done.__dict__, ensure_ascii=False)})
    return done


def read_note(folder: WholeFiles, name: str) -> Note | None:
    """What a file of results says about itself; None if it is damaged or is no file of results."""
    try:
        note = Note(**parse_json(open_parquet(folder.path(name)).metadata.metadata[NOTE.encode()]))
    except (UserError, KeyError, TypeError, ValueError):
        return None
    counts = all(type(count) is int and count >= 0 for count in (note.rows, note.failed))
    return note if counts and isinstance(note.key, str) and isinstance(note.work, str) else None


def _groups(rows: Iterable[Utterance], ids: Iterable[str], worker: Worker) -> Iterator[Sequence[Row]]:
    group: list[Row] = []
    size = 0
    for identity, result in zip(ids, worker.rows(rows), strict=True):
        values = {"error": result.message} if isinstance(result, Failure) else {"error": None, **result}
        group.append({"id": identity, **values})
        size += sum(value.nbytes for value in values.values() if isinstance(value, np.ndarray))
        if size > _BYTES_PER_GROUP or len(group) == _ROWS_PER_GROUP:
            yield group
            group, size = [], 0
    if group:
        yield group
