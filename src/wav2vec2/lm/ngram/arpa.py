"""ARPA files, the exchange format of n-gram models: reading and writing.

A header gives the number of n-grams of each order; then each order has a section of lines ``log10 probability, words,
log10 backoff weight``. Files whose names end in ``.gz`` are gzipped. The lines are handled by compiled code
(``arpa_lines``), a few million a second.
"""

import gzip
import mmap
import os
import re
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np
from numpy.typing import NDArray

from wav2vec2.errors import UserError, cause, quoted
from wav2vec2.input_file import open_input
from wav2vec2.lm.ngram.arpa_lines import BAD_FIELD, BAD_NUMBER, UNKNOWN_WORD, Bytes, hash_words, parse_lines, put_lines

_REMEDY = "write it again with wav2vec2 lm ngram or lmplz"
_HEADER_MAX = 1 << 20
_COUNT = re.compile(rb"[0-9]{1,15}")
_PIECE = 1 << 20
_LARGEST_RATIO = 100  # of an unpacked file to the gzipped one: of real ones it is about 4
_NUMBER_BYTES = 24
_LINES = 1 << 15
_POSITIVE = 1e-4  # log10 probabilities from 0 to this are rounding errors of an estimator; above it, the file is wrong


@dataclass(frozen=True)
class ArpaOrder:
    """The n n-grams of one order k."""

    words: NDArray[np.int32]
    """(n, k), as indices into the unigrams."""
    log10_probability: NDArray[np.float32]
    """(n,)."""
    log10_backoff: NDArray[np.float32]
    """(n,); 0 if the file gives none."""

    def with_word(self, word: int, log10_probability: float) -> "ArpaOrder":
        """Return these unigrams with one more word."""
        return ArpaOrder(
            np.append(self.words, np.array([[word]], np.int32), axis=0),
            np.append(self.log10_probability, np.float32(log10_probability)),
            np.append(self.log10_backoff, np.float32(0)),
        )


def read_arpa(path: Path) -> tuple[list[str], list[ArpaOrder]]:
    """Read an ARPA file: the words of the unigrams in the file's order, and the n-grams of every order.

    Raises:
        UserError: the file is missing, not an ARPA file, malformed (the message names the line) or cut short.
    """
    data = _contents(path)
    counts, position = _read_header(path, data)
    words: list[str] = []
    orders: list[ArpaOrder] = []
    table: tuple[NDArray[np.int32], Bytes, NDArray[np.int64]] | None = None
    for order, count in enumerate(counts, start=1):
        position = _expect(path, data, position, f"\\{order}-grams:")
        if order == 1:
            words, unigrams, position = _read_unigrams(path, data, position, count)
            orders.append(unigrams)
            continue
        if table is None:
            encoded = [word.encode() for word in words]
            offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
            letters = np.frombuffer(b"".join(encoded), np.uint8)
            table = hash_words(letters, offsets), letters, offsets
        read = ArpaOrder(np.empty((count, order), np.int32), np.empty(count, np.float32), np.zeros(count, np.float32))
        status, rows, position = parse_lines(
            data, position, *table, read.words, read.log10_probability, read.log10_backoff
        )
        if rows < count:
            _refuse_line(path, data, position, status, order, rows, count)
        _check_values(path, order, read)
        orders.append(read)
    _expect(path, data, position, "\\end\\")
    return words, orders


def _contents(path: Path) -> Bytes:
    try:
        if path.suffix == ".gz":
            with open_input(path) as raw, gzip.GzipFile(fileobj=raw) as unpacked:
                most = _LARGEST_RATIO * os.fstat(raw.fileno()).st_size + (1 << 20)
                content = bytearray()
                while piece := unpacked.read(_PIECE):
                    content += piece
                    if len(content) > most:
                        raise UserError(f"{path}: unpacks to more than {_LARGEST_RATIO} times its size; {_REMEDY}")
                return np.frombuffer(content, np.uint8)
        with open_input(path) as file:
            if not file.seek(0, 2):
                raise UserError(f"{path}: is empty; {_REMEDY}")
            return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path}: is cut short or not a gzip file ({cause(error)}); {_REMEDY}") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}); give an ARPA file") from error


def _line(data: Bytes, position: int) -> tuple[bytes, int]:
    """Return the line at ``position``, without its line end, and where the next line begins."""
    size = 256
    while True:
        piece = data[position : position + size].tobytes()
        end = piece.find(b"\n")
        if end >= 0:
            return piece[:end].rstrip(b"\r"), position + end + 1
        if len(piece) < size:
            return piece.rstrip(b"\r"), len(data)
        size *= 4


def _read_header(path: Path, data: Bytes) -> tuple[list[int], int]:
    """Return the number of n-grams of each order, and where the text after the header begins."""
    head = data[:_HEADER_MAX].tobytes()
    found = head.find(b"\\data\\")
    if found < 0 or (found > 0 and head[found - 1 : found] != b"\n"):
        raise UserError(f"{path}: is not an ARPA file (it has no \\data\\ line); {_REMEDY}")
    _, position = _line(data, found)
    counts: list[int] = []
    while position < len(data):
        line, following = _line(data, position)
        text = line.strip()
        if text.startswith(b"\\"):
            break
        position = following
        if not text:
            continue
        name, equals, number = text.partition(b"=")
        fields = name.split()
        if fields != [b"ngram", str(len(counts) + 1).encode()] or not equals or not _COUNT.fullmatch(number.strip()):
            raise UserError(f"{path}: has {_shown(line)} instead of 'ngram {len(counts) + 1}=number'; {_REMEDY}")
        counts.append(int(number))
    if not counts:
        raise UserError(f"{path}: has no line 'ngram 1=number' after \\data\\; {_REMEDY}")
    if sum(counts) * 4 > len(data):  # an n-gram has at least a digit, a separator, a word and a line end
        raise UserError(f"{path}: is cut short: its header promises {sum(counts)} n-grams; copy or {_REMEDY}")
    return counts, position


