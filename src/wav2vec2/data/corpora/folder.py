"""A plain folder of recordings without transcripts, and finding a recording under another suffix than its name's."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from wav2vec2.audio.recordings import AUDIO_SUFFIXES, recordings_below
from wav2vec2.data.utterance import Rejection, Utterance
from wav2vec2.errors import UserError

SpeakerRule = Literal["folder", "prefix", "none"]

_COMMON = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".WAV", ".FLAC")
# Folders that corpora have between the root and their speakers, in lower case.
_BETWEEN = (
    "wav wavs wav16 wav48 wav48_silence_trimmed flac mp3 ogg opus sph m4a audio audios clips clip data raw recordings "
    "sound sounds speech train dev test valid validation val eval legacy speaker-adaptation"
)
_NOT_SPEAKERS = frozenset(_BETWEEN.split())
_NO_SPEAKERS = ("raw_audios", "unlabelled_data", "transcribed_data")  # VoxPopuli: below are languages and years


def find_audio(path: str) -> str:
    """Return the path if a file is there or it is a URL; else that of an audio file of the same name, if there is one.

    Tables outlive a conversion: they say `clip.mp3` where the folder has `clip.wav`, or give no suffix at all.
    """
    if "://" in path or "\0" in path or os.path.exists(path):
        return path
    if "\\" in path:  # a table written on Windows
        path = path.replace("\\", "/")
        if os.path.exists(path):
            return path
    if not os.path.isdir(os.path.dirname(path)):  # spares the look-ups below where a corpus is not mounted
        return path
    stem, suffix = os.path.splitext(path)
    stems = [stem] if suffix.lower() in AUDIO_SUFFIXES else [path]
    return next((stem + other for stem in stems for other in _COMMON if os.path.exists(stem + other)), path)


def scan_folder(root: Path, *, speaker: SpeakerRule = "folder", language: str = "") -> Iterator[Utterance | Rejection]:
    """Yield every audio file below `root`, not yet opened; its id is the relative path without suffix.

    Args:
        root: the folder.
        speaker: where the speaker's name is: the first folder below the root that is not named wav48, train, audio or
            the like ("folder"), the file's name up to the first "-" or "_" ("prefix"), or nowhere ("none": each file
            then counts as a separate speaker in splits).
        language: written into each row.

    Raises:
        UserError: the root is not a folder.
    """
    if not root.is_dir():
        raise UserError(f"{root}: is not a folder: name the one that holds the recordings")
    for path in recordings_below(root):
        relative = path.relative_to(root)
        who = speaker_of(path, root, speaker)
        identity = relative.with_suffix("").as_posix()
        yield Utterance(identity, os.path.abspath(path), speaker=who, language=language, source=root.name)


def speaker_of(path: Path, root: Path, rule: SpeakerRule) -> str:
    """Return the name of the speaker of a file below `root`, or "" if it is not known; see `scan_folder`."""
    relative = path.relative_to(root)
    if rule == "prefix":
        return path.name.replace("_", "-").split("-")[0]
    if rule == "none" or any(name in root.absolute().parts or name in relative.parts for name in _NO_SPEAKERS):
        return ""
    return next((name for name in relative.parts[:-1] if name.lower() not in _NOT_SPEAKERS), "")
