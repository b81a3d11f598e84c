"""Reading results back: the files of a folder as one table, in the order of the manifest."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from wav2vec2.bulk.shard import Note, read_note
from wav2vec2.data.manifest_files import open_parquet
from wav2vec2.data.remote import address
from wav2vec2.data.whole_files import WholeFiles
from wav2vec2.errors import UserError, cause

_NAME = re.compile(r"results-(\d+)-of-(\d+)\.parquet")
_ROWS = 1024


@dataclass(frozen=True)
class Results:
    """The results of a finished work, which are read when they are asked for.

    about: the command, the model and the options that they were computed with, and facts about the columns.
    """

    files: tuple[str, ...]
    rows: int
    failed: int
    about: dict[str, Any]

    def __len__(self) -> int:
        return self.rows

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield rows as dictionaries; arrays are lists. A group of rows at a time is held in memory."""
        for batch in self.batches():
            yield from batch.to_pylist()

    def batches(self, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield rows as Arrow record batches of at most 1,024, with all columns or some. Raises UserError."""
        for name in self.files:
            try:
                yield from open_parquet(name).iter_batches(batch_size=_ROWS, columns=columns)
            except (pa.ArrowException, OSError) as error:
                remedy = "remove it and run the same command again"
                raise UserError(f"{name}: cannot be read ({cause(error)}): {remedy}") from None

    def table(self, columns: list[str] | None = None) -> pa.Table:
        """Return all rows as one Arrow table, with all columns or some. Raises UserError."""
        return pa.Table.from_batches(self.batches(columns))


def read_results(folder: str | Path) -> Results:
    """Open the results that a command with a manifest wrote to `folder`, a path or a URL.

    Raises UserError if there are none, if tasks are missing, or if they are of different works.
    """
    files = WholeFiles(address(folder))
    found = {name: match for name in files.names() if (match := _NAME.fullmatch(name))}
    if not found:
        raise UserError(f"{folder}: holds no results: name the --out of a command over a manifest")
    counts = {int(match[2]) for match in found.values()}
    there = {int(match[1]) for match in found.values()}
    if len(counts) > 1:
        raise UserError(f"{folder}: holds results of different works: keep the files of one only")
    if missing := sorted(set(range(1, max(counts) + 1)) - there):
        raise UserError(
            f"{folder}: {len(missing)} of {max(counts)} tasks are missing, the first is number {missing[0]}: "
            "run the same command again; it goes on"
        )
    names = sorted(found)
    notes = [(name, read_note(files, name)) for name in names]
    good: list[Note] = []
    for name, note in notes:
        if note is None:
            raise UserError(f"{files.path(name)}: is damaged: run the same command again; it computes this file anew")
        good.append(note)
    if len({note.work for note in good}) > 1:
        raise UserError(f"{folder}: holds results of different works: keep the files of one only")
    return Results(
        tuple(map(files.path, names)),
        sum(note.rows for note in good),
        sum(note.failed for note in good),
        dict(good[0].about or {}),
    )
