"""Multilingual LibriSpeech (Pratap et al., Interspeech 2020): mls_LANGUAGE/{train,dev,test} with transcripts.txt.

A line of transcripts.txt is "ID<TAB>TEXT"; its audio is audio/SPEAKER/BOOK/ID.flac (.opus in mls_LANGUAGE_opus), where
the ID is SPEAKER_BOOK_NUMBER. The limited sets are lists of ids in train/limited_supervised: 1hr/{0..5} and 9hr.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from wav2vec2.data.corpora.addresses import MLS_LANGUAGES
from wav2vec2.data.corpora.folder import audio_files, walk
from wav2vec2.data.corpora.limited import FOLDS
from wav2vec2.data.utterance import Rejection, Utterance
from wav2vec2.errors import UserError

SPLITS = ("train", "dev", "test")
MlsTraining = Literal["all", "10m", "1h", "10h"]

_WHAT = "name mls_LANGUAGE with train, dev and test in it, or the folder above, or --download a language"


def scan_mls(
    root: Path, *, training: MlsTraining = "all", fold: int = 0, language: str = ""
) -> Iterator[Utterance | Rejection]:
    """Yield the utterances of each language in the order of its lists, not yet opened.

    Args:
        root: a language's folder, or one that holds several. Splits that are not there are passed over.
        training: all of train, or one of its limited sets (dev and test stay as they are).
        fold: which ten minutes, 0 to 5.
        language: noted in each row; empty: the code of the folder's language.

    Raises:
        UserError: when there is no language, or a list is missing or cannot be read.
    """
    if not 0 <= fold < FOLDS:
        raise UserError(f"--fold {fold}: the ten-minute sets are 0 to {FOLDS - 1}")
    folders = [root, *sorted(root.glob("mls_*"))] if root.is_dir() else []
    folders = [folder for folder in folders if any((folder / split / "transcripts.txt").is_file() for split in SPLITS)]
    if not folders:
        raise UserError(f"{root}: holds no language of MLS: {_WHAT}")
    for folder in folders:
        name = folder.name.removeprefix("mls_").removesuffix("_opus")
        code = language or MLS_LANGUAGES.get(name, name)
        for split in SPLITS:
            if (folder / split / "transcripts.txt").is_file():
                wanted = None if split != "train" or training == "all" else _handles(folder / split, training, fold)
                yield from _utterances(folder, split, wanted, code)


def _utterances(folder: Path, split: str, wanted: set[str] | None, language: str) -> Iterator[Utterance | Rejection]:
    listing = folder / split / "transcripts.txt"
    suffix = _suffix(folder / split / "audio")
    missing = set(wanted or ())
    for number, line in enumerate(_lines(listing), start=1):
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
        message = f"{listing}: has no line for {identity} of limited_supervised"
        yield Rejection(identity, str(listing), "audio without transcript", message)


def _handles(folder: Path, training: MlsTraining, fold: int) -> set[str]:
    """The ids of a limited set."""
    hour = [f"1hr/{number}" for number in range(FOLDS)]
    lists = {"10m": [f"1hr/{fold}"], "1h": hour, "10h": [*hour, "9hr"]}[training]
    paths = [folder / "limited_supervised" / name / "handles.txt" for name in lists]
    return {line.strip() for path in paths for line in _lines(path) if line.strip()}


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="\n") as lines:
            yield from lines
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}): unpack the language whole") from None


def _suffix(audio: Path) -> str:
    """What the audio files end in: that of the first one. A corpus of 10 million files is not looked through."""
    for _, names in walk(audio) if audio.is_dir() else ():
        if files := audio_files(names):
            return Path(files[0]).suffix
    return ".flac"
