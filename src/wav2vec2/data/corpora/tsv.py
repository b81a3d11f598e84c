"""Tab-separated tables of corpora: nothing is quoted, a quotation mark is part of the sentence."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from wav2vec2.data.utterance import Rejection
from wav2vec2.errors import UserError


def read_tsv(
    path: Path, needed: Sequence[str], filled: str, columns: Sequence[str] | None = None
) -> Iterator[dict[str, str] | Rejection]:
    """Yield a table's rows by column name; a row that makes no sense becomes a Rejection naming its line.

    Args:
        path: the table; bytes that are not UTF-8 become U+FFFD.
        needed: columns that must be there.
        filled: the column in which no row may be empty.
        columns: names of the columns in order, for a table without a header (further columns may follow); None: the
            first line names them.

    Raises:
        UserError: when the file cannot be read or lacks a column.
    """
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="\n") as lines:
            names = columns or next(lines, "").rstrip("\r\n").split("\t")
            for name in needed:
                if name not in names:
                    raise UserError(f"{path}: its first line names no column '{name}': unpack the corpus again")
            for number, line in enumerate(lines, start=1 if columns else 2):
                if not line.strip():
                    continue
                cells = line.rstrip("\r\n").split("\t")
                row = dict(zip(names, cells, strict=False))
                if len(cells) < len(names) or (len(cells) > len(names) and not columns):
                    problem = f"has {len(cells)} columns instead of {len(names)}"
                elif not row[filled].strip():
                    problem = f"its column '{filled}' is empty"
                else:
                    yield row
                    continue
                message = f"{path}, line {number}: {problem}"
                yield Rejection(f"{path.stem}-{number}", str(path), "bad table row", message)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}): unpack the corpus again") from None
