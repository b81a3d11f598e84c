"""Libri-light (Kahn et al., ICASSP 2020): SUBSET/SPEAKER/BOOK/*.flac, chapters of audio books, each beside a .json.

The .json holds `voice_activity`, the stretches of speech that the corpus's authors found. They are joined to pieces of
about the wanted length, as the corpus's own cut_by_vad does; but a piece here is one span of the recording, with the
short pauses left in, because nothing is copied: a piece is a row of the manifest. A long pause ends a piece.
"""

import json
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from wav2vec2.audio.read import SAMPLE_RATE, AudioError, audio_info
from wav2vec2.audio.recordings import audio_names, walk
from wav2vec2.data.corpora.librispeech import match_transcripts, transcripts_in
from wav2vec2.data.utterance import Rejection, Utterance
from wav2vec2.errors import UserError

SUBSETS = ("small", "medium", "large")
LONG_PAUSE = 1.0
"""Seconds without speech that end a piece, if the piece is not shorter than this itself."""


def scan_librilight(
    root: Path, *, target_seconds: float = 30.0, subsets: Sequence[str] = (), language: str = "en"
) -> Iterator[Utterance | Rejection]:
    """Yield pieces of every chapter in sorted order, with ids SPEAKER/BOOK/CHAPTER_0000, ...

    Args:
        root: the folder that holds small, medium and large, or one of them.
        target_seconds: a piece grows while it stays within this; a single longer stretch of speech is a piece of its
            own, as in cut_by_vad.
        subsets: read these alone; empty: whatever is there.
        language: noted in each row.

    Raises:
        UserError: when the root or a subset is not there, or nothing in it looks like Libri-light.
    """
    folders = [root / subset for subset in subsets] or [root]
    found = False
    for top in folders:
        if not top.is_dir():
            raise UserError(f"{top}: is not a folder: name the one that holds small, medium or large, or --download it")
        for folder, names in walk(top):
            chapters = {os.path.splitext(name)[0]: name for name in audio_names(names)}
            metadata = {name.removesuffix(".json") for name in names if name.endswith(".json")}
            found = found or bool(chapters.keys() & metadata)
            for stem in sorted(metadata - chapters.keys()):
                message = f"{folder}/{stem}.json: has no recording beside it: unpack the archive again"
                yield Rejection(f"{folder}/{stem}", folder, "metadata without audio", message)
            for stem, name in chapters.items():
                yield from _pieces(root, Path(folder), name, stem in metadata, target_seconds, language)
    if not found:
        raise UserError(f"{root}: has no SPEAKER/BOOK/*.flac with .json beside them: is it a folder of Libri-light?")


def voice_pieces(activity: Sequence[tuple[float, float]], target: float) -> list[tuple[float, float]]:
    """Join stretches of speech, (begin, end) in seconds and in order, to spans of at most `target` seconds.

    A span ends before the stretch that would make it longer than `target`, and at a pause over `LONG_PAUSE` unless
    the span or the stretch is shorter than that: a lone word is better joined than kept alone.
    """
    pieces: list[tuple[float, float]] = []
    for begin, end in activity:
        if pieces:
            first, last = pieces[-1]
            short = min(end - begin, last - first) < LONG_PAUSE
            if end - first <= target and (begin - last <= LONG_PAUSE or short):
                pieces[-1] = (first, end)
                continue
        pieces.append((begin, end))
    return pieces


def _pieces(
    root: Path, folder: Path, name: str, described: bool, target: float, language: str
) -> Iterator[Utterance | Rejection]:
    path, stem = folder / name, os.path.splitext(name)[0]
    identity = f"{folder.parent.name}/{folder.name}/{stem}"
    if not described:
        message = f"{path}: no {stem}.json beside it says where speech is: unpack the archive again"
        yield Rejection(identity, str(path), "audio without metadata", message)
        return
    try:
        speaker, activity = _metadata(folder / f"{stem}.json")
        length = audio_info(path).samples
    except AudioError as error:
        yield Rejection(identity, str(path), error.reason, str(error))
        return
    except ValueError as error:
        yield Rejection(identity, str(path), "broken metadata", f"{folder / stem}.json: {error}")
        return
    relative = os.path.relpath(folder, root).split(os.sep)
    source = relative[0] if relative[0] in SUBSETS else root.name
    if not activity:
        yield Rejection(identity, str(path), "no speech", f"{path}: its metadata names no stretch of speech")
    for number, (begin, end) in enumerate(voice_pieces(activity, target)):
        first, last = round(begin * SAMPLE_RATE), min(round(end * SAMPLE_RATE), length)
        piece = f"{identity}_{number:04d}"
        if last <= first:
            message = f"{path}: is over before the speech that its metadata names at {begin:g} s: copy it again"
            yield Rejection(piece, str(path), "cut short", message)
            continue
        yield Utterance(
            id=piece,
            path=str(path),
            start=first,
            samples=last - first,
            speaker=speaker or folder.parent.name,
            language=language,
            source=source,
        )


def _metadata(path: Path) -> tuple[str, list[tuple[float, float]]]:
    """(speaker, stretches of speech in seconds). Raises ValueError, saying what is wrong, for anything else."""
    try:
        content: Any = json.loads(path.read_bytes())
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from None
    except ValueError:
        raise ValueError("is not JSON: unpack the archive again") from None
    if not isinstance(content, dict) or not isinstance(content.get("voice_activity"), list):
        raise ValueError("has no list 'voice_activity': unpack the archive again")
    stretches: list[tuple[float, float]] = []
    for entry in content["voice_activity"]:
        begin, end = entry if isinstance(entry, list) and len(entry) == 2 else (None, None)
        if not (isinstance(begin, int | float) and isinstance(end, int | float) and math.isfinite(begin + end)):
            raise ValueError(f"its voice_activity has {str(entry)[:60]!r} where a pair of seconds belongs")
        if not (stretches[-1][1] if stretches else 0.0) <= begin < end:
            raise ValueError(f"its voice_activity is out of order at {begin:g}-{end:g} s")
        stretches.append((float(begin), float(end)))
    return str(content.get("speaker") or ""), stretches


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
                    audio_names(names),
                    transcripts_in(path, names),
                    Utterance("", "", speaker=speaker, split="train", language=language, source=source),
                )


def limited_folders(size: LimitedSize, fold: int = 0) -> list[str]:
    """The folders that make up a set."""
    hour = [f"1h/{number}" for number in range(FOLDS)]
    return {"10m": [f"1h/{fold}"], "1h": hour, "10h": [*hour, "9h"]}[size]
