"""Corpora made for speech synthesis, whose transcripts are given as written and normalised (numbers spelled out).

LJSpeech, M-AILABS, CSS10 and those in their format: a table without a header whose cells are separated by pipes,
metadata.csv (ID|raw|normalised beside wavs/ID.wav) or transcript.txt (PATH|raw|normalised|seconds). M-AILABS has one
in every LANGUAGE/by_book/{female,male}/SPEAKER/BOOK.

LibriTTS: SPLIT/SPEAKER/CHAPTER/ID.wav beside ID.normalized.txt and ID.original.txt, or SPEAKER_CHAPTER.trans.tsv.

VCTK: wav48_silence_trimmed/SPEAKER/SPEAKER_NNN_mic1.flac (wav48/SPEAKER/SPEAKER_NNN.wav before release 0.92), and
txt/SPEAKER/SPEAKER_NNN.txt.
"""

import itertools
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from wav2vec2.audio.recordings import audio_names, is_audio_name, walk
from wav2vec2.data.corpora.columns import PATH_NAMES
from wav2vec2.data.corpora.delimited import Dialect, dialect_of, table_rows, text_lines
from wav2vec2.data.corpora.folder import find_audio
from wav2vec2.data.corpora.librispeech import split_and_speaker
from wav2vec2.data.corpora.pairs import read_transcript
from wav2vec2.data.corpora.table import TableOptions, scan_table
from wav2vec2.data.utterance import Rejection, Utterance
from wav2vec2.errors import UserError

Spelling = Literal["normalised", "raw"]
Microphone = Literal["mic1", "mic2", "both"]

PIPE_TABLE = re.compile(r"(metadata([_-]\w+)?|transcript)\.(csv|txt)", re.IGNORECASE)
"""Names of tables separated by pipes."""
_PART = re.compile(r"metadata[_-](train|val|valid|dev|test|eval)\.", re.IGNORECASE)
_AUDIO_FOLDERS = ("", "wavs", "wav", "audio", "clips")
_LOCALE = re.compile(r"([a-z]{2})_[A-Z]{2}")
_SAMPLE = 200  # rows that tell which columns hold sentences


def scan_pipes(root: Path, *, text: Spelling = "normalised", language: str = "") -> Iterator[Utterance | Rejection]:
    """Yield the rows of every metadata.csv or transcript.txt below a folder, not yet opened.

    The speaker is the folder below by_book/female or by_book/male, or the table's own column, or unknown; the split is
    the part of the name after metadata_, if any.

    Args:
        root: the folder, or one such table.
        text: the normalised transcription, or the one as written.
        language: written into each row; empty: that of a folder such as de_DE.

    Raises:
        UserError: no such table is there, or one cannot be read.
    """
    tables = [root] if root.is_file() else pipe_tables(root)
    if not tables:
        raise UserError(f"{root}: holds no metadata.csv or transcript.txt with pipes (ID|TEXT): name another folder")
    top = root.parent if root.is_file() else root
    for table in tables:
        yield from _pipe_rows(table, top, text, language)


def pipe_tables(root: Path) -> list[Path]:
    """Return the tables below a folder that have the name and the pipes of LJSpeech's or CSS10's."""
    found: list[Path] = []
    for folder, names in walk(root):
        tables = [name for name in names if PIPE_TABLE.fullmatch(name)]
        parts = [
            name for name in tables if _PART.search(name)
        ]  # metadata_train.csv and _val.csv are parts of metadata.csv
        found += [Path(folder, name) for name in parts or tables]
    return [path for path in found if "|" in next(text_lines(path), "")]


def _pipe_rows(table: Path, root: Path, text: Spelling, language: str) -> Iterator[Utterance | Rejection]:
    relative = Path(os.path.relpath(table, root)).parent
    locale = next((match[1] for name in table.absolute().parts if (match := _LOCALE.fullmatch(name))), "")
    split = {"val": "valid"}.get(name := table.stem.lower().partition("metadata_")[2], name)
    dialect = Dialect("|", dialect_of(table, "|").quoted)
    rows = table_rows(table, dialect)
    sample = list(itertools.islice(rows, _SAMPLE))
    heads = {"".join(char for char in cell.lower() if char.isalnum()) for cell in (sample[0][1] if sample else [])}
    if heads & PATH_NAMES:  # a header, as Coqui writes it
        yield from scan_table(table, language=language or locale, options=TableOptions(split=split))
        return
    path_at, speaker_at, raw_at, normal_at = _roles([cells for _, cells in sample])
    for number, cells in itertools.chain(sample, rows):
        name = cells[path_at].strip() if path_at < len(cells) else ""
        chosen = normal_at if text == "normalised" and normal_at < len(cells) and cells[normal_at].strip() else raw_at
        if not name or chosen >= len(cells):
            message = f"{table}, line {number}: is not 'ID|TEXT' or 'ID|TEXT|NORMALISED'"
            yield Rejection(f"{table.stem}-{number}", str(table), "bad table row", message)
            continue
        stem = os.path.splitext(name)[0] if is_audio_name(name) else name
        yield Utterance(
            id=(relative / stem).as_posix(),
            path=_located(table.parent, name),
            text=cells[chosen],
            speaker=cells[speaker_at].strip() if 0 <= speaker_at < len(cells) else _book_speaker(table),
            split=split,
            language=language or locale,
            source=root.name,
        )


