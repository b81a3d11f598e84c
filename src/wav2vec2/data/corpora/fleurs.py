"""FLEURS (Conneau et al., SLT 2022) and tables like its own: LANGUAGE/{train,dev,test}.tsv without a header.

Columns: id of the sentence, file name, transcription as written, normalised transcription, ... The audio is
LANGUAGE/audio/SPLIT/NAME.wav, or LANGUAGE/SPLIT/NAME.wav. Who speaks is not told.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from wav2vec2.data.corpora.tsv import read_tsv
from wav2vec2.data.utterance import Rejection, Utterance
from wav2vec2.errors import UserError

SPLITS = ("train", "dev", "test")
Transcription = Literal["normalised", "raw"]

_COLUMNS = ("sentence", "file", "raw", "normalised")


def scan_fleurs(
    root: Path, *, transcription: Transcription = "normalised", language: str = ""
) -> Iterator[Utterance | Rejection]:
    """Yield the rows of each language's tables, not yet opened, with ids LANGUAGE/SPLIT/FILE.

    Args:
        root: a language's folder, or one that holds several. Splits that are not there are passed over.
        transcription: the lower-cased one without punctuation, or the one as written.
        language: noted in each row; empty: the first part of the folder's name (`pl` of pl_pl).

    Raises:
        UserError: when no language is there or a table cannot be read.
    """
    folders = [root, *sorted(root.iterdir())] if root.is_dir() else []
    folders = [folder for folder in folders if any((folder / f"{split}.tsv").is_file() for split in SPLITS)]
    if not folders:
        what = "name LANGUAGE with train.tsv, dev.tsv, test.tsv and audio in it, or the folder above, or --download one"
        raise UserError(f"{root}: holds no language of FLEURS: {what}")
    for folder in folders:
        code = language or folder.name.partition("_")[0]
        for split in SPLITS:
            table = folder / f"{split}.tsv"
            if not table.is_file():
                continue
            audio = folder / "audio" / split
            audio = audio if audio.is_dir() else folder / split
            for row in read_tsv(table, (), "file", _COLUMNS):
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
