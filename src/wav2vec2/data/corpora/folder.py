"""A plain folder of recordings: unlabelled speech."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from wav2vec2.data.utterance import Rejection, Utterance
from wav2vec2.errors import UserError

_SUFFIXES = (
    ".wav .flac .mp3 .ogg .oga .opus .aiff .aif .aifc .au .snd .caf .w64 .rf64 .sph "
    ".m4a .m4b .mp4 .aac .webm .mkv .mka .mov .wma .amr .3gp .ac3"
)
AUDIO_SUFFIXES = frozenset(_SUFFIXES.split())

SpeakerRule = Literal["folder", "prefix", "none"]


def scan_folder(root: Path, *, speaker: SpeakerRule = "folder", language: str = "") -> Iterator[Utterance | Rejection]:
    """Yield every audio file below `root` in sorted order, not yet opened; the id is the relative path without suffix.

    Args:
        root: the folder.
        speaker: who speaks: the first folder below the root ("folder"), the file name up to the first "-" or "_"
            ("prefix"), or nobody known ("none": each file counts as a speaker of its own when splits are made).
        language: noted in each row.

    Raises:
        UserError: when the root is no folder.
    """
    if not root.is_dir():
        raise UserError(f"{root}: is not a folder: name the one that holds the recordings")
    for folder, names in walk(root):
        relative = os.path.relpath(folder, root).replace(os.sep, "/")
        prefix = "" if relative == "." else f"{relative}/"
        for name in audio_files(names):
            who = {"folder": prefix.split("/")[0], "prefix": name.replace("_", "-").split("-")[0], "none": ""}[speaker]
            identity = prefix + os.path.splitext(name)[0]
            yield Utterance(identity, os.path.join(folder, name), speaker=who, language=language, source=root.name)


def walk(root: Path) -> Iterator[tuple[str, list[str]]]:
    """(folder, sorted file names) of `root` and every folder below it, in sorted order; hidden folders are left out.

    Links are followed, but no folder is entered twice: a link to a folder above it would have no end.
    """
    entered: set[tuple[int, int]] = set()
    for folder, below, names in os.walk(os.path.abspath(root), followlinks=True):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in entered:
            below.clear()
            continue
        entered.add((status.st_dev, status.st_ino))
        below[:] = sorted(name for name in below if not name.startswith("."))
        yield folder, sorted(names)


def audio_files(names: list[str]) -> list[str]:
    """Those file names that have an audio file's suffix, in any case."""
    return [name for name in names if os.path.splitext(name)[1].lower() in AUDIO_SUFFIXES and not name.startswith("._")]
