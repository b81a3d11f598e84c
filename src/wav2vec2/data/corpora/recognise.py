"""Which layout a folder has: the command that reads it, and by which files it is known.

A corpus or a toolkit's format is known by names that nothing else has. Only where there is none do the general layouts
count: a table of paths, recordings with a text each, recordings alone.
"""

import itertools
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from wav2vec2.audio.recordings import is_audio_name, walk
from wav2vec2.data.corpora.columns import Columns
from wav2vec2.data.corpora.common_voice import common_voice_languages, spontaneous_tables
from wav2vec2.data.corpora.delimited import dialect_of, table_rows, text_lines
from wav2vec2.data.corpora.huggingface import METADATA, parquet_files
from wav2vec2.data.corpora.multilingual import voxpopuli_languages
from wav2vec2.data.corpora.openslr import AISHELL_TRANSCRIPT
from wav2vec2.data.corpora.pairs import TEXT_SUFFIXES
from wav2vec2.data.corpora.toolkits import lhotse_files
from wav2vec2.data.corpora.tts import PIPE_TABLE
from wav2vec2.errors import UserError

_MOST_FILES = 100_000
_TIMIT = re.compile(r"(^|/)(train|test)/(dr\d/)?[mf][a-z]{3}\d/[^/]+\.phn$", re.IGNORECASE)
_LIMITED = re.compile(r"(^|/)(1h/\d|9h)/(clean|other)/")
_TABLE = re.compile(r"\.(csv|tsv|jsonl|ndjson|json)(\.gz)?$")
_SPLITS = ("train", "dev", "test")

LOOKED_FOR = (
    "LibriSpeech, Libri-light and its limited sets, TIMIT, Common Voice, MLS, FLEURS, VoxPopuli, AISHELL-1, TED-LIUM "
    "(.stm), LibriTTS, VCTK, LJSpeech/M-AILABS/CSS10, Hugging Face (metadata.csv, Parquet), Kaldi, lhotse, fairseq, "
    "a table with a column of paths, recordings with a .txt or .srt each, recordings alone"
)


@dataclass(frozen=True)
class Layout:
    """What was recognised. `command` is the part after `wav2vec2 prepare`; `sources` are its arguments."""

    command: str
    why: str
    sources: tuple[Path, ...]
    general: bool = False
    """Whether this is not a corpus's or toolkit's own layout but any table or folder."""


@dataclass(frozen=True)
class _Survey:
    root: Path
    files: tuple[str, ...]
    """Paths below the root with /, at most a hundred thousand."""

    def first(self, pattern: str) -> str:
        """The first path in which the regular expression is found, or ""."""
        search = re.compile(pattern).search
        return next((name for name in self.files if search(name)), "")

    def above(self, name: str, levels: int) -> Path:
        """The folder `levels` above the one that holds a file, but not above the root."""
        return self.root.joinpath(*name.split("/")[: -1 - levels])


def recognise(root: Path) -> Layout:
    """Say which layout a folder or file has.

    Raises:
        UserError: it is not there, several layouts fit, or none does.
    """
    if not root.exists():
        raise UserError(f"{root}: does not exist: name a folder of recordings, or a table")
    if not root.is_dir():
        return _file(root)
    tops = _unwrapped(root)
    surveys = [_survey(top) for top in tops]
    found: list[Layout] = []
    for checks in (_SPECIFIC, _GENERAL):
        for survey in surveys:
            found = found or [layout for check in checks for layout in check(survey)]
    if not found:
        audio = sum(map(is_audio_name, surveys[0].files))
        if not audio:
            raise UserError(f"{root}: is none of the layouts that prepare knows; looked for: {LOOKED_FOR}")
        return Layout("folder", f"{audio:,} recordings without any text", (root,), general=True)
    if len(found) > 1:
        fitting = "; ".join(f"{layout.command} ({layout.why})" for layout in found)
        raise UserError(f"{root}: several layouts fit: {fitting}: choose one, such as 'prepare {found[0].command}'")
    return found[0]


