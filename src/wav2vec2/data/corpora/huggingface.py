"""Datasets in the formats of Hugging Face: an audio folder with a metadata file, or Parquet files that hold the audio.

Audio folder: metadata.csv, metadata.jsonl or metadata.parquet, in one or several folders; its column file_name (or
another *_file_name) is relative to its own folder. The split is a folder named train, test, validation, ...

Parquet: a column of audio, either structs of bytes and path or plain bytes; train-00000-of-00005.parquet or
train/0000.parquet is of split train. The bytes are copied, unchanged, into one tar archive for each Parquet file, and
the manifest points into it. A small table beside the archive lists its rows, so that this is done once.
"""

import json
import os
import re
import sys
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from wav2vec2.audio.container import container_of
from wav2vec2.audio.recordings import audio_names, walk
from wav2vec2.data.corpora.columns import Columns, listed
from wav2vec2.data.corpora.folder import find_audio
from wav2vec2.data.corpora.table import TableOptions, said, scan_table
from wav2vec2.data.shard_members import add_member
from wav2vec2.data.utterance import Rejection, Utterance, record_batch, write_batches
from wav2vec2.errors import UserError
from wav2vec2.input_file import refuse_special
from wav2vec2.output_file import writing

METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
_SPLITS = {"train": "train", "training": "train", "test": "test", "testing": "test", "eval": "test"}
_SPLITS |= dict.fromkeys(("valid", "validation", "val", "dev"), "valid")
_SHARD_OF = re.compile(r"[-_.]\d+-of-\d+.*$")
_ROWS = 16  # of a Parquet file in memory at a time
_VERSION = "1"  # increase it when what is written beside an archive changes


def split_of(relative: Path) -> str:
    """Return the split that a file's path names: train-00000-of-00005.parquet, train/0000.parquet, data/test/a.wav."""
    words = [_SHARD_OF.sub("", relative.stem), *reversed(relative.parent.parts)]
    for word in words:
        for part in (word, *re.split(r"[-_.=]", word)):
            if part.lower() in _SPLITS:
                return _SPLITS[part.lower()]
    return ""


def audio_folder_metadata(root: Path) -> list[Path]:
    """Return the metadata files of an audio folder."""
    found = [Path(folder, name) for folder, names in walk(root) for name in METADATA if name in names]
    return [path for path in found if path.suffix != ".parquet" or _audio_column(path, "") is None]


def scan_audio_folder(
    root: Path, *, text: str = "", path: str = "", language: str = ""
) -> Iterator[Utterance | Rejection]:
    """Yield the rows of every metadata file, not yet opened; a recording that none lists is a Rejection.

    Args:
        root: the folder.
        text: the column of transcripts; empty: by its name.
        path: the column of file names; empty: by its name.
        language: written into rows without one.

    Raises:
        UserError: there is no metadata file, one cannot be read, or has no transcript though a column looks like it.
    """
    tables = audio_folder_metadata(root)
    if not tables:
        neither = (
            f"holds none of {', '.join(METADATA)} with file_name, nor Parquet with encoded audio (a column of bytes)"
        )
        raise UserError(f"{root}: {neither}: name another folder, or try 'prepare auto'")
    top = Path(os.path.abspath(root))
    seen: set[str] = set()
    for table in tables:
        options = TableOptions(text, path)
        rows = (
            _parquet_rows(table, options, language)
            if table.suffix == ".parquet"
            else scan_table(table, language=language, options=options)
        )
        for row in rows:
            if isinstance(row, Rejection):
                yield row
                continue
            seen.add(row.path)
            inside = Path(os.path.relpath(row.path, top))
            identity = inside.with_suffix("").as_posix()
            yield replace(row, id=identity, split=row.split or split_of(inside), source=root.name)
    for folder, names in walk(root):
        for name in audio_names(names):
            if (audio := os.path.join(folder, name)) not in seen:
                message = f"{audio}: is in no {METADATA[0]} or its like"
                yield Rejection(os.path.relpath(audio, top), audio, "audio without transcript", message)