def _expect(path: Path, data: Bytes, position: int, heading: str) -> int:
    """Skip blank lines and a heading; return where the next line begins."""
    while position < len(data):
        line, following = _line(data, position)
        if line.strip():
            if line.strip() == heading.encode():
                return following
            raise UserError(
                f"{path}:{_line_number(data, position)}: has {_shown(line)} instead of {heading}; {_REMEDY}"
            )
        position = following
    raise UserError(f"{path}: is cut short before {heading}; copy or {_REMEDY}")


def _read_unigrams(path: Path, data: Bytes, position: int, count: int) -> tuple[list[str], ArpaOrder, int]:
    words: list[str] = []
    values = np.zeros((count, 2), np.float64)
    for row in range(count):
        line, following = _line(data, position)
        fields = line.split()
        try:
            if len(fields) not in (2, 3):
                raise ValueError
            words.append(fields[1].decode())
            values[row, 0], values[row, 1] = float(fields[0]), float(fields[2]) if len(fields) == 3 else 0.0
        except ValueError:
            _refuse_line(path, data, position, BAD_FIELD, 1, row, count)
        position = following
    if len(set(words)) < count:
        twice = next(word for word, times in Counter(words).items() if times > 1)
        raise UserError(f"{path}: has the word {quoted(twice)} twice among the 1-grams; {_REMEDY}")
    with np.errstate(over="ignore"):  # a number beyond float32 is refused below
        probabilities, backoffs = values.astype(np.float32).T.copy()
    unigrams = ArpaOrder(np.arange(count, dtype=np.int32)[:, None], probabilities, backoffs)
    _check_values(path, 1, unigrams)
    return words, unigrams, position


def _check_values(path: Path, order: int, ngrams: ArpaOrder) -> None:
    p, backoff = ngrams.log10_probability, ngrams.log10_backoff
    if not np.all(p <= _POSITIVE):
        raise UserError(f"{path}: has a {order}-gram whose probability is above 1 or not a number; {_REMEDY}")
    if not np.all(backoff < np.inf):
        raise UserError(f"{path}: has a {order}-gram whose backoff weight is infinite or not a number; {_REMEDY}")


def _refuse_line(path: Path, data: Bytes, position: int, status: int, order: int, rows: int, count: int) -> None:
    line, _ = _line(data, position)
    if position >= len(data):
        raise UserError(f"{path}: is cut short at {order}-gram {rows + 1} of {count}; copy or {_REMEDY}")
    reason = {BAD_NUMBER: "has a malformed number", UNKNOWN_WORD: "has a word that is not among the 1-grams"}.get(
        status, f"is not a {order}-gram with its log10 probability"
    )
    raise UserError(
        f"{path}:{_line_number(data, position)}: {_shown(line)}, {order}-gram {rows + 1} of {count}, {reason}; "
        f"{_REMEDY}"
    )


def _line_number(data: Bytes, position: int) -> int:
    return 1 + int(np.count_nonzero(data[:position] == ord("\n")))


def _shown(line: bytes) -> str:
    text = line[:80].decode(errors="replace")
    return repr(text + "..." if len(line) > 80 else text)


class ArpaWriter:
    """Writes an ARPA file section by section; a context manager that writes the end mark and closes the file.

    Args:
        file: the file to write; it is closed on leaving, with the end mark unless there was an exception.
        words: the words by number, number 1 first.
        counts: the number of n-grams of each order; the sections must follow in this order.
    """

    def __init__(self, file: IO[bytes], words: Sequence[str], counts: Sequence[int]) -> None:
        self._file = file
        encoded = [word.encode() for word in words]
        self._offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
        self._letters = np.frombuffer(b"".join(encoded), np.uint8)
        self._longest = int(np.diff(self._offsets).max(initial=0))
        head = "".join(f"ngram {order}={count}\n" for order, count in enumerate(counts, start=1))
        file.write(b"\\data\\\n" + head.encode())

    def section(self, order: int) -> None:
        """Begin the section of an order."""
        self._file.write(f"\n\\{order}-grams:\n".encode())

    def lines(
        self, words: NDArray[np.int32], log_probability: NDArray[np.float64], backoff: NDArray[np.float64] | None
    ) -> None:
        """Write n-grams: words (n, k) by number, first word first; log10 probability and log10 backoff weight (n,)."""
        backoff = np.empty(0) if backoff is None else backoff
        log_probability = np.minimum(log_probability, 0.0)
        line_bytes = words.shape[1] * (self._longest + 1) + 2 * _NUMBER_BYTES
        size = max(1, min(_LINES, (1 << 24) // line_bytes))
        out = np.empty(size * line_bytes, np.uint8)
        for first in range(0, len(words), size):
            part = slice(first, first + size)
            end = put_lines(
                out,
                np.ascontiguousarray(words[part]),
                log_probability[part],
                backoff[part],
                self._letters,
                self._offsets,
            )
            self._file.write(out[:end].tobytes())

    def __enter__(self) -> "ArpaWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            if kind is None:
                self._file.write(b"\n\\end\\\n")
