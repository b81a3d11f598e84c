"""Common Voice (Ardila et al., LREC 2020), as downloaded, as the Hugging Face hub has it, and its Spontaneous Speech.

As downloaded: LOCALE/{train,dev,test,validated,other,invalidated}.tsv beside LOCALE/clips. Columns used: client_id (the
speaker), path, sentence and, if there is one, locale. The official train, dev and test sets share no speaker; from
every other table, the rows of speakers of dev and test are rejected. A delta release has no train, dev and test.

On the hub: transcript/LOCALE/TABLE.tsv and audio/LOCALE/TABLE/LOCALE_TABLE_0.tar, which are read where they lie.

Spontaneous Speech: ss-corpus-LOCALE.tsv beside audios; its column `split` takes the place of the tables.
"""

import os
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from wav2vec2.audio.recordings import is_audio_name, walk
from wav2vec2.data.corpora.delimited import text_lines
from wav2vec2.data.corpora.folder import find_audio
from wav2vec2.data.corpora.table import read_tsv
from wav2vec2.data.utterance import Rejection, Utterance
from wav2vec2.errors import UserError
from wav2vec2.input_file import refuse_special

HELD_OUT = ("dev", "test")
OFFICIAL = ("train", *HELD_OUT)
_COLUMNS = ("client_id", "path", "sentence")
_SPONTANEOUS_COLUMNS = ("client_id", "audio_file", "transcription", "split")
_SPONTANEOUS = "ss-corpus-"
_LICENCE = (
    "download the language yourself from Common Voice (you accept its terms on its site), unpack it and name the "
    "folder that holds train.tsv and clips, or the one above"
)


@dataclass(frozen=True)
class Language:
    """One language: where its tables are, and the folder of its clips. On the hub, clips are archives by table."""

    name: str
    tables: Path
    clips: Path
    packed: bool = False


def common_voice_languages(root: Path) -> list[Language]:
    """Return the languages of Common Voice in a folder, in any of its layouts but Spontaneous Speech."""
    if not root.is_dir():
        return []
    folders = [root, *sorted(path for path in root.iterdir() if path.is_dir())]
    found = [
        Language(folder.name, folder, folder / "clips")
        for folder in folders
        if (folder / "clips").is_dir() and any(folder.glob("*.tsv"))
    ]
    for top in folders:
        if (top / "transcript").is_dir() and (top / "audio").is_dir():
            found += [
                Language(folder.name, folder, top / "audio" / folder.name, packed=True)
                for folder in sorted((top / "transcript").iterdir())
                if (top / "audio" / folder.name).is_dir() and any(folder.glob("*.tsv"))
            ]
    return found


def spontaneous_tables(root: Path) -> list[Path]:
    """Return the tables of Spontaneous Speech in a folder, or in the folders in it."""
    if not root.is_dir():
        return []
    return sorted(
        path
        for folder in (root, *(path for path in root.iterdir() if path.is_dir()))
        for path in folder.glob(f"{_SPONTANEOUS}*.tsv")
    )


def scan_common_voice(
    root: Path, *, tables: Sequence[str] = OFFICIAL, language: str = ""
) -> Iterator[Utterance | Rejection]:
    """Yield the rows of the tables, not yet opened, with the table's name as split and ids LOCALE/CLIP.

    A clip that is also in an earlier table is skipped (validated.tsv repeats the official three).

    Args:
        root: a language's folder, or one that holds several.
        tables: names of tables, without .tsv; of Spontaneous Speech, the splits.
        language: written into each row; empty: the row's own locale, or else the folder's name.

    Raises:
        UserError: no language is there, or a table is missing.
    """
    if not tables:
        raise UserError("--tables: names no table: give one or more, such as train,dev,test")
    languages = common_voice_languages(root)
    spontaneous = spontaneous_tables(root)
    if not languages and not spontaneous:
        raise UserError(f"{root}: holds no language of Common Voice (*.tsv beside clips): {_LICENCE}")
    for one in languages:
        held_out = _held_out(one.tables) if set(tables) - set(OFFICIAL) else set()
        seen: set[str] = set()
        for table in tables:
            path = one.tables / f"{table}.tsv"
            if not path.is_file():
                raise UserError(_missing(path))
            yield from _rows(one, path, set() if table in HELD_OUT else held_out, seen, language)
    for path in spontaneous:
        yield from _spontaneous_rows(path, tables, language)