def _survey(top: Path) -> _Survey:
    names = (os.path.relpath(os.path.join(folder, name), top) for folder, names in walk(top) for name in names)
    return _Survey(top, tuple(name.replace(os.sep, "/") for name in itertools.islice(names, _MOST_FILES)))


def _unwrapped(root: Path) -> list[Path]:
    """The root and, if it holds a folder and nothing else, that folder (as archives unpack), and so on."""
    tops = [root]
    for _ in range(3):
        inside = [path for path in tops[-1].iterdir() if not path.name.startswith(".")]
        if len(inside) != 1 or not inside[0].is_dir():
            break
        tops += inside
    return tops


def _file(path: Path) -> Layout:
    if path.suffix == ".parquet" and parquet_files(path):
        return Layout("huggingface", "a Parquet file with a column of audio", (path,))
    if path.suffix == ".stm":
        return Layout("stm", "an .stm file", (path,))
    if path.name == "wav.scp":
        return Layout("kaldi", "wav.scp", (path.parent,))
    lines = list(itertools.islice(text_lines(path, 1 << 24), 2))
    if _is_fairseq(lines):
        return Layout("fairseq", "its first line is a folder, the next a path and a length", (path,))
    if '"supervisions"' in "".join(lines) or path in lhotse_files(path.parent):
        return Layout("lhotse", "a manifest of cuts or recordings", (path,))
    if PIPE_TABLE.fullmatch(path.name) and "|" in "".join(lines[:1]):
        return Layout("ljspeech", "a table separated by pipes", (path,))
    return Layout("table", "a table", (path,), general=True)


def _is_fairseq(lines: list[str]) -> bool:
    root, row = (*lines, "", "")[:2]
    cells = row.split("\t")
    return "\t" not in root and os.sep in root and len(cells) == 2 and cells[1].strip().isdecimal()


def _named(command: str, pattern: str, levels: int | None = None) -> Callable[[_Survey], Iterator[Layout]]:
    """A check for a file whose path nothing else has; the source is `levels` above its folder (None: the root)."""

    def check(survey: _Survey) -> Iterator[Layout]:
        if name := survey.first(pattern):
            yield Layout(command, f"has {name}", (survey.root if levels is None else survey.above(name, levels),))

    return check


def _librispeech(survey: _Survey) -> Iterator[Layout]:
    if name := survey.first(r"\.trans\.txt$"):
        limited = survey.first(_LIMITED.pattern)
        if limited:
            yield Layout("limited", f"has {limited}", (survey.above(limited, 4 if "9h/" in limited else 5),))
        else:
            yield Layout("librispeech", f"has {name}", (survey.above(name, 3),))


def _librilight(survey: _Survey) -> Iterator[Layout]:
    described = {name.removesuffix(".json") for name in survey.files if name.endswith(".json")}
    if name := next((name for name in survey.files if name.endswith(".flac") and name[:-5] in described), ""):
        head = "".join(itertools.islice(text_lines(survey.root / f"{name[:-5]}.json"), 200))
        if "voice_activity" in head:
            yield Layout("librilight", f"{name[:-5]}.json lists voice_activity", (survey.above(name, 3),))


def _common_voice(survey: _Survey) -> Iterator[Layout]:
    for language in common_voice_languages(survey.root)[:1]:
        why = f"has tables in {os.path.relpath(language.tables, survey.root)} and clips"
        yield Layout("commonvoice", why, (survey.root,))
        return
    for table in spontaneous_tables(survey.root)[:1]:
        yield Layout("commonvoice", f"has {os.path.relpath(table, survey.root)}", (survey.root,))


def _voxpopuli(survey: _Survey) -> Iterator[Layout]:
    for folder in voxpopuli_languages(survey.root)[:1]:
        yield Layout("voxpopuli", f"has asr_*.tsv in {os.path.relpath(folder, survey.root)}", (survey.root,))


def _vctk(survey: _Survey) -> Iterator[Layout]:
    if (survey.root / "txt").is_dir() and (name := survey.first(r"^wav48(_silence_trimmed)?/")):
        yield Layout("vctk", f"has txt and {name}", (survey.root,))


