"""The manifest: a Parquet file with one row per utterance, held as Arrow data, so that it may have millions of rows.

A large manifest is unpacked once into an Arrow file in the user's cache folder and memory-mapped from there: all
processes of a machine share one copy in the page cache.
"""

import glob
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from wav2vec2.data.utterance import COLUMNS, ROWS_PER_GROUP, SCHEMA, Utterance
from wav2vec2.errors import UserError, cause
from wav2vec2.input_file import refuse_special
from wav2vec2.output_file import writing

ROWS_IN_MEMORY = 500_000
"""Manifests with more rows than this are memory-mapped from the cache folder."""

_ABSOLUTE = r"^(/|[A-Za-z][A-Za-z0-9+.\-]*:)"  # a path from the root, a drive letter or a URL
_LONGEST = 1 << 36  # samples: 50 days
_PART = re.compile(r"-(\d+)-of-(\d+)\.parquet$")


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
        """Open a Parquet or Arrow file, a folder of Parquet files (the parts of `prepare --part`), a glob or a URL.

        Args:
            path: the file, folder or pattern. Relative audio paths in it are relative to the file's folder.
            split: keep only the rows of this split, or of several: "dev+test".

        Raises:
            UserError: nothing is there, a part is missing, a file is not a manifest, or a split has no rows.
        """
        files = manifest_files(path)
        mapped = _arrow_file(files)
        manifest = cls(_mapped(mapped) if mapped else list(_read_batches(files)), None, str(path), mapped)
        return manifest if split is None else manifest.with_split(split)

    def __getstate__(self) -> dict[str, Any]:
        # A worker process maps the same file again, instead of receiving gigabytes through a pipe.
        return self.__dict__ | ({"_batches": []} if self._map else {})

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self._map:
            self._batches = _mapped(self._map)

    def __len__(self) -> int:
        if self._rows is not None:
            return len(self._rows)
        return int(self._ends[-1]) if len(self._ends) else 0

    def __iter__(self) -> Iterator[Utterance]:
        return (self.utterance(index) for index in range(len(self)))

    def utterance(self, index: int) -> Utterance:
        """Row `index`; a negative index counts from the end. Raises IndexError outside the manifest."""
        position = index + len(self) if index < 0 else index
        if not 0 <= position < len(self):
            raise IndexError(f"row {index} of a manifest of {len(self)}")
        row = position if self._rows is None else int(self._rows[position])
        number = int(np.searchsorted(self._ends, row, side="right"))
        batch = self._batches[number]
        inside = row - (int(self._ends[number]) - batch.num_rows)
        return Utterance(**{name: batch.column(name)[inside].as_py() for name in COLUMNS})

    @cached_property
    def samples(self) -> np.ndarray:
        """Lengths in samples at 16 kHz, int64 (rows,)."""
        lengths = [batch.column("samples").to_numpy(zero_copy_only=False) for batch in self._batches]
        every = np.concatenate(lengths) if lengths else np.zeros(0, np.int64)
        return every if self._rows is None else every[self._rows]

    @property
    def ids(self) -> list[str]:
        """All ids as Python strings; with millions of rows use `column("id")`."""
        identities: list[str] = self.column("id").to_pylist()
        return identities

    def column(self, name: str) -> pa.ChunkedArray:
        """One column as an Arrow array, in row order, without Python objects."""
        whole = pa.chunked_array([batch.column(name) for batch in self._batches], type=SCHEMA.field(name).type)
        return whole if self._rows is None else whole.take(pa.array(self._rows))

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


def manifest_files(path: str | Path) -> list[str]:
    """List the files of a manifest; see `Manifest.open`. Raises UserError if there is none, or one is missing."""
    text = str(path)
    if "://" not in text:
        refuse_special(text)
    if "://" in text or os.path.isfile(text):
        return [text]
    pattern = os.path.join(glob.escape(text), "*.parquet") if os.path.isdir(text) else text
    files = sorted(glob.glob(pattern))
    if not files:
        raise UserError(f"{text}: no manifest found: name a .parquet file or the folder that 'wav2vec2 prepare' wrote")
    parts = {int(match[2]): set[int]() for name in files if (match := _PART.search(name))}
    for name in files:
        refuse_special(name)
        if match := _PART.search(name):
            parts[int(match[2])].add(int(match[1]))
    if len(parts) > 1 or (parts and sum(map(len, parts.values())) < len(files)):
        raise UserError(f"{text}: holds manifests of different runs: keep the files of one run only")
    for count, present in parts.items():
        if missing := sorted(set(range(1, count + 1)) - present):
            which = ", ".join(map(str, missing[:5]))
            raise UserError(f"{text}: part {which} of {count} is missing: run prepare with --part {missing[0]}/{count}")
    return files