def _parquet_rows(table: Path, options: TableOptions, language: str) -> Iterator[Utterance | Rejection]:
    """The rows of a Parquet table without audio in it."""
    columns = Columns(table, text=options.text, path=options.path)
    for values in _batches(table, None):
        for value in values:
            columns.need_path(list(value))
            row = columns.by_role(value)
            name = str(row.get("path") or "")
            if name:
                yield _utterance(row, name, find_audio(os.path.abspath(table.parent / name)), language)
            else:
                yield Rejection("", str(table), "bad table row", f"{table}: a row has no path")
    columns.need_transcripts()


def parquet_files(root: Path) -> list[Path]:
    """Return the Parquet files below a folder that have audio in them, or the one that is given."""
    if root.is_file():
        return [root]
    every = (Path(folder, name) for folder, names in walk(root) for name in names if name.endswith(".parquet"))
    return [path for path in every if _audio_column(path, "") is not None]


def unpack_parquet(root: Path, out: Path, *, text: str = "", audio: str = "", language: str = "") -> list[Path]:
    """Write the audio of Parquet files into archives below `out`, those that are not there yet.

    Args:
        root: a Parquet file, or a folder of them at any depth.
        out: the folder for NAME.tar and, beside each, NAME.rows.parquet.
        text: the column of transcripts; empty: by its name.
        audio: the column of audio; empty: the only one, or that named audio.
        language: written into rows without one.

    Returns:
        The tables of rows, which `scan_unpacked` reads.

    Raises:
        UserError: there is no Parquet file with audio, a column is not there, or an archive cannot be written.
    """
    files = parquet_files(root)
    if not files:
        raise UserError(f"{root}: holds no .parquet file with a column of audio: try 'prepare auto'")
    return [_unpack(file, root, out, text, audio, language) for file in files]


def _unpack(file: Path, root: Path, out: Path, text: str, audio: str, language: str) -> Path:
    relative = Path(file.name) if root.is_file() else file.relative_to(root)
    name = "-".join(relative.with_suffix("").parts)
    listing, archive = out / f"{name}.rows.parquet", out / f"{name}.tar"
    status = os.stat(file)
    key = json.dumps([_VERSION, str(relative), status.st_size, status.st_mtime_ns, text, audio, language])
    if listing.is_file() and archive.is_file():
        described = _opened(listing).schema_arrow.metadata or {}
        if described.get(b"unpacked") == key.encode():
            return listing
    column = _audio_column(file, audio)
    if column is None:
        names = _opened(file).schema_arrow.names
        raise UserError(f"{file}: has no column of audio, only {listed(names)}: name it by --audio-column")
    asked = Columns(file, text=text)  # before the audio is copied, the transcripts are looked for
    for values in _batches(file, None):
        for value in values:
            asked.by_role(value)
    asked.need_transcripts()
    columns = Columns(file, text=text, path=column)
    split, where = split_of(relative), str(archive.absolute())
    # The archive is in its place before the table that describes it.
    with (
        writing(listing) as table,
        writing(archive) as packed,
        tarfile.open(packed, "w", format=tarfile.PAX_FORMAT) as tar,
    ):
        rows = _copied(file, name, columns, column, tar, language)
        batches = (
            record_batch(
                [replace(row, split=row.split or split, path=where if row.offset >= 0 else row.path) for row in batch]
            )
            for batch in rows
        )
        write_batches(batches, table, {"unpacked": key})
    print(f"unpacked {file} into {archive}", file=sys.stderr)
    return listing