def _missing(path: Path) -> str:
    """What to do when a table is not there: name those that are, and are tables of clips."""
    there = sorted(
        file.stem for file in path.parent.glob("*.tsv") if set(_COLUMNS) <= set(next(text_lines(file), "").split("\t"))
    )
    delta = "" if set(there) & set(OFFICIAL) else " (a delta release has no train, dev and test)"
    return f"{path}: is not there{delta}: give --tables of {', '.join(there) or 'none'}, or unpack the language again"


def _rows(
    one: Language, path: Path, held_out: set[str], seen: set[str], language: str
) -> Iterator[Utterance | Rejection]:
    table = path.stem
    packed = _packed_clips(one.clips / table) if one.packed else {}
    for row in read_tsv(path, _COLUMNS, "path"):
        if isinstance(row, Rejection):
            yield row
            continue
        clip, speaker = row["path"].strip(), row["client_id"]
        clip = clip if Path(clip).suffix else f"{clip}.mp3"  # releases before 2019-06 omit the suffix
        if clip in seen:
            continue
        seen.add(clip)
        stem = clip.rpartition(".")[0]
        identity = f"{one.name}/{stem}"
        if speaker in held_out:
            message = f"{path}: {clip} is by a speaker of dev or test, who must not be in {table}"
            yield Rejection(identity, str(one.clips / clip), "speaker held out", message)
            continue
        if one.packed and stem not in packed:
            message = f"{path}: {clip} is in no archive of {one.clips / table}: download it whole"
            yield Rejection(identity, str(one.clips / table), "missing", message)
            continue
        audio, offset, size = packed[stem] if one.packed else (find_audio(str(one.clips / clip)), -1, -1)
        yield Utterance(
            id=identity,
            path=audio,
            offset=offset,
            size=size,
            text=row["sentence"],
            speaker=speaker,
            split=table,
            language=language or row.get("locale") or one.name,
            source="common-voice",
        )


def _held_out(folder: Path) -> set[str]:
    """The speakers of dev and test."""
    tables = [folder / f"{name}.tsv" for name in HELD_OUT]
    rows = (row for path in tables if path.is_file() for row in read_tsv(path, _COLUMNS, "path"))
    return {row["client_id"] for row in rows if not isinstance(row, Rejection)}


def _packed_clips(folder: Path) -> dict[str, tuple[str, int, int]]:
    """Where each clip of a table is: (file, offset, size) by its name without suffix, or (file, -1, -1)."""
    found: dict[str, tuple[str, int, int]] = {}
    for place, names in walk(folder):
        for name in names:
            path = os.path.join(place, name)
            if is_audio_name(name):
                found[os.path.splitext(name)[0]] = (path, -1, -1)
            elif name.endswith(".tar"):
                for clip, offset, size in _members(path):
                    found[os.path.splitext(os.path.basename(clip))[0]] = (path, offset, size)
    return found


def _members(path: str) -> Iterator[tuple[str, int, int]]:
    """Yield (name, offset, size) of the audio files in an archive; only its headers are read."""
    refuse_special(path)
    try:
        with tarfile.open(path, "r:") as archive:
            while (member := archive.next()) is not None:
                if member.isreg() and not member.issparse() and is_audio_name(member.name):
                    yield member.name, member.offset_data, member.size
                archive.members.clear()  # type: ignore[attr-defined]  # tarfile keeps every header it has read
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        why = " ".join(str(error).split())[:80]
        raise UserError(f"{path}: is not a whole tar archive ({why}): download it again") from None


def _spontaneous_rows(path: Path, splits: Sequence[str], language: str) -> Iterator[Utterance | Rejection]:
    locale = path.stem.removeprefix(_SPONTANEOUS)
    for row in read_tsv(path, _SPONTANEOUS_COLUMNS, "audio_file"):
        if isinstance(row, Rejection):
            yield row
        elif row["split"] in splits:
            clip = row["audio_file"].strip()
            yield Utterance(
                id=f"{locale}/{os.path.splitext(clip)[0]}",
                path=find_audio(str(path.parent / "audios" / clip)),
                text=row["transcription"],
                speaker=row["client_id"],
                split=row["split"],
                language=language or locale,
                source="common-voice-spontaneous",
            )
