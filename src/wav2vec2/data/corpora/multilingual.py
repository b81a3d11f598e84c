"""Multilingual corpora: Common Voice, Multilingual LibriSpeech (MLS) and FLEURS.

Common Voice (Ardila et al., LREC 2020): LOCALE/{train,dev,test,validated,other,invalidated}.tsv beside LOCALE/clips.
Columns used: client_id (the speaker), path, sentence and, if there is one, locale. The official train, dev and test
sets share no speaker; from every other table, the rows of speakers of dev and test are rejected.

MLS (Pratap et al., Interspeech 2020): mls_LANGUAGE/{train,dev,test} with transcripts.txt, lines "ID<TAB>TEXT". An ID is
SPEAKER_BOOK_NUMBER and its audio is audio/SPEAKER/BOOK/ID.flac (.opus in mls_LANGUAGE_opus). The limited sets are lists
of ids in train/limited_supervised: 1hr/{0..5} and 9hr.

FLEURS (Conneau et al., SLT 2022), or a corpus like it: LANGUAGE/{train,dev,test}.tsv without a header. Columns: id of
the sentence, file name, transcription as written, normalised transcription, ... The audio is LANGUAGE/audio/SPLIT/NAME
or LANGUAGE/SPLIT/NAME. Speakers are unknown.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from wav2vec2.audio.recordings import audio_names, walk
from wav2vec2.data.corpora.download import MLS_LANGUAGES
from wav2vec2.data.corpora.librilight import hour_folds
from wav2vec2.data.corpora.table import read_tsv
from wav2vec2.data.utterance import Rejection, Utterance
from wav2vec2.errors import UserError

HELD_OUT = ("dev", "test")
OFFICIAL = ("train", *HELD_OUT)
_CV_COLUMNS = ("client_id", "path", "sentence")
_CV_LICENCE = (
    "download the language yourself from Common Voice (you accept its terms on its site), unpack it and name the "
    "folder that holds train.tsv and clips, or the one above"
)


def scan_common_voice(
    root: Path, *, tables: Sequence[str] = OFFICIAL, language: str = ""
) -> Iterator[Utterance | Rejection]:
    """Yield the rows of the tables, not yet opened, with the table's name as split and ids LOCALE/CLIP.

    A clip that is also in an earlier table is skipped (validated.tsv repeats the official three).

    Args:
        root: a language's folder, or one that holds several.
        tables: names of tables, without .tsv.
        language: written into each row; empty: the row's own locale, or else the folder's name.

    Raises:
        UserError: no language is there, or a table is missing.
    """
    for folder in _cv_languages(root, tables):
        held_out = _cv_held_out(folder) if set(tables) - set(OFFICIAL) else set()
        seen: set[str] = set()
        for table in tables:
            path = folder / f"{table}.tsv"
            if not path.is_file():
                there = ", ".join(sorted(file.stem for file in folder.glob("*.tsv")))
                raise UserError(f"{path}: is not there: give --tables of {there}, or unpack the language again")
            yield from _cv_rows(folder, path, table, set() if table in HELD_OUT else held_out, seen, language)


def _cv_rows(
    folder: Path, path: Path, table: str, held_out: set[str], seen: set[str], language: str
) -> Iterator[Utterance | Rejection]:
    for row in read_tsv(path, _CV_COLUMNS, "path"):
        if isinstance(row, Rejection):
            yield row
            continue
        clip, speaker = row["path"].strip(), row["client_id"]
        clip = clip if Path(clip).suffix else f"{clip}.mp3"  # releases before 2019-06 omit the suffix
        if clip in seen:
            continue
        seen.add(clip)
        identity = f"{folder.name}/{clip.rpartition('.')[0]}"
        if speaker in held_out:
            message = f"{path}: {clip} is by a speaker of dev or test, who must not be in {table}"
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


def _cv_languages(root: Path, tables: Sequence[str]) -> list[Path]:
    if not tables:
        raise UserError("--tables: names no table: give one or more, such as train,dev,test")
    folders = [root, *sorted(root.iterdir())] if root.is_dir() else []
    found = [folder for folder in folders if (folder / "clips").is_dir() and any(folder.glob("*.tsv"))]
    if not found:
        raise UserError(f"{root}: holds no language of Common Voice (*.tsv beside clips): {_CV_LICENCE}")
    return found


def _cv_held_out(folder: Path) -> set[str]:
    """The speakers of dev and test."""
    tables = [folder / f"{name}.tsv" for name in HELD_OUT]
    rows = (row for path in tables if path.is_file() for row in read_tsv(path, _CV_COLUMNS, "path"))
    return {row["client_id"] for row in rows if not isinstance(row, Rejection)}


SPLITS = ("train", "dev", "test")
MlsTraining = Literal["all", "10min", "1h", "10h"]

_MLS_REMEDY = "name mls_LANGUAGE with train, dev and test in it, or the folder above, or --download a language"


def scan_mls(
    root: Path, *, training: MlsTraining = "all", fold: int = 0, language: str = ""
) -> Iterator[Utterance | Rejection]:
    """Yield the utterances of each language in the order of its lists, not yet opened.

    Args:
        root: a language's folder, or one that holds several. Missing splits are skipped.
        training: all of train, or one of its limited sets; dev and test are always whole.
        fold: the fold of ten minutes, 0 to 5.
        language: written into each row; empty: the code of the folder's language.

    Raises:
        UserError: no language is there, there is no such fold, or a list is missing or cannot be read.
    """
    lists = [f"1hr/{number}" for number in hour_folds("1h" if training == "all" else training, fold)]
    lists += ["9hr"] if training == "10h" else []
    folders = [root, *sorted(root.glob("mls_*"))] if root.is_dir() else []
    folders = [folder for folder in folders if any((folder / split / "transcripts.txt").is_file() for split in SPLITS)]
    if not folders:
        raise UserError(f"{root}: holds no language of MLS: {_MLS_REMEDY}")
    for folder in folders:
        name = folder.name.removeprefix("mls_").removesuffix("_opus")
        code = language or MLS_LANGUAGES.get(name, name)
        for split in SPLITS:
            if (folder / split / "transcripts.txt").is_file():
                wanted = None if split != "train" or training == "all" else _mls_handles(folder / split, lists)
                yield from _mls_utterances(folder, split, wanted, code)


def _mls_utterances(
    folder: Path, split: str, wanted: set[str] | None, language: str
) -> Iterator[Utterance | Rejection]:
    listing = folder / split / "transcripts.txt"
    suffix = _mls_suffix(folder / split / "audio")
    missing = set(wanted or ())
    for number, line in enumerate(_mls_lines(listing), start=1):
        identity, tab, text = line.rstrip("\r\n").partition("\t")
        speaker, book, rest = (*identity.split("_"), "", "", "")[:3]
        if not (tab and speaker and book and rest):
            if line.strip():
                message = f"{listing}, line {number}: is not 'SPEAKER_BOOK_NUMBER<TAB>TEXT'"
                yield Rejection(f"{split}-{number}", str(listing), "bad table row", message)
            continue
        if wanted is not None and identity not in wanted:
            continue
        missing.discard(identity)
        yield Utterance(
            id=identity,
            path=str(folder / split / "audio" / speaker / book / f"{identity}{suffix}"),
            text=text,
            speaker=speaker,
            split=split,
            language=language,
            source=folder.name,
        )
    for identity in sorted(missing):
        message = f"{listing}: has no line for {identity}, which limited_supervised lists"
        yield Rejection(identity, str(listing), "audio without transcript", message)


def _mls_handles(folder: Path, lists: Sequence[str]) -> set[str]:
    """The ids in some of the lists of limited_supervised."""
    paths = [folder / "limited_supervised" / name / "handles.txt" for name in lists]
    return {line.strip() for path in paths for line in _mls_lines(path) if line.strip()}


def _mls_lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="\n") as lines:
            yield from lines
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}): unpack the language whole") from None


def _mls_suffix(audio: Path) -> str:
    """The suffix of the first audio file below a folder; all audio files have the same."""
    for _, names in walk(audio) if audio.is_dir() else ():
        if files := audio_names(names):
            return Path(files[0]).suffix
    return ".flac"


Transcription = Literal["normalised", "raw"]

_FLEURS_COLUMNS = ("sentence", "file", "raw", "normalised")


def scan_fleurs(
    root: Path, *, transcription: Transcription = "normalised", language: str = ""
) -> Iterator[Utterance | Rejection]:
    """Yield the rows of each language's tables, not yet opened, with ids LANGUAGE/SPLIT/FILE.

    Args:
        root: a language's folder, or one that holds several. Missing splits are skipped.
        transcription: the normalised one (lower case, no punctuation), or the one as written.
        language: written into each row; empty: the first part of the folder's name (`pl` of pl_pl).

    Raises:
        UserError: no language is there, or a table cannot be read.
    """
    folders = [root, *sorted(root.iterdir())] if root.is_dir() else []
    folders = [folder for folder in folders if any((folder / f"{split}.tsv").is_file() for split in SPLITS)]
    if not folders:
        remedy = "name a folder with train.tsv, dev.tsv, test.tsv and audio in it, or the one above, or --download one"
        raise UserError(f"{root}: holds no language of FLEURS: {remedy}")
    for folder in folders:
        code = language or folder.name.partition("_")[0]
        for split in SPLITS:
            table = folder / f"{split}.tsv"
            if not table.is_file():
                continue
            audio = folder / "audio" / split
            audio = audio if audio.is_dir() else folder / split
            for row in read_tsv(table, (), "file", _FLEURS_COLUMNS):
                if isinstance(row, Rejection):
                    yield row
                    continue
                yield Utterance(
                    id=f"{folder.name}/{split}/{Path(row['file']).stem}",
                    path=str(audio / row["file"]),
                    text=row[transcription],
                    split=split,
                    language=code,
                    source="fleurs",
                )
