"""LibriSpeech trees: SPLIT/SPEAKER/CHAPTER/SPEAKER-CHAPTER-UTTERANCE.flac beside SPEAKER-CHAPTER.trans.txt.

The audio may have any format. The split is the first folder under the root; without split folders (SPEAKER/CHAPTER
directly below the root) `prepare` splits by speaker, as for any other source.
"""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from wav2vec2.audio.recordings import audio_names, walk
from wav2vec2.data.utterance import Rejection, Utterance
from wav2vec2.errors import UserError
from wav2vec2.input_file import MOST_LINES, read_text

TRANSCRIPT_SUFFIX = ".trans.txt"


def scan_librispeech(root: Path, *, language: str = "") -> Iterator[Utterance | Rejection]:
    """Yield the tree's utterances in sorted order, not yet opened; one without audio or transcript is a Rejection.

    Raises:
        UserError: the root is not a folder.
    """
    if not root.is_dir():
        raise UserError(f"{root}: is not a folder: name the one that holds train-clean-100, dev-clean, ...")
    for folder, names in walk(root):
        split, speaker = split_and_speaker(os.path.relpath(folder, root))
        row = Utterance("", "", speaker=speaker, split=split, language=language, source=root.name)
        yield from match_transcripts(folder, audio_names(names), transcripts_in(folder, names), row)


def transcripts_in(folder: str, names: list[str]) -> dict[str, str]:
    """Read the transcripts, by utterance id, of every *.trans.txt among the files `names` of a folder."""
    transcripts: dict[str, str] = {}
    for name in names:
        if name.endswith(TRANSCRIPT_SUFFIX):
            transcripts |= read_transcripts(Path(folder, name))
    return transcripts


def read_transcripts(path: Path) -> dict[str, str]:
    """Read transcripts, by utterance id, from lines "ID WORDS ..."; bytes that are not UTF-8 become U+FFFD.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        lines = read_text(path, encoding="utf-8-sig", errors="replace", most=MOST_LINES).split("\n")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}): check its permissions") from None
    parts = (line.strip().partition(" ") for line in lines if line.strip())
    return {identity: text for identity, _, text in parts}


def match_transcripts(
    folder: str, names: list[str], transcripts: dict[str, str], row: Utterance
) -> Iterator[Utterance | Rejection]:
    """Yield `row` with the id, path and transcript of each audio file; an unmatched file or text is a Rejection."""
    recorded: set[str] = set()
    for name in names:
        identity = os.path.splitext(name)[0]
        path = os.path.join(folder, name)
        recorded.add(identity)
        if identity in transcripts:
            yield replace(row, id=identity, path=path, text=transcripts[identity])
        else:
            message = f"{path}: no *{TRANSCRIPT_SUFFIX} file beside it has a line for {identity}"
            yield Rejection(identity, path, "audio without transcript", message)
    for identity in sorted(transcripts.keys() - recorded):
        message = f"{folder}: has a transcript but no audio file for {identity}"
        yield Rejection(identity, folder, "transcript without audio", message)


def split_and_speaker(relative: str) -> tuple[str, str]:
    """Return split and speaker of SPLIT/SPEAKER/CHAPTER. SPEAKER/CHAPTER and SPEAKER have no split, "." has neither."""
    parts = [] if relative == "." else relative.split(os.sep)
    if len(parts) >= 3:
        return parts[0], parts[-2]
    return "", parts[0] if parts else ""