def _copied(
    file: Path, name: str, columns: Columns, column: str, tar: tarfile.TarFile, language: str
) -> Iterator[list[Utterance]]:
    """Append the audio of a Parquet file to an archive; yields its rows, with offsets, a batch at a time.

    A row without audio has an empty path, or that of a file outside.
    """
    used: set[str] = set()
    number = 0
    for values in _batches(file, column):
        batch: list[Utterance] = []
        for value in values:
            content, path = _audio(value[column])
            row = columns.by_role(value)
            stem = str(row.get("id") or "") or os.path.splitext(os.path.basename(path))[0]
            if not stem or stem in used:  # many datasets name every recording audio.wav
                stem = f"{stem}-{number}" if stem else str(number)
            used.add(stem)
            number += 1
            identity = f"{name}/{stem}"
            where = find_audio(os.path.abspath(file.parent / path)) if path and content is None else ""
            made = _utterance(row | {"id": identity}, identity, where, language)
            if content is not None:
                suffix = container_of(content[:64]) or Path(path).suffix.lstrip(".").lower() or "audio"
                offset = add_member(tar, f"{number:08d}.{suffix}", content)
                made = replace(made, offset=offset, size=len(content))
            batch.append(made)
        yield batch


def _audio(value: object) -> tuple[bytes | None, str]:
    """Return the bytes of a recording (None: there are none) and its path, from a cell of a column of audio."""
    path = ""
    if isinstance(value, Mapping):
        path, value = str(value.get("path") or ""), value.get("bytes")
    if isinstance(value, list):  # bytes as integers, signed or not
        value = bytes(number & 0xFF for number in value if isinstance(number, int))
    if isinstance(value, str):
        return None, value
    return (value, path) if isinstance(value, bytes) and value else (None, path)


def _utterance(row: Mapping[str, Any], identity: str, path: str, language: str) -> Utterance:
    return Utterance(
        id=identity,
        path=path,
        text=said(row.get("text")),
        speaker=str(row.get("speaker") if row.get("speaker") is not None else ""),
        split=str(row.get("split") or ""),
        language=str(row.get("language") or "") if isinstance(row.get("language"), str) else language,
        source="huggingface",
    )


def scan_unpacked(listings: Sequence[Path], source: str) -> Iterator[Utterance | Rejection]:
    """Yield the rows that `unpack_parquet` has listed; one without audio is a Rejection."""
    for listing in listings:
        for batch in _opened(listing).iter_batches():
            for values in batch.to_pylist():
                row = replace(Utterance(**values), source=source)
                if row.path:
                    yield row
                else:
                    yield Rejection(row.id, str(listing), "no samples", f"{row.id}: has no audio in the Parquet file")


def _opened(path: Path) -> pq.ParquetFile:
    refuse_special(path)
    try:
        return pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20)  # a row group may hold gigabytes of audio
    except (pa.ArrowException, OSError) as error:
        why = " ".join(str(error).split())[:80]
        raise UserError(f"{path}: cannot be read as Parquet ({why}): download it again") from None


def _batches(path: Path, column: str | None) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows of a Parquet file, a few at a time; of nested columns, only the audio is read."""
    file = _opened(path)
    names = [field.name for field in file.schema_arrow if field.name == column or not pa.types.is_nested(field.type)]
    try:
        for batch in file.iter_batches(batch_size=_ROWS, columns=names):
            yield batch.to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        why = " ".join(str(error).split())[:80]
        raise UserError(f"{path}: its rows cannot be read ({why}): download it again") from None


def _audio_column(path: Path, chosen: str) -> str | None:
    """The column of audio of a Parquet file; None if there is none. Raises UserError if there are several."""
    schema = _opened(path).schema_arrow
    found = [field.name for field in schema if _holds_audio(field)]
    if chosen:
        return chosen if chosen in schema.names else None
    if len(found) > 1 and "audio" in found:
        return "audio"
    if len(found) > 1:
        raise UserError(f"{path}: has several columns of audio, {listed(found)}: choose one by --audio-column")
    return found[0] if found else None


def _holds_audio(field: pa.Field) -> bool:
    kind = field.type
    if pa.types.is_struct(kind):
        inside = {kind.field(number).name: kind.field(number).type for number in range(kind.num_fields)}
        return "bytes" in inside and _is_bytes(inside["bytes"])
    named = any(word in field.name.lower() for word in ("audio", "wav", "speech", "bytes", "flac", "mp3", "sound"))
    return named and (
        _is_bytes(kind)
        or (pa.types.is_list(kind) and pa.types.is_integer(kind.value_type) and kind.value_type.bit_width == 8)
    )


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))
