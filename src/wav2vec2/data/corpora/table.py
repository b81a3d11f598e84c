"""Tables of recordings: CSV or TSV with a header, or JSON lines as NeMo writes them; and the TSV files of corpora.

Columns: `path` (relative to the table's folder) and optionally `text`, `speaker`, `split`, `language`, `id`, `start`
and `end` (in seconds). JSON lines may use NeMo's names `audio_filepath`, `lang`, `offset` and `duration`.
"""

import csv
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.data.utterance import Rejection, Utterance
from wav2vec2.errors import UserError

_ALIASES = {
    "audio_filepath": "path", "audio": "path", "file": "path", "sentence": "text", "transcript": "text",
    "lang": "language", "offset": "start", "speaker_id": "speaker", "client_id": "speaker",
}  # fmt: skip


def scan_table(table: Path, *, language: str = "") -> Iterator[Utterance | Rejection]:
    """Yield the table's rows as utterances, not yet opened; a malformed row becomes a Rejection that names its line.

    Raises:
        UserError: the table cannot be read, or has no column `path`.
    """
    for line, row in _rows(table):
        path = str(row.get("path") or "").strip()
        where = f"{table}, line {line}"
        if not path:
            yield Rejection("", str(table), "bad table row", f"{where}: has no path")
            continue
        try:
            yield _utterance(table, path, row, language)
        except ValueError as error:
            yield Rejection(path, path, "bad table row", f"{where}: {error}")


def _utterance(table: Path, path: str, row: Mapping[str, Any], language: str) -> Utterance:
    start, end = _seconds(row, "start"), _seconds(row, "end")
    if end is None and (duration := _seconds(row, "duration")) is not None and start is not None:
        end = start + duration
    first = round((start or 0.0) * SAMPLE_RATE)
    samples = -1 if end is None else round(end * SAMPLE_RATE) - first
    if end is not None and samples < 1:
        raise ValueError(f"the piece from {start or 0:g} s to {end:g} s is empty")
    identity = str(row.get("id") or "") or os.path.splitext(path)[0] + (f"-{first}-{first + samples}" if end else "")
    text = row.get("text")
    return Utterance(
        id=identity,
        path=path if "://" in path else os.path.abspath(os.path.join(table.parent, path)),
        start=first,
        samples=samples,
        text=str(text) if text is not None and str(text).strip() else None,
        speaker=str(row.get("speaker") or ""),
        split=str(row.get("split") or ""),
        language=str(row.get("language") or language),
        source=table.stem,
    )


def _seconds(row: Mapping[str, Any], name: str) -> float | None:
    value = row.get(name)
    if value is None or not str(value).strip():
        return None
    try:
        seconds = float(value)
    except ValueError:
        raise ValueError(f"{name} '{value}' is not a number of seconds") from None
    if not 0 <= seconds < 1e7:
        raise ValueError(f"{name} '{value}' is not a time in the file")
    return seconds


def _rows(table: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, values by column name) of each row; columns have their usual names."""
    try:
        with table.open(encoding="utf-8-sig", errors="replace", newline="") as lines:
            if table.suffix.lower() in (".jsonl", ".json", ".ndjson"):
                yield from _json_rows(table, lines)
            else:
                yield from _csv_rows(table, lines)
    except (OSError, csv.Error) as error:
        why = getattr(error, "strerror", None) or error
        raise UserError(f"{table}: cannot be read as a table ({why}): give a CSV or TSV file with a header") from None


def _csv_rows(table: Path, lines: Iterator[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    header = next(lines, "")
    tabs = "\t" in header
    names = next(csv.reader([header], delimiter="\t" if tabs else ","), [])
    columns = [_ALIASES.get(name.strip().lower(), name.strip().lower()) for name in names]
    if "path" not in columns:
        raise UserError(f"{table}: has no column 'path' in its first line: write a header such as path,text,speaker")
    # A quotation mark in a TSV is part of the transcript; in a CSV it encloses a field.
    reader = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE) if tabs else csv.reader(lines)
    for row in reader:
        if row:
            yield reader.line_num + 1, dict(zip(columns, row, strict=False))


def _json_rows(table: Path, lines: Iterator[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            row = None
        if not isinstance(row, dict):
            raise UserError(f"{table}: line {number} is not a JSON object: write one object per line")
        yield number, {_ALIASES.get(name.lower(), name.lower()): value for name, value in row.items()}


def read_tsv(
    path: Path, needed: Sequence[str], filled: str, columns: Sequence[str] | None = None
) -> Iterator[dict[str, str] | Rejection]:
    """Yield the rows of a corpus's TSV file by column name; a malformed row becomes a Rejection that names its line.

    Nothing is quoted: a quotation mark is part of the sentence.

    Args:
        path: the table; bytes that are not UTF-8 become U+FFFD.
        needed: columns that must be there.
        filled: a column that must not be empty in any row.
        columns: the names of the columns, for a table without a header (more columns may follow); None: the first line
            names them.

    Raises:
        UserError: the file cannot be read, or lacks a column.
    """
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="\n") as lines:
            names = columns or next(lines, "").rstrip("\r\n").split("\t")
            for name in needed:
                if name not in names:
                    raise UserError(f"{path}: has no column '{name}' in its first line: unpack the corpus again")
            for number, line in enumerate(lines, start=1 if columns else 2):
                if not line.strip():
                    continue
                cells = line.rstrip("\r\n").split("\t")
                row = dict(zip(names, cells, strict=False))
                if len(cells) < len(names) or (len(cells) > len(names) and not columns):
                    problem = f"has {len(cells)} columns instead of {len(names)}"
                elif not row[filled].strip():
                    problem = f"column '{filled}' is empty"
                else:
                    yield row
                    continue
                message = f"{path}, line {number}: {problem}"
                yield Rejection(f"{path.stem}-{number}", str(path), "bad table row", message)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}): unpack the corpus again") from None
