"""Multilingual corpora: Multilingual LibriSpeech (MLS), FLEURS and VoxPopuli.

MLS (Pratap et al., Interspeech 2020): mls_LANGUAGE/{train,dev,test} with transcripts.txt, lines "ID<TAB>TEXT". An ID is
SPEAKER_BOOK_NUMBER and its audio is audio/SPEAKER/BOOK/ID.flac (.opus in mls_LANGUAGE_opus). The limited sets are lists
of ids in train/limited_supervised: 1hr/{0..5} and 9hr.

FLEURS (Conneau et al., SLT 2022), or a corpus like it: LANGUAGE/{train,dev,test}.tsv without a header. Columns: id of
the sentence, file name, transcription as written, normalised transcription, ... The audio is LANGUAGE/audio/SPLIT/NAME
or LANGUAGE/SPLIT/NAME. Speakers are unknown.

VoxPopuli (Wang et al., ACL 2021): transcribed_data/LANGUAGE/asr_{train,dev,test}.tsv with the columns id, raw_text,
normalized_text and speaker_id, and LANGUAGE/YEAR/ID.ogg, as its own scripts write them. Its recordings without
transcripts (raw_audios, unlabelled_data) are a plain folder.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from wav2vec2.audio.recordings import audio_names, walk
from wav2vec2.data.corpora.delimited import text_lines
from wav2vec2.data.corpora.download import MLS_LANGUAGES
from wav2vec2.data.corpora.folder import find_audio
from wav2vec2.data.corpora.librilight import hour_folds
from wav2vec2.data.corpora.table import read_tsv
from wav2vec2.data.utterance import Rejection, Utterance
from wav2vec2.errors import UserError

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
    yield from text_lines(path)


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


_VOXPOPULI_COLUMNS = ("id", "raw_text", "normalized_text", "speaker_id")


def scan_voxpopuli(
    root: Path, *, transcription: Transcription = "normalised", language: str = ""
) -> Iterator[Utterance | Rejection]:
    """Yield the rows of each language's tables, not yet opened.

    Args:
        root: a language's folder, or transcribed_data, or the folder above it. Missing splits are skipped.
        transcription: the normalised one (lower case, no punctuation), or the one as written.
        language: written into each row; empty: the folder's name.

    Raises:
        UserError: no language is there, or a table cannot be read.
    """
    folders = voxpopuli_languages(root)
    if not folders:
        remedy = "name the folder transcribed_data that get_asr_data of VoxPopuli has written, or a language in it"
        raise UserError(f"{root}: has no asr_train.tsv, asr_dev.tsv or asr_test.tsv: {remedy}")
    column = "normalized_text" if transcription == "normalised" else "raw_text"
    for folder in folders:
        for split in SPLITS:
            table = folder / f"asr_{split}.tsv"
            for row in read_tsv(table, _VOXPOPULI_COLUMNS, "id") if table.is_file() else ():
                if isinstance(row, Rejection):
                    yield row
                    continue
                speaker = row["speaker_id"].strip()
                yield Utterance(
                    id=row["id"],
                    path=find_audio(str(folder / row["id"][:4] / f"{row['id']}.ogg")),
                    text=row[column],
                    speaker="" if speaker == "None" else speaker,
                    split=split,
                    language=language or folder.name,
                    source="voxpopuli",
                )


def voxpopuli_languages(root: Path) -> list[Path]:
    """Return the folders of VoxPopuli's languages with transcripts, in or below a folder."""
    top = root / "transcribed_data" if (root / "transcribed_data").is_dir() else root
    folders = [top, *sorted(top.iterdir())] if top.is_dir() else []
    return [folder for folder in folders if any((folder / f"asr_{split}.tsv").is_file() for split in SPLITS)]
