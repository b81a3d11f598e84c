"""A plain folder of recordings: unlabelled speech."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from wav2vec2.audio.recordings import recordings_below
from wav2vec2.data.utterance import Rejection, Utterance
from wav2vec2.errors import UserError

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
    for path in recordings_below(root):
        relative = path.relative_to(root)
        who = {
            "folder": relative.parts[0] if len(relative.parts) > 1 else "",
            "prefix": path.name.replace("_", "-").split("-")[0],
            "none": "",
        }[speaker]
        identity = relative.with_suffix("").as_posix()
        yield Utterance(identity, os.path.abspath(path), speaker=who, language=language, source=root.name)
