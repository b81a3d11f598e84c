"""Common Voice (Ardila et al., LREC 2020): LOCALE/{train,dev,test,validated,other,invalidated}.tsv beside LOCALE/clips.

Columns used: client_id (the speaker), path, sentence and, where there is one, locale. The official train, dev and test
share no speaker; here that holds for every other table too: rows of a speaker of dev or test are refused elsewhere.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from wav2vec2.data.corpora.tsv import read_tsv
from wav2vec2.data.utterance import Rejection, Utterance
from wav2vec2.errors import UserError

HELD_OUT = ("dev", "test")
OFFICIAL = ("train", *HELD_OUT)
_COLUMNS = ("client_id", "path", "sentence")
_LICENCE = (
    "download the language from Common Voice yourself (its terms are accepted on its site), unpack it and name the "
    "folder that holds train.tsv and clips, or the one above"
)


def scan_common_voice(
    root: Path, *, tables: Sequence[str] = OFFICIAL, language: str = ""
) -> Iterator[Utterance | Rejection]:
    """Yield the rows of the tables, not yet opened, with the table's name as split and ids LOCALE/CLIP.

    A clip that an earlier table had is passed over (validated.tsv repeats the official three).

    Args:
        root: a language's folder, or one that holds several.
        tables: names of tables without .tsv.
        language: noted in each row; empty: the row's own locale, or else the folder's name.

    Raises:
        UserError: when no language or a table is not there.
    """
    for folder in _languages(root, tables):
        held_out = _speakers(folder) if set(tables) - set(OFFICIAL) else set()
        seen: set[str] = set()
        for table in tables:
            path = folder / f"{table}.tsv"
            if not path.is_file():
                there = ", ".join(sorted(file.stem for file in folder.glob("*.tsv")))
                raise UserError(f"{path}: is not there: give --tables of {there}, or unpack the language again")
            yield from _rows(folder, path, table, set() if table in HELD_OUT else held_out, seen, language)


def _rows(
    folder: Path, path: Path, table: str, held_out: set[str], seen: set[str], language: str
) -> Iterator[Utterance | Rejection]:
    for row in read_tsv(path, _COLUMNS, "path"):
        if isinstance(row, Rejection):
            yield row
            continue
        clip, speaker = row["path"].strip(), row["client_id"]
        clip = clip if Path(clip).suffix else f"{clip}.mp3"  # releases before 2019-06 leave it out
        if clip in seen:
            continue
        seen.add(clip)
        identity = f"{folder.name}/{clip.rpartition('.')[0]}"
        if speaker in held_out:
            message = f"{path}: {clip} is by a speaker of dev or test and would spoil {table}"
            yield Rejection(identity, str(folder / "clips" / clip), "speaker held out", message)
            continue
        yield Utterance(
            id=identity,
            path=str(folder / "clips" / clip),
            text=row["sentence"],
            speaker=speaker,
            split=table,
            language=language or row.get("locale") or folder.name,
            source="common-voice",
        )


def _languages(root: Path, tables: Sequence[str]) -> list[Path]:
    if not tables:
        raise UserError("--tables: names no table: give train,dev,test or some of them")
    folders = [root, *sorted(root.iterdir())] if root.is_dir() else []
    found = [folder for folder in folders if (folder / "clips").is_dir() and any(folder.glob("*.tsv"))]
    if not found:
        raise UserError(f"{root}: holds no language of Common Voice (*.tsv beside clips): {_LICENCE}")
    return found


def _speakers(folder: Path) -> set[str]:
    """The speakers of dev and test."""
    tables = [folder / f"{name}.tsv" for name in HELD_OUT]
    rows = (row for path in tables if path.is_file() for row in read_tsv(path, _COLUMNS, "path"))
    return {row["client_id"] for row in rows if not isinstance(row, Rejection)}
