"""Tables as text files: their encoding, their delimiter, and whether quotation marks enclose cells or are text.

A comma or semicolon separates cells as RFC 4180 says: quotation marks enclose a cell. In a file with tabs or pipes they
may do so (pandas and Excel write them) or be part of the sentence (Common Voice). Such a file counts as quoted only if
most of its lines with quotation marks are, to the character, what a CSV writer would have written.
"""

import csv
import gzip
import io
import re
import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from wav2vec2.errors import UserError
from wav2vec2.input_file import open_input

LONGEST_LINE = 1 << 20
"""Characters of a line of text."""
_LONGEST_RECORD = 50  # lines of one quoted cell
_BOMS = {
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe\0\0": "utf-32",
    b"\0\0\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
_NUMBER = re.compile(r"[-+]?\d+(\.\d*)?([eE][-+]?\d+)?")


@dataclass(frozen=True)
class Dialect:
    """How the cells of a table are separated; `quoted`: quotation marks enclose cells and are not text."""

    delimiter: str
    quoted: bool


def text_lines(path: Path, longest: int = LONGEST_LINE) -> Iterator[str]:
    """Yield the lines of a text file, or of one packed by gzip (.gz), without their ends.

    UTF-16 and UTF-32 are recognised; anything else is UTF-8, with U+FFFD for bytes that are none.

    Raises:
        UserError: the file is missing, unreadable, a folder or a device, or has a line of more than `longest`
            characters.
    """
    try:
        with open_input(path) as raw:
            stream: BinaryIO = gzip.GzipFile(fileobj=raw) if path.suffix.lower() == ".gz" else raw  # type: ignore[assignment]
            head = stream.read(4096)
            stream.seek(0)
            encoding = _encoding(head)
            start = head.decode(encoding, errors="replace")
            end = "\r" if "\r" in start and "\n" not in start else "\n"
            text = io.TextIOWrapper(stream, encoding=encoding, errors="replace", newline=end)
            for number, line in enumerate(iter(lambda: text.readline(longest), ""), start=1):
                if len(line) == longest:
                    raise UserError(f"{path}, line {number}: is longer than {longest:,} characters: is it a text file?")
                yield line.rstrip("\r\n")
    except (OSError, EOFError, ValueError, zlib.error) as error:
        why = getattr(error, "strerror", None) or " ".join(str(error).split())[:80]
        raise UserError(f"{path}: cannot be read ({why}): check its name and permissions") from None


def _encoding(head: bytes) -> str:
    for mark, name in _BOMS.items():
        if head.startswith(mark):
            return name
    even, odd = head[::2].count(0), head[1::2].count(0)  # UTF-16 without a mark: every second byte of ASCII is 0
    if max(even, odd) > len(head) // 8:
        return "utf-16-le" if odd > even else "utf-16-be"
    return "utf-8"


def dialect_of(path: Path, delimiter: str = "") -> Dialect:
    """Find out how a table is written, from its first line and, for tabs and pipes, from every quotation mark in it.

    Raises:
        UserError: the file cannot be read.
    """
    if not delimiter:
        header = next((line for line in text_lines(path) if line.strip()), "")
        delimiter = _delimiter(header)
    return Dialect(delimiter, delimiter in ",;" or _writes_quotes(path, delimiter))


def _delimiter(header: str) -> str:
    if header.lower().startswith("sep=") and len(header) == 5:  # Excel's way to say it
        return header[4]
    if "\t" in header:
        return "\t"
    return max(",;|", key=header.count)


def _writes_quotes(path: Path, delimiter: str) -> bool:
    balance = 0
    for _, raw, cells in _records(text_lines(path), delimiter):
        if '"' in raw:
            balance += 1 if cells is not None and raw in _spellings(cells, delimiter) else -1
    return balance > 0


def _spellings(cells: list[str], delimiter: str) -> set[str]:
    """What a CSV writer makes of cells: quoting only where it must, everywhere, or everywhere but in numbers."""
    special = ('"', "\n", "\r", delimiter)
    quoted = ['"' + cell.replace('"', '""') + '"' for cell in cells]
    pairs = list(zip(cells, quoted, strict=True))
    minimal = [full if any(mark in cell for mark in special) else cell for cell, full in pairs]
    words = [cell if _NUMBER.fullmatch(cell) or not cell else full for cell, full in pairs]
    return {delimiter.join(row) for row in (minimal, quoted, words)}


def table_rows(path: Path, dialect: Dialect) -> Iterator[tuple[int, list[str]]]:
    """Yield (number of its first line, cells) of each row that is not empty, header included.

    Raises:
        UserError: the file cannot be read.
    """
    lines = text_lines(path)
    if not dialect.quoted:
        rows = ((number, line.split(dialect.delimiter)) for number, line in enumerate(lines, start=1))
    else:
        records = _records(lines, dialect.delimiter)
        rows = (
            (number, _lenient(raw, dialect.delimiter) if cells is None else cells) for number, raw, cells in records
        )
    for number, cells in rows:
        first = number == 1 and len(cells) <= 2 and cells[0].lower().startswith("sep=")
        if (len(cells) > 1 or cells[0].strip()) and not first:
            yield number, cells


def _lenient(raw: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([raw], delimiter=delimiter), [])
    except csv.Error:
        return raw.split(delimiter)


def _records(lines: Iterator[str], delimiter: str) -> Iterator[tuple[int, str, list[str] | None]]:
    """Yield (line number, text, cells) of each record; cells is None if its quotation marks are not those of CSV.

    A quoted cell may hold line ends, so that a record has several lines.
    """
    ahead: deque[str] = deque()
    number = 0
    while True:
        line = ahead.popleft() if ahead else next(lines, None)
        if line is None:
            return
        number += 1
        if '"' not in line:
            yield number, line, line.split(delimiter)
            continue
        record, cells = [line], _strict("\n".join([line]), delimiter)
        while cells == [] and len(record) <= _LONGEST_RECORD:
            following = ahead.popleft() if ahead else next(lines, None)
            if following is None:
                break
            record.append(following)
            cells = _strict("\n".join(record), delimiter)
        if cells:
            yield number, "\n".join(record), cells
            number += len(record) - 1
        else:
            yield number, line, None
            ahead.extendleft(reversed(record[1:]))


def _strict(record: str, delimiter: str) -> list[str] | None:
    """The cells of a record; an empty list if its last cell is still open; None if it is malformed."""
    try:
        return next(csv.reader([record], delimiter=delimiter, strict=True), None)
    except csv.Error as error:
        return [] if "end of data" in str(error) else None
