"""The files of a manifest: which they are, on a disk or in remote storage, and their rows, checked as they are read."""

import glob
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from wav2vec2.data.byte_range import open_remote
from wav2vec2.data.remote import address, asked, filesystem, is_remote, repeated
from wav2vec2.data.utterance import COLUMNS, ROWS_PER_GROUP, SCHEMA
from wav2vec2.errors import UserError
from wav2vec2.input_file import refuse_special

_ABSOLUTE = r"^(/|[A-Za-z][A-Za-z0-9+.\-]*:)"  # a path from the root, a drive letter or a URL
_LONGEST = 1 << 36  # samples: 50 days
_PART = re.compile(r"-(\d+)-of-(\d+)\.parquet$")
_FILE = (".parquet", ".arrow")


def manifest_files(path: str | Path) -> list[str]:
    """List the files of a manifest, or of several joined by "+"; see `Manifest.open`.

    Raises:
        UserError: there is none, or one is missing.
    """
    text = address(path)
    if "+" in text and not _found(text):  # a file may have a "+" in its name
        pieces = [piece.strip() for piece in text.split("+")]
        files = [name for piece in pieces if piece for name in _files_of_one(piece)]
        if len(set(files)) < len(files):
            twice = next(name for name in files if files.count(name) > 1)
            raise UserError(f"{text}: names {twice} twice: name each manifest once")
        return files
    return _files_of_one(text)


def _files_of_one(text: str) -> list[str]:
    files = _found(text)
    if not files:
        raise UserError(f"{text}: no manifest found: name a .parquet file or the folder that 'wav2vec2 prepare' wrote")
    if files == [text]:
        return files
    parts = {int(match[2]): set[int]() for name in files if (match := _PART.search(name))}
    for name in files:
        if match := _PART.search(name):
            parts[int(match[2])].add(int(match[1]))
    if len(parts) > 1 or (parts and sum(map(len, parts.values())) < len(files)):
        raise UserError(f"{text}: holds manifests of different runs: keep the files of one run only")
    for count, present in parts.items():
        if missing := sorted(set(range(1, count + 1)) - present):
            which = ", ".join(map(str, missing[:5]))
            raise UserError(f"{text}: part {which} of {count} is missing: run prepare with --part {missing[0]}/{count}")
    return files


def _found(text: str) -> list[str]:
    """The files that a path, a folder or a pattern stands for, in order of their names; a URL of a file stands."""
    if is_remote(text):
        return _found_remote(text)
    refuse_special(text)
    if os.path.isfile(text):
        return [text]
    pattern = os.path.join(glob.escape(text), "*.parquet") if os.path.isdir(text) else text
    files = sorted(glob.glob(pattern))
    for name in files:
        refuse_special(name)
    return files


def _found_remote(url: str) -> list[str]:
    if "+" not in url and url.endswith(_FILE) and not glob.has_magic(url):
        return [url]  # opening it says whether it is there

    def ask() -> list[str]:
        files, key = filesystem(url)
        files.invalidate_cache()
        if glob.has_magic(key):
            return [files.unstrip_protocol(name) for name in asked(files, "glob", key)]
        try:
            entries = asked(files, "ls", key, detail=True)
        except FileNotFoundError:
            return []
        names = [files.unstrip_protocol(entry["name"]) for entry in entries if entry["type"] == "file"]
        if [files._strip_protocol(name) for name in names] == [key]:
            return [url]
        return [name for name in names if name.endswith(".parquet") and not name.rpartition("/")[2].startswith(".")]

    return sorted(repeated(url, ask))


def open_parquet(name: str) -> Any:
    """Open a Parquet file, local or remote; reading it checks its pages' checksums, if it has them.

    Raises UserError if it is missing or none.
    """
    try:
        if is_remote(name):
            return pq.ParquetFile(open_remote(name), page_checksum_verification=True)
        return pq.ParquetFile(name, memory_map=True, page_checksum_verification=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        why = " ".join(str(error).split())[:120]
        raise UserError(f"{name}: cannot be read as a manifest ({why}): prepare it again") from None


def read_batches(files: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Read the rows of files, with absolute paths. Raises UserError if a file or a row is wrong."""
    for name in files:
        file = open_parquet(name)
        if missing := [column for column in COLUMNS if column not in file.schema_arrow.names]:
            raise UserError(f"{name}: lacks the column '{missing[0]}': it is not a manifest of 'wav2vec2 prepare'")
        folder = name.rpartition("/")[0] if is_remote(name) else os.path.dirname(os.path.abspath(name))
        try:
            for batch in file.iter_batches(batch_size=ROWS_PER_GROUP, columns=list(COLUMNS)):
                yield checked(_with_absolute_paths(batch.select(list(COLUMNS)), folder), name)
        except (pa.ArrowException, OSError) as error:
            why = " ".join(str(error).split())[:120]
            raise UserError(f"{name}: its rows cannot be read ({why}): prepare it again") from None


def checked(batch: pa.RecordBatch, name: str) -> pa.RecordBatch:
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