def _roles(rows: Sequence[list[str]]) -> tuple[int, int, int, int]:
    """Return the places of path, speaker (-1: none), raw and normalised text, judged by some rows."""
    width = max((len(cells) for cells in rows), default=0)
    named = [sum(is_audio_name(cells[at].strip()) for cells in rows if at < len(cells)) for at in range(width)]
    path = max(range(width), key=lambda at: (named[at], -at), default=0)
    spoken = [sum(" " in cells[at].strip() for cells in rows if at < len(cells)) for at in range(width)]
    others = [at for at in range(width) if at != path]
    sentences = [at for at in others if spoken[at] * 2 > len(rows)]
    if not sentences:  # a script without spaces: the usual order
        raw = others[0] if others else 1
        return path, -1, raw, others[1] if len(others) > 1 else raw
    speakers = [at for at in others if at not in sentences and at < 3]
    raw, normal = sentences[0], sentences[1] if len(sentences) > 1 else sentences[0]
    single = len(sentences) == 1 and speakers
    if single and any(not cells[at].strip() for at in speakers for cells in rows if at < len(cells)):
        single = False  # an empty cell is a text that was not normalised
    return path, speakers[0] if single else -1, raw, normal


def _book_speaker(table: Path) -> str:
    """The speaker in by_book/{female,male}/SPEAKER/BOOK/metadata.csv; books of by_book/mix have several."""
    parts = table.absolute().parts
    if "by_book" in parts[:-3]:
        at = parts.index("by_book")
        if parts[at + 1] in ("female", "male"):
            return parts[at + 2]
    return ""


def _located(folder: Path, name: str) -> str:
    places = [os.path.abspath(folder / below / name) for below in _AUDIO_FOLDERS]
    found = (find_audio(place) for place in places)
    return next((path for path in found if os.path.exists(path)), places[1 if "/" not in name else 0])


def scan_libritts(
    root: Path, *, text: Spelling = "normalised", language: str = "en"
) -> Iterator[Utterance | Rejection]:
    """Yield the utterances of LibriTTS or LibriTTS-R, not yet opened; splits and speakers as in LibriSpeech.

    Raises:
        UserError: the root is not a folder, or holds no text of LibriTTS.
    """
    if not root.is_dir():
        raise UserError(f"{root}: is not a folder: name the one that holds train-clean-100, dev-clean, ...")
    ending = ".normalized.txt" if text == "normalised" else ".original.txt"
    found = False
    for folder, names in walk(root):
        split, speaker = split_and_speaker(os.path.relpath(folder, root))
        listed = {name for name in names if name.endswith(ending)}
        texts: dict[str, str] = {}
        for name in names:
            if name.endswith(".trans.tsv"):
                cells = (line.split("\t") for line in text_lines(Path(folder, name)))
                texts |= {row[0]: row[2 if text == "normalised" else 1] for row in cells if len(row) > 2}
        found = found or bool(listed or texts)
        for name in audio_names(names):
            stem, path = os.path.splitext(name)[0], os.path.join(folder, name)
            row = Utterance(stem, path, text=texts.get(stem), speaker=speaker, split=split, language=language)
            if stem + ending in listed or row.text is None:
                yield _with_text(replace(row, source=root.name), Path(folder, stem + ending))
            else:
                yield replace(row, source=root.name)
    if not found:
        raise UserError(f"{root}: has no *{ending} beside recordings: name a folder of LibriTTS or LibriTTS-R")


def scan_vctk(root: Path, *, microphone: Microphone = "mic1", language: str = "en") -> Iterator[Utterance | Rejection]:
    """Yield the utterances of VCTK, not yet opened, with ids p225_001 (p225_001_mic2 for the second microphone).

    Raises:
        UserError: the root does not hold txt and wav48_silence_trimmed (or wav48).
    """
    audio = next((root / name for name in ("wav48_silence_trimmed", "wav48") if (root / name).is_dir()), None)
    if audio is None or not (root / "txt").is_dir():
        raise UserError(f"{root}: has no folders txt and wav48_silence_trimmed: name the folder VCTK-Corpus-0.92")
    for folder, names in walk(audio):
        for name in audio_names(names):
            stem = os.path.splitext(name)[0]
            said, mic = stem.removesuffix("_mic1").removesuffix("_mic2"), stem[-4:]
            if mic in ("mic1", "mic2") and microphone not in (mic, "both"):
                continue
            path, speaker = os.path.join(folder, name), said.split("_")[0]
            identity = stem if mic == "mic2" else said
            row = Utterance(identity, path, speaker=speaker, language=language, source="vctk")
            yield _with_text(row, root / "txt" / speaker / f"{said}.txt")


def _with_text(row: Utterance, transcript: Path) -> Utterance | Rejection:
    """The row with the text of a file, or a Rejection if there is none."""
    if not transcript.is_file():
        return Rejection(row.id, row.path, "audio without transcript", f"{row.path}: has no text in {transcript}")
    try:
        return replace(row, text=read_transcript(transcript))
    except UserError as error:
        return Rejection(row.id, row.path, "bad transcript", str(error))
