"""Libri-light (Kahn et al., ICASSP 2020): unlabelled audio books, and the limited-supervision sets.

The audio books are SUBSET/SPEAKER/BOOK/*.flac, one file per chapter, each beside a .json. Its `voice_activity` lists
the stretches of speech that the corpus's authors found. They are joined into pieces of up to the target length, as the
corpus's own cut_by_vad does. But a piece is a row of the manifest and nothing is copied, so it is one span of the
recording, short pauses included. A long pause ends a piece.

The limited sets are `librispeech_finetuning`: 1h/{0..5}/{clean,other} and 9h/{clean,other}, below which it is
LibriSpeech, SPEAKER/CHAPTER/ID.flac beside *.trans.txt. Ten minutes are one fold of 1h, one hour is its six folds, ten
hours are 1h and 9h together.
"""

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from wav2vec2.audio.encoded_file import AudioError
from wav2vec2.audio.read import SAMPLE_RATE, audio_info
from wav2vec2.audio.recordings import audio_names, walk
from wav2vec2.data.corpora.librispeech import match_transcripts, transcripts_in
from wav2vec2.data.utterance import Rejection, Utterance
from wav2vec2.errors import UserError, quoted
from wav2vec2.input_file import parse_json, read_input

SUBSETS = ("small", "medium", "large")
LONG_PAUSE = 1.0
"""Seconds without speech that end a piece, unless the piece or the next stretch of speech is shorter than this."""

LimitedSize = Literal["10min", "1h", "10h"]
FOLDS = 6
LIMITED_FOLDER = "librispeech_finetuning"


def scan_librilight(
    root: Path, *, target_seconds: float = 30.0, subsets: Sequence[str] = (), language: str = "en"
) -> Iterator[Utterance | Rejection]:
    """Yield the pieces of every chapter in sorted order, with ids SPEAKER/BOOK/CHAPTER_0000, ...

    Args:
        root: the folder that holds small, medium and large, or one of them.
        target_seconds: stretches of speech are joined up to this length; a longer stretch is a piece of its own, as in
            cut_by_vad.
        subsets: read only these; empty: all that are there.
        language: written into each row.

    Raises:
        UserError: the root or a subset is not there, or nothing in it looks like Libri-light.
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

    A span ends before the stretch that would make it longer than `target`, and at a pause longer than `LONG_PAUSE`,
    unless the span or the next stretch is shorter than that: a lone word is better joined than left alone.
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
        message = f"{path}: lacks {stem}.json, which lists its stretches of speech: unpack the archive again"
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
        yield Rejection(identity, str(path), "no speech", f"{path}: its metadata lists no stretch of speech")
    for number, (begin, end) in enumerate(voice_pieces(activity, target)):
        first, last = round(begin * SAMPLE_RATE), min(round(end * SAMPLE_RATE), length)
        piece = f"{identity}_{number:04d}"
        if last <= first:
            message = f"{path}: ends before the speech that its metadata lists at {begin:g} s: copy it again"
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
    """Read (speaker, stretches of speech in seconds). Raises ValueError, with the reason, if the file is malformed."""
    try:
        content: Any = parse_json(read_input(path))
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from None
    except UserError as error:
        raise ValueError(str(error)) from None
    except ValueError:
        raise ValueError("is not JSON: unpack the archive again") from None
    if not isinstance(content, dict) or not isinstance(content.get("voice_activity"), list):
        raise ValueError("has no list 'voice_activity': unpack the archive again")
    stretches: list[tuple[float, float]] = []
    for entry in content["voice_activity"]:
        begin, end = entry if isinstance(entry, list) and len(entry) == 2 else (None, None)
        if not (isinstance(begin, int | float) and isinstance(end, int | float) and math.isfinite(begin + end)):
            raise ValueError(f"its voice_activity has {quoted(str(entry)[:60])} instead of a pair of seconds")
        if not (stretches[-1][1] if stretches else 0.0) <= begin < end:
            raise ValueError(f"its voice_activity is out of order at {begin:g}-{end:g} s")
        stretches.append((float(begin), float(end)))
    return str(content.get("speaker") or ""), stretches


def scan_limited(
    root: Path, *, size: LimitedSize = "1h", fold: int = 0, language: str = "en"
) -> Iterator[Utterance | Rejection]:
    """Yield the utterances of a limited set, all of split "train", not yet opened.

    Their source is "limited-10min-0" to "limited-10min-5", "limited-1h" or "limited-10h".

    Args:
        root: `librispeech_finetuning`, or the folder above it.
        size: the set.
        fold: the fold of ten minutes, 0 to 5; the larger sets have no folds.
        language: written into each row.

    Raises:
        UserError: there is no such fold, or a folder is missing.
    """
    folders = [f"1h/{number}" for number in hour_folds(size, fold)] + (["9h"] if size == "10h" else [])
    top = root / LIMITED_FOLDER if (root / LIMITED_FOLDER).is_dir() else root
    source = f"limited-{size}" + (f"-{fold}" if size == "10min" else "")
    for folder in folders:
        for kind in ("clean", "other"):
            if not (top / folder / kind).is_dir():
                remedy = f"name the folder {LIMITED_FOLDER} of Libri-light, unpacked whole, or --download"
                raise UserError(f"{top / folder / kind}: is not there: {remedy}")
            for path, names in walk(top / folder / kind):
                row = Utterance("", "", speaker=Path(path).parent.name, split="train", language=language, source=source)
                yield from match_transcripts(path, audio_names(names), transcripts_in(path, names), row)


def hour_folds(size: LimitedSize, fold: int) -> list[int]:
    """Return the folds of the one-hour set that belong to a limited set: all six, or `fold` alone for ten minutes.

    Raises:
        UserError: there is no such fold.
    """
    if not 0 <= fold < FOLDS:
        raise UserError(f"--fold {fold}: the ten-minute sets are 0 to {FOLDS - 1}")
    return [fold] if size == "10min" else list(range(FOLDS))