def _arrow_file(files: Sequence[str]) -> str | None:
    """The Arrow file to memory-map: the one given, or for many rows one in the cache; None for few rows."""
    if len(files) == 1 and files[0].endswith(".arrow") and "://" not in files[0]:
        for batch in _mapped(files[0]):
            try:
                _checked(batch, files[0])
            except pa.ArrowException as error:
                raise UserError(f"{files[0]}: is damaged ({cause(error)}): prepare it again") from None
        return files[0]
    if sum(_parquet(name).metadata.num_rows for name in files) <= ROWS_IN_MEMORY:
        return None
    cached = _cache_folder() / f"{_fingerprint(files)}.arrow"
    if not cached.exists():
        with writing(cached) as temporary, pa.OSFile(temporary, "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as writer:
            for batch in _read_batches(files):
                writer.write_batch(batch)
    return str(cached)


def _mapped(path: str) -> list[pa.RecordBatch]:
    try:
        reader = pa.ipc.open_file(pa.memory_map(path))
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: is not an Arrow manifest ({' '.join(str(error).split())[:120]}): remove it") from None
    if missing := [column for column in COLUMNS if column not in reader.schema.names]:
        raise UserError(f"{path}: lacks the column '{missing[0]}': it is not a manifest of 'wav2vec2 prepare'")
    batches = [reader.get_batch(index) for index in range(reader.num_record_batches)]
    return [batch for batch in batches if batch.num_rows]


def _parquet(name: str) -> Any:
    try:
        if "://" in name:
            import fsspec

            return pq.ParquetFile(fsspec.open(name, "rb").open())
        return pq.ParquetFile(name, memory_map=True)
    except (pa.ArrowException, OSError, ValueError, ImportError) as error:
        why = " ".join(str(error).split())[:120]
        raise UserError(f"{name}: cannot be read as a manifest ({why}): prepare it again") from None


def _read_batches(files: Sequence[str]) -> Iterator[pa.RecordBatch]:
    for name in files:
        file = _parquet(name)
        if missing := [column for column in COLUMNS if column not in file.schema_arrow.names]:
            raise UserError(f"{name}: lacks the column '{missing[0]}': it is not a manifest of 'wav2vec2 prepare'")
        folder = name.rpartition("/")[0] if "://" in name else os.path.dirname(os.path.abspath(name))
        try:
            for batch in file.iter_batches(batch_size=ROWS_PER_GROUP, columns=list(COLUMNS)):
                yield _checked(_with_absolute_paths(batch.select(list(COLUMNS)), folder), name)
        except (pa.ArrowException, OSError) as error:
            why = " ".join(str(error).split())[:120]
            raise UserError(f"{name}: its rows cannot be read ({why}): prepare it again") from None


def _checked(batch: pa.RecordBatch, name: str) -> pa.RecordBatch:
    """Return the batch. Raises UserError if a required value is missing, or a length or start is impossible."""
    batch.validate(full=True)  # offsets inside the data, text in UTF-8
    for field in SCHEMA:
        if not field.nullable and batch.column(field.name).null_count:
            raise UserError(f"{name}: a row has no value in column '{field.name}': prepare it again")
    lengths = pc.min_max(batch.column("samples")).as_py()
    if batch.num_rows and not 0 < lengths["min"] <= lengths["max"] <= _LONGEST:
        wrong = lengths["min"] if lengths["min"] < 1 else lengths["max"]
        raise UserError(f"{name}: a row has an impossible length, {wrong} samples: prepare it again")
    starts = pc.min_max(batch.column("start")).as_py()
    if batch.num_rows and not 0 <= starts["min"] <= starts["max"] <= _LONGEST:
        wrong = starts["min"] if starts["min"] < 0 else starts["max"]
        raise UserError(f"{name}: a row has an impossible start, sample {wrong}: prepare it again")
    return batch


def _with_absolute_paths(batch: pa.RecordBatch, folder: str) -> pa.RecordBatch:
    paths = batch.column("path")
    absolute = pc.match_substring_regex(paths, _ABSOLUTE)
    if not pc.all(absolute, min_count=0).as_py():
        paths = pc.if_else(absolute, paths, pc.binary_join_element_wise(pa.scalar(folder), paths, "/"))
    columns = [paths if field.name == "path" else batch.column(field.name) for field in SCHEMA]
    return pa.record_batch(
        [column.cast(field.type) for column, field in zip(columns, SCHEMA, strict=True)], schema=SCHEMA
    )


def _fingerprint(files: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for name in files:
        status = os.stat(name) if "://" not in name else None
        stamp = (status.st_size, status.st_mtime_ns) if status else _parquet(name).metadata.serialized_size
        digest.update(f"{os.path.abspath(name)}\0{stamp}\n".encode())
    return digest.hexdigest()[:32]


def _cache_folder() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(root if os.access(os.path.dirname(root) or "/", os.W_OK) else tempfile.gettempdir()) / "wav2vec2"