def _fleurs(survey: _Survey) -> Iterator[Layout]:
    for name in (name for name in survey.files if re.search(r"(^|/)(train|dev|test)\.tsv$", name)):
        cells = next(text_lines(survey.root / name), "").split("\t")
        if len(cells) > 3 and cells[0].isdecimal() and is_audio_name(cells[1]):
            yield Layout("fleurs", f"{name} has a sentence's number, a file and two transcriptions", (survey.root,))
            return


def _hugging_face(survey: _Survey) -> Iterator[Layout]:
    if survey.first(r"\.parquet$") and (files := parquet_files(survey.root)):
        yield Layout("huggingface", f"{os.path.relpath(files[0], survey.root)} has a column of audio", (survey.root,))
        return
    for name in survey.files:
        if os.path.basename(name) in METADATA:
            table = survey.root / name
            if name.endswith(".parquet") or "file_name" in next(text_lines(table), ""):
                yield Layout("huggingface", f"{name} has file_name", (survey.root,))
                return


def _ljspeech(survey: _Survey) -> Iterator[Layout]:
    for name in survey.files:
        if PIPE_TABLE.fullmatch(os.path.basename(name)) and "|" in next(text_lines(survey.root / name), ""):
            yield Layout("ljspeech", f"{name} is separated by pipes", (survey.root,))
            return


def _lhotse(survey: _Survey) -> Iterator[Layout]:
    if files := lhotse_files(survey.root):
        yield Layout("lhotse", f"has {files[0].name}", (survey.root,))


def _fairseq(survey: _Survey) -> Iterator[Layout]:
    for path in sorted(survey.root.glob("*.tsv")):
        if _is_fairseq(list(itertools.islice(text_lines(path), 2))):
            yield Layout("fairseq", f"the first line of {path.name} is a folder", (survey.root,))
            return


def _tables(survey: _Survey) -> Iterator[Layout]:
    tables = [path for path in sorted(survey.root.iterdir()) if path.is_file() and _TABLE.search(path.name)]
    fitting = tuple(path for path in tables if _has_paths(path))
    if fitting:
        names = ", ".join(path.name for path in fitting[:3])
        yield Layout("table", f"{names} has a column of paths", fitting, general=True)


def _has_paths(table: Path) -> bool:
    try:
        if ".json" in table.name or ".ndjson" in table.name:
            head = "".join(itertools.islice(text_lines(table), 200))
            return re.search(r'"(audio_filepath|path|file_name|wav|audio|audio_path|file)"\s*:', head) is not None
        rows = list(itertools.islice(table_rows(table, dialect_of(table)), 2))
        return len(rows) > 1 and "path" in Columns(table).roles([name.strip() for name in rows[0][1]])
    except UserError:
        return False


def _pairs(survey: _Survey) -> Iterator[Layout]:
    stems = [(os.path.splitext(os.path.basename(name))[0], name) for name in survey.files]
    texts = {stem: name for stem, name in stems if os.path.splitext(name)[1].lower() in TEXT_SUFFIXES}
    both = [(name, texts[stem]) for stem, name in stems if is_audio_name(name) and stem in texts]
    if both:
        yield Layout("pairs", f"{both[0][0]} has the text {both[0][1]}", (survey.root,), general=True)


_SPECIFIC: tuple[Callable[[_Survey], Iterator[Layout]], ...] = (
    _librispeech,
    _librilight,
    _common_voice,
    _named("timit", f"(?i:{_TIMIT.pattern})"),
    _named("mls", r"(^|/)(train|dev|test)/transcripts\.txt$", 2),
    _fleurs,
    _voxpopuli,
    _named("libritts", r"\.(normalized\.txt|original\.txt|trans\.tsv)$", 3),
    _vctk,
    _named("aishell", f"(^|/){re.escape(AISHELL_TRANSCRIPT.as_posix())}$", 1),
    _named("stm", r"\.stm$"),
    _named("kaldi", r"(^|/)wav\.scp$"),
    _lhotse,
    _hugging_face,
    _ljspeech,
    _fairseq,
)
_GENERAL: tuple[Callable[[_Survey], Iterator[Layout]], ...] = (_tables, _pairs)
