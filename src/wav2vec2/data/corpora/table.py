"""Tables of recordings: CSV, TSV and the like with a header, JSON or JSON lines; and the TSV files of corpora.

Columns: a path (relative to the table's folder) and optionally a transcript, speaker, split, language, id, start and
end (in seconds), under the names that such tables have (`columns`). JSON may be lines as NeMo writes them, one list, or
one object by id as SpeechBrain writes it.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wav2vec2.audio.read import SAMPLE_RATE, audio_info
from wav2vec2.data.corpora.columns import Columns, listed
from wav2vec2.data.corpora.delimited import Dialect, dialect_of, table_rows, text_lines
from wav2vec2.data.corpora.folder import find_audio
from wav2vec2.data.utterance import Rejection, Utterance
from wav2vec2.errors import UserError, quoted
from wav2vec2.input_file import parse_json

_ROOT_VARIABLE = re.compile(r"^(\$\{?\w+\}?|\{\w+\})/+")  # SpeechBrain's {data_root}/...
_SLICE = re.compile(r"^(.+\.(?:zip|tar)):(\d+):(\d+)$")  # fairseq's slice of an uncompressed archive, in bytes
_FEW = 0.02  # of the rows
_EXAMPLES = 3
_LARGEST_JSON = 1 << 29  # characters of a file that must be read whole


@dataclass(frozen=True)
class TableOptions:
    """How to read a table. Empty: `text` and `path` columns by their names, `split` of no row, `root` its folder."""

    text: str = ""
    path: str = ""
    split: str = ""
    root: Path | None = None


_DEFAULT = TableOptions()


def scan_table(table: Path, *, language: str = "", options: TableOptions = _DEFAULT) -> Iterator[Utterance | Rejection]:
    """Yield the table's rows as utterances, not yet opened; a malformed row becomes a Rejection that names its line.

    Args:
        table: the file; `.json`, `.jsonl` and `.ndjson` are JSON, anything else has a header of column names.
        language: written into rows without one.
        options: which columns to take, the split of rows without one, and the folder of relative paths.

    Raises:
        UserError: the table cannot be read, has no column of paths, has no transcript in any row although a column
            looks like one, or is not UTF-8 in more than a few rows.
    """
    columns = Columns(table, text=options.text, path=options.path)
    encoding = _Encoding(table)
    for where, row in _rows(table, columns):
        encoding.add(where, row)
        if isinstance(row, str):
            yield Rejection("", str(table), "bad table row", f"{where}: {row}")
            continue
        values = _flattened(columns.by_role(row))
        path = str(values.get("path") or "").strip()
        if not path:
            yield Rejection("", str(table), "bad table row", f"{where}: has no path")
            continue
        try:
            yield _utterance(table, path, values, language, options)
        except (ValueError, UserError) as error:
            yield Rejection(path, path, "bad table row", f"{where}: {error}")
    encoding.need_utf8()
    columns.need_transcripts()


class _Encoding:
    """Counts the rows with bytes that are not UTF-8, which `text_lines` replaces."""

    def __init__(self, table: Path) -> None:
        self._table, self._rows, self._odd, self._examples = table, 0, 0, list[str]()

    def add(self, where: str, row: "Row") -> None:
        self._rows += 1
        values = [row] if isinstance(row, str) else row.values()
        odd = next((value for value in values if isinstance(value, str) and "\ufffd" in value), None)
        if odd is not None:
            self._odd += 1
            if len(self._examples) < _EXAMPLES:
                self._examples.append(f"{where.rpartition(', ')[2]} {quoted(odd)}")

    def need_utf8(self) -> None:
        if self._odd > _FEW * self._rows:
            name = self._table.name
            remedy = f"save it as UTF-8, or convert it: iconv -f latin1 -t utf-8 {name} > utf8-{name}"
            shown = ", ".join(self._examples)
            raise UserError(f"{self._table}: {self._odd} of {self._rows} rows are not UTF-8 ({shown}): {remedy}")


def _utterance(
    table: Path, path: str, row: Mapping[str, Any], language: str, options: TableOptions
) -> Utterance | Rejection:
    path = _ROOT_VARIABLE.sub("", path)
    offset = size = -1
    stem = os.path.splitext(path)[0]
    if piece := _SLICE.match(path):
        path, offset, size = piece[1], int(piece[2]), int(piece[3])
        stem = f"{os.path.splitext(path)[0]}-{offset}"
    if "://" not in path:
        path = find_audio(os.path.abspath(os.path.join(options.root or table.parent, path)))
    first, samples = _piece(path, row)
    return Utterance(
        id=str(row.get("id") or "") or stem + (f"-{first}-{first + samples}" if samples > 0 else ""),
        path=path,
        offset=offset,
        size=size,
        start=first,
        samples=samples,
        text=said(row.get("text")),
        speaker=str(row.get("speaker") or ""),
        split=str(row.get("split") or options.split),
        language=str(row.get("language") or language),
        source=table.name.split(".")[0],
    )


def said(value: object) -> str | None:
    """Return a cell of text as a string; None if it is empty. Words in a list are joined.

    Raises:
        ValueError: the cell holds something else.
    """
    if isinstance(value, bytes):
        value = value.decode("utf-8", errors="replace")
    if isinstance(value, list):
        words = [word.get("word", word.get("text")) if isinstance(word, dict) else word for word in value]
        if any(not isinstance(word, str) for word in words):
            raise ValueError(f"{quoted(value)} is no transcript")
        value = " ".join(map(str, words))
    elif isinstance(value, dict):
        raise ValueError(f"{quoted(value)} is no transcript")
    return str(value) if value is not None and str(value).strip() else None


def _piece(path: str, row: Mapping[str, Any]) -> tuple[int, int]:
    """Return the first sample and the number of samples (-1: to the end) of a row's piece, at 16 kHz."""
    start, end, stop = (_seconds(row, name) for name in ("start", "end", "stop"))
    if stop is not None:  # SpeechBrain counts start and stop in samples of the file
        rate = audio_info(path).sample_rate
        start, end = (start or 0.0) / rate, stop / rate
    if end is None and start is not None and (duration := _seconds(row, "duration")) is not None:
        end = start + duration
    first = round((start or 0.0) * SAMPLE_RATE)
    samples = -1 if end is None else round(end * SAMPLE_RATE) - first
    if end is not None and samples < 1:
        raise ValueError(f"the piece from {start or 0:g} s to {end:g} s is empty")
    return first, samples


