"""The manifest: a Parquet file with one row per utterance, held as Arrow data, so that it may have millions of rows.

A large manifest is unpacked once into an Arrow file in the user's cache folder and memory-mapped from there: all
processes of a machine share one copy in the page cache.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from wav2vec2.data.manifest_cache import arrow_file, mapped_batches
from wav2vec2.data.manifest_files import manifest_files, read_batches
from wav2vec2.data.utterance import COLUMNS, ROWS_PER_GROUP, SCHEMA, Utterance
from wav2vec2.errors import UserError


class Manifest:
    """A read-only sequence of utterances; a row becomes an `Utterance` object only when it is asked for."""

    def __init__(
        self,
        batches: Sequence[pa.RecordBatch],
        rows: np.ndarray | None = None,
        name: str = "manifest",
        mapped: str | None = None,
    ) -> None:
        """Make a manifest of Arrow data in memory; `Manifest.open` reads one from disk.

        Args:
            batches: the data.
            rows: indices into the concatenated batches, in the order wanted; None takes all rows.
            name: the name of the manifest in messages.
            mapped: the Arrow file that the batches are memory-mapped from, if any.
        """
        self._map = mapped
        self._batches = [batch for batch in batches if batch.num_rows]
        self._ends = np.cumsum([batch.num_rows for batch in self._batches], dtype=np.int64)
        self._rows = rows
        self.name = name

    @classmethod
    def open(cls, path: str | Path, split: str | None = None) -> "Manifest":
        """Open a Parquet or Arrow file, a folder of Parquet files (the parts of `prepare --part`), or a pattern.

        Args:
            path: the file, folder or pattern, on a disk or as a URL; several are joined by "+". Relative audio paths in
                a file are relative to its folder.
            split: keep only the rows of this split, or of several: "dev+test".

        Raises:
            UserError: nothing is there, a part is missing, a file is not a manifest, or a split has no rows.
        """
        files = manifest_files(path)
        mapped = arrow_file(files)
        manifest = cls(mapped_batches(mapped) if mapped else list(read_batches(files)), None, str(path), mapped)
        return manifest if split is None else manifest.with_split(split)

    def __getstate__(self) -> dict[str, Any]:
        # A worker process maps the same file again, instead of receiving gigabytes through a pipe.
        return self.__dict__ | ({"_batches": []} if self._map else {})

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self._map:
            self._batches = mapped_batches(self._map)

    def __len__(self) -> int:
        if self._rows is not None:
            return len(self._rows)
        return int(self._ends[-1]) if len(self._ends) else 0

    def __iter__(self) -> Iterator[Utterance]:
        return (self.utterance(index) for index in range(len(self)))

    def utterance(self, index: int) -> Utterance:
        """Row `index`; a negative index counts from the end. Raises IndexError outside the manifest."""
        batch, inside = self._place(index)
        return Utterance(**{name: batch.column(name)[inside].as_py() for name in COLUMNS})

    def path(self, index: int) -> str:
        """The path of row `index`, without the rest of it."""
        batch, inside = self._place(index)
        return str(batch.column("path")[inside])

    def _place(self, index: int) -> tuple[pa.RecordBatch, int]:
        position = index + len(self) if index < 0 else index
        if not 0 <= position < len(self):
            raise IndexError(f"row {index} of a manifest of {len(self)}")
        row = position if self._rows is None else int(self._rows[position])
        number = int(np.searchsorted(self._ends, row, side="right"))
        batch = self._batches[number]
        return batch, row - (int(self._ends[number]) - batch.num_rows)

    @cached_property
    def samples(self) -> np.ndarray:
        """Lengths in samples at 16 kHz, int64 (rows,)."""
        lengths = [batch.column("samples").to_numpy(zero_copy_only=False) for batch in self._batches]
        every = np.concatenate(lengths) if lengths else np.zeros(0, np.int64)
        return every if self._rows is None else every[self._rows]

    @property
    def identity(self) -> str | None:
        """A text that stands for these rows, if they are mapped from a file; None if they are only in memory."""
        if self._map is None:
            return None
        status = os.stat(self._map)
        rows = "" if self._rows is None else hashlib.sha256(np.ascontiguousarray(self._rows).data).hexdigest()
        return f"{self._map} {status.st_size} {status.st_mtime_ns} {rows}"

    @property
    def ids(self) -> list[str]:
        """All ids as Python strings; with millions of rows use `column("id")`."""
        identities: list[str] = self.column("id").to_pylist()
        return identities

    def column(self, name: str) -> pa.ChunkedArray:
        """One column as an Arrow array, in row order, without Python objects."""
        whole = pa.chunked_array([batch.column(name) for batch in self._batches], type=SCHEMA.field(name).type)
        return whole if self._rows is None else whole.take(pa.array(self._rows))

    def column_pieces(self, name: str) -> Iterator[pa.Array]:
        """One column as arrays of bounded size, in row order; unlike `column`, it copies no more than a piece."""
        if self._rows is None:
            yield from (batch.column(name) for batch in self._batches)
            return
        numbers = np.searchsorted(self._ends, self._rows, side="right")
        changes = np.flatnonzero(np.diff(numbers)) + 1
        if len(changes) > 2 * len(self._batches):  # rows in no order
            yield from self.column(name).chunks
            return
        for rows in np.split(self._rows, changes) if len(self._rows) else []:
            number = int(np.searchsorted(self._ends, rows[0], side="right"))
            batch = self._batches[number]
            yield batch.column(name).take(pa.array(rows - (int(self._ends[number]) - batch.num_rows)))

    def select(self, indices: Sequence[int] | np.ndarray) -> "Manifest":
        """The rows at `indices`, in that order; the data are shared, not copied."""
        chosen = np.asarray(indices, dtype=np.int64)
        return Manifest(self._batches, chosen if self._rows is None else self._rows[chosen], self.name, self._map)

    def with_split(self, split: str) -> "Manifest":
        """The rows of one split, or of several joined by "+". Raises UserError if one of them has no rows."""
        column = self.column("split")
        names = [name.strip() for name in split.split("+")]
        known = [str(name) for name in pc.unique(column).to_pylist()]
        for name in names:
            if name not in known:
                there = ", ".join(sorted(known)) or "none"
                raise UserError(f"{self.name}: has no split '{name}': choose among {there}")
        return self.select(np.flatnonzero(pc.is_in(column, value_set=pa.array(names)).to_numpy(zero_copy_only=False)))

    def with_ids(self, ids: set[str]) -> "Manifest":
        """The rows whose id is in `ids`, in the manifest's order. Raises UserError if an id is missing."""
        column = self.column("id")
        wanted = pa.array(sorted(ids), type=pa.string())
        found = np.flatnonzero(pc.is_in(column, value_set=wanted).to_numpy(zero_copy_only=False))
        if len(found) < len(ids):
            present = set(column.take(pa.array(found)).to_pylist())
            missing = sorted(ids - present)
            if missing:
                problem = f"lacks {len(missing)} of the {len(ids)} ids asked for, such as '{missing[0]}'"
                raise UserError(f"{self.name}: {problem}: remove them from the list or prepare those files")
        return self.select(found)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows as Arrow record batches of bounded size."""
        if self._rows is None:
            yield from self._batches
            return
        table = pa.Table.from_batches(self._batches, SCHEMA)
        for first in range(0, len(self._rows), ROWS_PER_GROUP):
            yield from table.take(pa.array(self._rows[first : first + ROWS_PER_GROUP])).combine_chunks().to_batches()
