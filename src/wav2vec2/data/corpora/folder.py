"""A plain folder of recordings without transcripts."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from wav2vec2.audio.recordings import recordings_below
from wav2vec2.data.utterance import Rejection, Utterance
from wav2vec2.errors import UserError

SpeakerRule = Literal["folder", "prefix", "none"]


def scan_folder(root: Path, *, speaker: SpeakerRule = "folder", language: str = "") -> Iterator[Utterance | Rejection]:
    """Yield every audio file below `root`, not yet opened; its id is the relative path without suffix.

    Args:
        root: the folder.
        speaker: where the speaker's name is: the first folder below the root ("folder"), the file's name up to the
            first "-" or "_" ("prefix"), or nowhere ("none": each file then counts as a separate speaker in splits).
        language: written into each row.

    Raises:
        UserError: the root is not a folder.
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