def _seconds(row: Mapping[str, Any], name: str) -> float | None:
    value = row.get(name)
    if value is None or not str(value).strip():
        return None
    try:
        seconds = float(value)
    except (ValueError, TypeError, OverflowError):
        raise ValueError(f"{name} {quoted(value)} is not a number of seconds") from None
    if not 0 <= seconds < 1e11:
        raise ValueError(f"{name} {quoted(value)} is not a time in the file")
    return seconds


def _flattened(values: dict[str, Any]) -> dict[str, Any]:
    """Take a path and its piece out of an object, as in {"wav": {"file": "a.wav", "start": 0, "stop": 16000}}."""
    audio = values.get("path")
    if not isinstance(audio, dict):
        return values
    path = next((audio[name] for name in ("path", "file", "audio_filepath") if audio.get(name)), "")
    return values | {name: audio[name] for name in ("start", "stop") if name in audio} | {"path": path}


Row = dict[str, Any] | str
"""Values by column name, or what is wrong with the row."""


def _rows(table: Path, columns: Columns) -> Iterator[tuple[str, Row]]:
    """Yield (table and line for messages, row) of each row."""
    if Path(table.name.lower().removesuffix(".gz")).suffix in (".jsonl", ".json", ".ndjson"):
        yield from _json_rows(table, columns)
        return
    rows = table_rows(table, dialect_of(table))
    _, header = next(rows, (1, [""]))
    names = [name.strip().strip('"') for name in header]
    columns.need_path(names)
    for number, cells in rows:
        extra = [cell for cell in cells[len(names) :] if cell.strip()]
        row: Row = dict(zip(names, cells, strict=False))
        if extra:
            row = (
                f"has {len(cells)} columns instead of {len(names)}: enclose a text with a separator in quotation marks"
            )
        yield f"{table}, line {number}", row


