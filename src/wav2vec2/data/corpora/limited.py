"""The limited sets of Libri-light: `librispeech_finetuning` with 1h/{0..5}/{clean,other} and 9h/{clean,other}.

10 minutes are one fold of 1h, one hour its six folds, ten hours 1h and 9h together. Below that it is LibriSpeech:
SPEAKER/CHAPTER/ID.flac beside *.trans.txt.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from wav2vec2.data.corpora.folder import audio_files, walk
from wav2vec2.data.corpora.librispeech import match_transcripts, transcripts_in
from wav2vec2.data.utterance import Rejection, Utterance
from wav2vec2.errors import UserError

LimitedSize = Literal["10m", "1h", "10h"]

FOLDS = 6
FOLDER = "librispeech_finetuning"


def scan_limited(
    root: Path, *, size: LimitedSize = "1h", fold: int = 0, language: str = "en"
) -> Iterator[Utterance | Rejection]:
    """Yield the utterances of one set, all of split "train", of source "limited-10m-0", "limited-1h" or "limited-10h".

    Args:
        root: `librispeech_finetuning`, or the folder above it.
        size: which set.
        fold: which ten minutes, 0 to 5; the others have no folds.
        language: noted in each row.

    Raises:
        UserError: for a fold that does not exist or a folder that is missing.
    """
    if not 0 <= fold < FOLDS:
        raise UserError(f"--fold {fold}: the ten-minute sets are 0 to {FOLDS - 1}")
    top = root / FOLDER if (root / FOLDER).is_dir() else root
    source = f"limited-{size}" + (f"-{fold}" if size == "10m" else "")
    for folder in limited_folders(size, fold):
        for kind in ("clean", "other"):
            if not (top / folder / kind).is_dir():
                what = f"name the folder {FOLDER} of Libri-light, unpacked whole, or --download"
                raise UserError(f"{top / folder / kind}: is not there: {what}")
            for path, names in walk(top / folder / kind):
                speaker = Path(path).parent.name
                yield from match_transcripts(
                    path,
                    audio_files(names),
                    transcripts_in(path, names),
                    Utterance("", "", speaker=speaker, split="train", language=language, source=source),
                )


def limited_folders(size: LimitedSize, fold: int = 0) -> list[str]:
    """The folders that make up a set."""
    hour = [f"1h/{number}" for number in range(FOLDS)]
    return {"10m": [f"1h/{fold}"], "1h": hour, "10h": [*hour, "9h"]}[size]
