"""AISHELL-1 and TED-LIUM of openslr.org, and other recordings with transcripts in NIST's .stm format.

AISHELL-1: data_aishell/wav/{train,dev,test}/SPEAKER/ID.wav and data_aishell/transcript/aishell_transcript_v0.8.txt,
lines "ID WORD WORD ...".

TED-LIUM: {train,dev,test}/stm/TALK.stm and sph/TALK.sph (below legacy in release 3). A line of an .stm file is
"RECORDING CHANNEL SPEAKER BEGIN END <LABELS> TEXT", with times in seconds.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.audio.recordings import audio_names, walk
from wav2vec2.data.corpora.delimited import text_lines
from wav2vec2.data.corpora.folder import find_audio
from wav2vec2.data.utterance import Rejection, Utterance
from wav2vec2.errors import UserError

SPLITS = ("train", "dev", "test")
AISHELL_TRANSCRIPT = Path("transcript", "aishell_transcript_v0.8.txt")
_UNSCORED = "ignore_time_segment_in_scoring"
_AUDIO_FOLDERS = (".", "../sph", "../wav", "../audio", "../flac", "../wavs", "..")


def scan_aishell(root: Path, *, spaces: bool = False, language: str = "zh") -> Iterator[Utterance | Rejection]:
    """Yield the utterances of AISHELL-1, not yet opened.

    Args:
        root: data_aishell, or the folder above it.
        spaces: keep the spaces between words, which Chinese is not written with.
        language: written into each row.

    Raises:
        UserError: the transcript or the recordings are not there.
    """
    top = next((path for path in (root, root / "data_aishell") if (path / AISHELL_TRANSCRIPT).is_file()), None)
    if top is None:
        raise UserError(f"{root}: has no {AISHELL_TRANSCRIPT}: name the folder data_aishell of AISHELL-1")
    texts = dict(line.split(maxsplit=1) for line in text_lines(top / AISHELL_TRANSCRIPT) if len(line.split()) > 1)
    recorded: set[str] = set()
    for split in SPLITS:
        for folder, names in walk(top / "wav" / split):
            for name in audio_names(names):
                identity, path = os.path.splitext(name)[0], os.path.join(folder, name)
                recorded.add(identity)
                if identity not in texts:
                    message = f"{path}: has no line in {AISHELL_TRANSCRIPT.name}"
                    yield Rejection(identity, path, "audio without transcript", message)
                    continue
                text = texts[identity] if spaces else "".join(texts[identity].split())
                speaker = Path(folder).name
                yield Utterance(
                    identity, path, text=text, speaker=speaker, split=split, language=language, source="aishell"
                )
    if not recorded:
        raise UserError(f"{top / 'wav'}: holds no recordings: unpack the archives (S0002.tar.gz, ...) in it")
    for identity in sorted(texts.keys() - recorded):
        message = f"{top / 'wav'}: has no recording {identity}, which the transcript has"
        yield Rejection(identity, str(top / "wav"), "transcript without audio", message)


def scan_stm(root: Path, *, language: str = "") -> Iterator[Utterance | Rejection]:
    """Yield the segments of every .stm file below a folder, not yet opened, with ids RECORDING-BEGIN-END in samples.

    The split is the folder named train, dev or test, if there is one. Segments that are not to be scored are left out.

    Raises:
        UserError: there is no .stm file, or one cannot be read.
    """
    legacy = root / "legacy"
    files = [root] if root.suffix == ".stm" else stm_files(legacy if legacy.is_dir() else root)
    if not files:
        raise UserError(f"{root}: holds no .stm file: name the folder of TED-LIUM that holds train, dev and test")
    for path in files:
        parts = [part for part in path.parent.absolute().parts if part in SPLITS]
        split = parts[-1] if parts else ""
        source = "ted-lium" if path.parent.name == "stm" else root.stem
        audio: dict[str, str] = {}
        for number, line in enumerate(text_lines(path), start=1):
            if line.strip() and not line.startswith(";;"):
                yield from _stm_line(path, number, line, audio, Utterance("", "", split=split, source=source), language)


def stm_files(root: Path) -> list[Path]:
    """Return the .stm files below a folder."""
    return [Path(folder, name) for folder, names in walk(root) for name in names if name.endswith(".stm")]


def _stm_line(
    path: Path, number: int, line: str, audio: dict[str, str], row: Utterance, language: str
) -> Iterator[Utterance | Rejection]:
    name, _, speaker, begin, end, text = (*line.split(maxsplit=5), "", "", "", "", "", "")[:6]
    if text.startswith("<") and ">" in text:
        label, _, rest = text.partition(">")
        text = rest if " " not in label else text
    try:
        first, last = (round(float(time) * SAMPLE_RATE) for time in (begin, end))
        if not 0 <= first < last:
            raise ValueError
    except (ValueError, OverflowError):
        message = f"{path}, line {number}: is not 'RECORDING CHANNEL SPEAKER BEGIN END <LABELS> TEXT'"
        yield Rejection(f"{path.stem}-{number}", str(path), "bad table row", message)
        return
    if text.strip() in (_UNSCORED, ""):
        return
    if name not in audio:
        places = [find_audio(os.path.abspath(path.parent / below / f"{name}.sph")) for below in _AUDIO_FOLDERS]
        audio[name] = next((place for place in places if os.path.exists(place)), places[0])
    yield Utterance(
        id=f"{name}-{first}-{last}",
        path=audio[name],
        start=first,
        samples=last - first,
        text=text.strip(),
        speaker=speaker,
        split=row.split,
        language=language,
        source=row.source,
    )