def _json_rows(table: Path, columns: Columns) -> Iterator[tuple[str, Row]]:
    lines = ((number, line) for number, line in enumerate(text_lines(table), start=1) if line.strip())
    number, line = next(lines, (1, ""))
    first = _parsed(line)
    if not isinstance(first, dict) or _is_whole(first):
        for number, row in enumerate(_whole_json(table, columns), start=1):
            columns.need_path(list(row))
            yield f"{table}, entry {number}", row
        return
    if {"supervisions", "sources", "recording_id"} & first.keys():
        raise UserError(f"{table}: is a manifest of lhotse: read it by 'wav2vec2 prepare lhotse {table}'")
    columns.need_path(list(first))
    yield f"{table}, line {number}", first
    for number, line in lines:
        row = _parsed(line)
        yield f"{table}, line {number}", row if isinstance(row, dict) else "is not a JSON object"


def _is_whole(content: dict[str, Any]) -> bool:
    """Whether an object is not a row but holds the rows, by id or in a list."""
    values = list(content.values())
    lists = [value for value in values if isinstance(value, list) and value and isinstance(value[0], dict)]
    return bool(values) and (all(isinstance(value, dict) for value in values) or (len(values) == len(lists) == 1))


def _whole_json(table: Path, columns: Columns) -> list[dict[str, Any]]:
    text: list[str] = []
    size = 0
    for line in text_lines(table):
        text.append(line)
        size += len(line)
        if size > _LARGEST_JSON:
            raise UserError(f"{table}: is too large to be read at once: write JSON lines, one object a line")
    content = _parsed("\n".join(text))
    if isinstance(content, dict):
        inner = [value for value in content.values() if isinstance(value, list)]
        if content and all(isinstance(value, dict) for value in content.values()):
            if "path" in columns.roles(list(content)):  # by column, as pandas writes it
                keys = next(iter(content.values()))
                return [{name: cells.get(key) for name, cells in content.items()} for key in keys]
            content = [{"id": identity} | value for identity, value in content.items()]
        elif len(inner) == 1:
            content = inner[0]
    if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
        remedy = "write one object per line, a list of objects, or one object of objects by id"
        raise UserError(f"{table}: line 1 is not a JSON object, nor is the file a list or table of objects: {remedy}")
    return content


def _parsed(text: str) -> Any:
    """Parse JSON; None if it is none, or nested too deeply."""
    try:
        return parse_json(text)
    except ValueError:
        return None


def read_tsv(
    path: Path, needed: Sequence[str], filled: str, columns: Sequence[str] | None = None
) -> Iterator[dict[str, str] | Rejection]:
    """Yield the rows of a corpus's TSV file by column name; a malformed row becomes a Rejection that names its line.

    Quotation marks are part of the sentence, unless the file was written again by a CSV writer (see `delimited`).

    Args:
        path: the table; bytes that are not UTF-8 become U+FFFD.
        needed: columns that must be there.
        filled: a column that must not be empty in any row.
        columns: the names of the columns, for a table without a header (more columns may follow); None: the first line
            names them.

    Raises:
        UserError: the file cannot be read, or lacks a column.
    """
    rows = table_rows(path, Dialect("\t", dialect_of(path, "\t").quoted))
    names = columns or next(rows, (1, [""]))[1]
    for name in needed:
        if name not in names:
            raise UserError(
                f"{path}: has no column '{name}' in its first line, only {listed(names)}: unpack the corpus again"
            )
    for number, cells in rows:
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
