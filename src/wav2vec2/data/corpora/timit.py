"""TIMIT (LDC93S1): {TRAIN,TEST}/DR{1..8}/SPEAKER/SENTENCE.{WAV,PHN,WRD,TXT}, names in upper or lower case.

Copies without the folders of the dialect regions, {TRAIN,TEST}/SPEAKER, are read too.

The usual protocol of phone recognition leaves out the two SA sentences, which every speaker reads. TRAIN then has 3,696
utterances; 24 speakers of TEST are the core test set (192 utterances), 50 others the development set (400).
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from wav2vec2.audio.recordings import AUDIO_SUFFIXES, walk
from wav2vec2.data.utterance import Rejection, Utterance
from wav2vec2.errors import UserError, quoted
from wav2vec2.input_file import read_text
from wav2vec2.text.phones import fold_phones

TimitLabels = Literal["39", "48", "61", "words"]

_CORE_TEST = (
    "mdab0 mwbt0 felc0 mtas1 mwew0 fpas0 mjmp0 mlnt0 fpkt0 mlll0 mtls0 fjlm0 mbpm0 mklt0 fnlp0 mcmj0 mjdh0 fmgd0 mgrt0 "
    "mnjm0 fdhc0 mjln0 mpam0 fmld0"
)
_DEVELOPMENT = (
    "faks0 fdac1 fjem0 mgwt0 mjar0 mmdb1 mmdm2 mpdf0 fcmh0 fkms0 mbdg0 mbwm0 mcsh0 fadg0 fdms0 fedw0 mgjf0 mglb0 mrtk0 "
    "mtaa0 mtdt0 mthc0 mwjg0 fnmr0 frew0 fsem0 mbns0 mmjr0 mdls0 mdlf0 mdvc0 mers0 fmah0 fdrw0 mrcs0 mrjm4 fcal1 mmwh0 "
    "fjsj0 majc0 mjsw0 mreb0 fgjd0 fjmg0 mroa0 mteb0 mjfc0 mrjr0 fmml0 mrws1"
)
CORE_TEST, DEVELOPMENT = frozenset(_CORE_TEST.split()), frozenset(_DEVELOPMENT.split())
UTTERANCES = {"train": 3_696, "dev": 400, "test": 192}
REST = "test-rest"
"""Split of the other 94 speakers of TEST, who with dev and test make up the complete test set."""

_SPEAKER = re.compile(r"[mf][a-z]{3}\d")
_LICENCE = "TIMIT is licensed (LDC93S1): bring your own copy and name the folder that holds TRAIN and TEST"


def scan_timit(
    root: Path, *, labels: TimitLabels = "39", complete_test: bool = False, language: str = "en"
) -> Iterator[Utterance | Rejection]:
    """Yield TIMIT's utterances in sorted order, not yet opened, with ids SPEAKER_SENTENCE in lower case.

    Args:
        root: the folder that holds TRAIN and TEST, at any depth.
        labels: the kind of transcripts: phones of one of the three sets, separated by spaces, or words.
        complete_test: also yield the speakers of TEST that are in neither set, as split "test-rest".
        language: written into each row.

    Raises:
        UserError: the root is not a folder, or does not hold TIMIT.
    """
    if not root.is_dir():
        raise UserError(f"{root}: is not a folder: {_LICENCE}")
    found = False
    for folder, names in walk(root):
        *_, part, region, speaker = ("", "", *(name.lower() for name in Path(folder).parts[-3:]))
        part, regional = (part, True) if region.startswith("dr") else (region, False)
        if part not in ("train", "test") or not (regional or _SPEAKER.fullmatch(speaker)):
            continue
        found = True
        split = _split(part, speaker)
        if split == REST and not complete_test:
            continue
        row = Utterance("", "", speaker=speaker, split=split, language=language, source="timit")
        yield from _sentences(folder, names, row, labels)
    if not found:
        raise UserError(f"{root}: has no TRAIN/DR1/SPEAKER or TEST/SPEAKER: {_LICENCE}")


def _split(part: str, speaker: str) -> str:
    if part == "train":
        return "train"
    return "test" if speaker in CORE_TEST else "dev" if speaker in DEVELOPMENT else REST


def _sentences(folder: str, names: list[str], row: Utterance, labels: TimitLabels) -> Iterator[Utterance | Rejection]:
    files: dict[str, dict[str, str]] = {}
    for name in names:
        stem, suffix = os.path.splitext(name.lower())
        stem = stem.removesuffix(".wav")  # files converted in place are named SX1.WAV.wav
        kind = "audio" if suffix in AUDIO_SUFFIXES else suffix
        if not stem.startswith(("sa", ".")):
            files.setdefault(stem, {}).setdefault(kind, name)
    for stem, kinds in sorted(files.items()):
        identity = f"{row.speaker}_{stem}"
        path = os.path.join(folder, kinds.get("audio", stem))
        wanted = (".wrd", ".txt") if labels == "words" else (".phn",)
        transcript = next((kinds[kind] for kind in wanted if kind in kinds), None)
        if "audio" not in kinds:
            if transcript is not None:
                message = f"{path}: has a transcript but no audio file: copy TIMIT again"
                yield Rejection(identity, path, "transcript without audio", message)
        elif transcript is None:
            message = f"{path}: has no {wanted[0].upper()} file beside it: copy TIMIT again"
            yield Rejection(identity, path, "audio without transcript", message)
        else:
            try:
                text = _transcript(Path(folder, transcript), labels)
            except (ValueError, UserError) as error:
                yield Rejection(identity, path, "broken labels", f"{Path(folder, transcript)}: {error}")
                continue
            yield Utterance(
                id=identity,
                path=path,
                text=text,
                speaker=row.speaker,
                split=row.split,
                language=row.language,
                source=row.source,
            )


def _transcript(path: Path, labels: TimitLabels) -> str:
    """Read the labels of lines "BEGIN END LABEL" (times in samples). Raises ValueError or UserError with the reason."""
    try:
        lines = read_text(path, encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot be read ({' '.join(str(error).split())}): copy TIMIT again") from None
    found: list[str] = []
    before = 0
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        begin, end, label = (*line.split(maxsplit=2), "", "", "")[:3]
        if not (begin.isdecimal() and end.isdecimal() and label):
            raise ValueError(f"line {number} is not 'begin end label': {quoted(line[:40])}")
        if not before <= int(begin) <= int(end):
            raise ValueError(f"line {number} is out of order: {quoted(line[:40])}")
        before = int(begin)
        found.append(label.strip())
    if not found:
        raise ValueError("is empty: copy TIMIT again")
    return " ".join(found) if labels == "words" else " ".join(fold_phones((name.lower() for name in found), labels))
