"""What lies in a folder of recordings: names, sizes and times. Quick to know, and enough to see what has come since.

The listing is part of what identifies the stage that prepares the recordings, so that it runs again when they change,
and all that follows with it. A copy of it stays beside what the stage wrote, for the next time to compare with.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from wav2vec2.audio.recordings import is_audio_name, walk
from wav2vec2.input_file import parse_json, read_input
from wav2vec2.output_file import writing
from wav2vec2.progress import counted

LISTING_FILE = "listing.json"
_OF_DESKTOPS = ("thumbs.db", "desktop.ini")


@dataclass(frozen=True)
class Listing:
    """files: size in bytes and time of the last change in nanoseconds, by path below the folder."""

    files: Mapping[str, tuple[int, int]]

    @property
    def digest(self) -> str:
        """A hash that changes with any name, size or time."""
        return sha256(json.dumps(sorted(self.files.items())).encode()).hexdigest()[:16]

    def news(self, before: "Listing") -> str:
        """Return what is new, changed or gone since an earlier listing, in words; "" if nothing is."""
        new = self.files.keys() - before.files.keys()
        gone = before.files.keys() - self.files.keys()
        changed = [name for name, about in self.files.items() if before.files.get(name, about) != about]
        recordings = sum(map(is_audio_name, new))
        parts = [counted(recordings, "new recording")] if recordings else []
        parts += [counted(len(new) - recordings, "new file")] if len(new) > recordings else []
        parts += [f"{counted(len(changed), 'file')} changed"] if changed else []
        parts += [f"{counted(len(gone), 'file')} gone"] if gone else []
        return ", ".join(parts)

    def write(self, folder: Path) -> None:
        """Write a copy to a stage's folder."""
        with writing(folder / LISTING_FILE) as temporary:
            Path(temporary).write_text(json.dumps(dict(self.files)), encoding="utf-8")


def list_folder(root: Path, *, audio_only: bool, without: Path) -> Listing:
    """List the files below a folder, or only its recordings; hidden files and the folder `without` are left out."""
    left_out = os.path.abspath(without)
    files: dict[str, tuple[int, int]] = {}
    for folder, names in walk(root):
        if folder == left_out or folder.startswith(left_out + os.sep):
            continue
        for name in names:
            if name.startswith(".") or name.lower() in _OF_DESKTOPS or (audio_only and not is_audio_name(name)):
                continue
            path = os.path.join(folder, name)
            if os.path.exists(path):  # a link to nowhere is told when the recordings are prepared
                status = os.stat(path)
                relative = os.path.relpath(path, os.path.abspath(root)).encode(errors="surrogateescape")
                files[relative.decode(errors="backslashreplace")] = (status.st_size, status.st_mtime_ns)
    return Listing(files)


def read_listing(folder: Path) -> Listing | None:
    """Return the copy in a stage's folder, None if there is none that can be read."""
    try:
        found = parse_json(read_input(folder / LISTING_FILE))
        return Listing({str(name): (int(size), int(changed)) for name, (size, changed) in found.items()})
    except (OSError, ValueError, TypeError, AttributeError):
        return None
