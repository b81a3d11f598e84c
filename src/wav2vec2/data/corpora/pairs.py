"""Recordings with a file of text each: a.wav with a.txt (or .lab), or with subtitles (a.srt, a.vtt).

The text lies beside the recording, or in a folder beside its own: wavs/x/a.wav and txt/x/a.txt. A .txt or .lab is the
transcript of the whole recording; each cue of subtitles becomes a piece of it.
"""

import os
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.audio.recordings import is_audio_name, walk
from wav2vec2.data.corpora.delimited import text_lines
from wav2vec2.data.corpora.folder import SpeakerRule, speaker_of
from wav2vec2.data.utterance import Rejection, Utterance
from wav2vec2.errors import UserError

TextKind = Literal["auto", "txt", "lab", "srt", "vtt"]
TEXT_SUFFIXES = (".srt", ".vtt", ".txt", ".lab")
"""Suffixes of transcripts, the best first: subtitles say when each sentence is spoken."""

_LONGEST_TEXT = 1 << 20  # characters of one transcript
_TIME = r"(?:(\d+):)?(\d{1,2}):(\d{1,2})[,.](\d{1,3})"
_CUE = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}")
_MARKUP = re.compile(r"</?[a-zA-Z][^<>]*>|\{\\[^{}]*\}|<\d[\d:.]*>")
_ABOUT = re.compile(r"(readme|licen[cs]e|changelog|notes?|about)\b.*", re.IGNORECASE)
Key = tuple[str, ...]


def scan_pairs(
    root: Path, *, text: TextKind = "auto", speaker: SpeakerRule = "folder", language: str = ""
) -> Iterator[Utterance | Rejection]:
    """Yield every recording below `root` that has a text, not yet opened; unmatched files are Rejections.

    Args:
        root: the folder.
        text: which kind of file has the transcripts; "auto": the first of `TEXT_SUFFIXES` that a recording has.
        speaker: where the speaker's name is, as in `scan_folder`.
        language: written into each row.

    Raises:
        UserError: the root is not a folder, or no recording in it has a text.
    """
    if not root.is_dir():
        raise UserError(f"{root}: is not a folder: name the one that holds the recordings and their texts")
    wanted = TEXT_SUFFIXES if text == "auto" else (f".{text}",)
    recordings, texts = _files(root, wanted)
    nearby: dict[Key, list[Path]] = defaultdict(list)
    for key, paths in texts.items():
        for rest in _without_a_folder(key):
            nearby[rest] += paths
    used: set[Path] = set()
    for path in recordings:
        key = _key(path, root)
        found = _matching(key, texts, nearby, wanted)
        used |= set(found)
        row = Utterance("/".join(key), str(path), language=language, source=root.name)
        if len(found) == 1:
            yield from _rows(replace(row, speaker=speaker_of(path, root, speaker)), found[0])
        else:
            where = f"several files may be its text, such as {found[0]}" if found else "no file of text of that name"
            yield Rejection(row.id, row.path, "audio without transcript", f"{path}: {where}: give it one of its own")
    if not used:
        kinds = ", ".join(wanted)
        raise UserError(f"{root}: no recording has a text of its own name ({kinds}): try 'prepare auto' or 'folder'")
    folders = {path.parent for path in used}
    for path in sorted(path for paths in texts.values() for path in paths):
        family = {path.with_suffix(other) for other in TEXT_SUFFIXES}  # a.txt beside an a.srt that was used
        if path.parent in folders and not _ABOUT.fullmatch(path.name) and used.isdisjoint({path} | family):
            yield Rejection(path.stem, str(path), "transcript without audio", f"{path}: has no recording")


def _files(root: Path, wanted: tuple[str, ...]) -> tuple[list[Path], dict[Key, list[Path]]]:
    recordings: list[Path] = []
    texts: dict[Key, list[Path]] = defaultdict(list)
    for folder, names in walk(root):
        inside = root.absolute() / os.path.relpath(folder, os.path.abspath(root))
        for name in names:
            path = Path(os.path.normpath(inside / name))
            if is_audio_name(name):
                recordings.append(path)
            elif path.suffix.lower() in wanted and not name.startswith("._"):
                texts[_key(path, root)].append(path)
    return recordings, texts


def _key(path: Path, root: Path) -> Key:
    return path.relative_to(Path(os.path.abspath(root))).with_suffix("").parts


def _without_a_folder(key: Key) -> set[Key]:
    return {key[:number] + key[number + 1 :] for number in range(len(key) - 1)}


def _matching(
    key: Key, texts: dict[Key, list[Path]], nearby: dict[Key, list[Path]], wanted: tuple[str, ...]
) -> list[Path]:
    """The texts of a recording: beside it, or else in another folder at one place of its path, or one level away."""
    found = texts.get(key) or [path for rest in sorted(_without_a_folder(key)) for path in nearby.get(rest, [])]
    if not found:
        found = nearby.get(key) or [path for rest in sorted(_without_a_folder(key)) for path in texts.get(rest, [])]
    best = min((wanted.index(path.suffix.lower()) for path in found), default=0)
    return sorted({path for path in found if path.suffix.lower() == wanted[best]})


def _rows(row: Utterance, text: Path) -> Iterator[Utterance | Rejection]:
    try:
        if text.suffix.lower() in (".srt", ".vtt"):
            yield from _cues(row, text)
        else:
            yield replace(row, text=read_transcript(text))
    except UserError as error:
        yield Rejection(row.id, row.path, "bad transcript", str(error))


def read_transcript(path: Path) -> str:
    """Return the text of a file, with its lines joined. Raises UserError if it cannot be read, or is a book."""
    lines: list[str] = []
    size = 0
    for line in text_lines(path):
        lines.append(line.strip())
        size += len(line)
        if size > _LONGEST_TEXT:
            raise UserError(f"{path}: is longer than a million characters: cut recording and text into pieces")
    return " ".join(line for line in lines if line)


def _cues(row: Utterance, path: Path) -> Iterator[Utterance | Rejection]:
    """Yield a piece for each cue of an .srt or .vtt file."""
    span: tuple[int, int] | None = None
    words: list[str] = []
    cues = 0
    for line in [*text_lines(path), ""]:
        if timing := _CUE.match(line):
            span, words = (_samples(timing.groups()[:4]), _samples(timing.groups()[4:])), []
        elif line.strip() and span:
            words.append(_MARKUP.sub("", line).strip())
        elif span:
            text = " ".join(word for word in words if word)
            cues += 1
            piece = f"{row.id}-{span[0]}-{span[1]}"
            if span[1] <= span[0]:
                yield Rejection(piece, row.path, "bad transcript", f"{path}: cue {cues} ends before it begins")
            elif text:
                yield replace(row, id=piece, start=span[0], samples=span[1] - span[0], text=text)
            span = None
    if not cues:
        raise UserError(f"{path}: holds no cue such as 00:00:01,000 --> 00:00:02,500: correct or remove it")


def _samples(parts: tuple[str | None, ...]) -> int:
    hours, minutes, seconds, fraction = (part or "0" for part in parts)
    whole = int(hours[:6]) * 3600 + int(minutes) * 60 + int(seconds)
    return round((whole + int(fraction.ljust(3, "0")) / 1000) * SAMPLE_RATE)
