"""What the recordings and the transcripts of ``wav2vec2 adapt`` are, and so the commands that prepare them.

Recordings: a manifest, a corpus in a layout that ``prepare auto`` knows (a Common Voice release), or any folder of
audio. Transcripts: a table of paths and texts, a list of ids or file names, a table of the release itself, or nothing,
where the recordings bring their own.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from wav2vec2.adapt.listing import Listing, list_folder
from wav2vec2.data.corpora.common_voice import OFFICIAL, common_voice_languages
from wav2vec2.data.corpora.delimited import text_lines
from wav2vec2.data.corpora.recognise import Layout, recognise
from wav2vec2.data.corpora.table import TableOptions, scan_table
from wav2vec2.data.utterance import Utterance
from wav2vec2.errors import UserError
from wav2vec2.pipeline.stage import Argument, File, Here

_LOOKED_AT = 200
_GENERAL = ("folder", "table", "pairs")


@dataclass(frozen=True)
class Sources:
    """How to prepare. manifest: the recordings as they are; else recordings, the words of the command that lists them.

    table: the words of the command that reads the transcripts. ids: a list of them. why: lines that say what was found.
    listing: of what lies in the folder of the recordings.
    """

    manifest: str = ""
    recordings: tuple[Argument, ...] = ()
    table: tuple[Argument, ...] = ()
    ids: Path | None = None
    why: tuple[str, ...] = ()
    listing: Listing = field(default_factory=lambda: Listing({}))


def find_sources(recordings: str, transcripts: Path | None, out: Path | None = None) -> Sources:
    """Find out what a user's recordings and transcripts are.

    out: the folder of the results, which may lie among the recordings and is none of them.

    Raises:
        UserError: something is not there, or the transcripts are of no kind that can be read.
    """
    if transcripts is not None and not transcripts.is_file():
        raise UserError(f"--transcripts {transcripts}: no such file; give a table of paths and texts, or a list of ids")
    ids = transcripts if transcripts is not None and is_list_of_ids(transcripts) else None
    table = transcripts if ids is None else None
    if _is_manifest(recordings):
        why = (f"{recordings}: a manifest",)
        return Sources(recordings, (), _table_words(table, Path(recordings).parent), ids, why)
    root = Path(recordings)
    if not root.is_dir():
        raise UserError(f"{recordings}: no such folder or manifest; name the folder that holds the recordings")
    found = _in_folder(root, transcripts, ids, table)
    listed = list_folder(root, audio_only=found.recordings[1] == "folder", without=out or root / "adapted")
    return replace(found, listing=listed)


def _in_folder(root: Path, transcripts: Path | None, ids: Path | None, table: Path | None) -> Sources:
    if release := _release_of(root, table):
        words: tuple[Argument, ...] = ("prepare", "commonvoice", str(root.resolve()), "--tables", release)
        ids = transcripts if table is None else _ids_of_release(root, table)
        return Sources("", (*words, "--out", Here()), (), ids, (f"{root}: a release of Common Voice: {release}",))
    layout = _layout(root)
    if table is not None or (ids is not None and layout.command in _GENERAL):
        if ids is not None:
            raise UserError(f"--transcripts {ids}: is a list of ids, but {root} has no transcripts of its own")
        words = ("prepare", "folder", str(root.resolve()), "--segment", "--valid-percent", 0, "--out", Here())
        return Sources("", words, _table_words(table, root), None, (f"{root}: a folder of recordings",))
    if layout.command == "folder":
        raise UserError(f"{root}: has recordings but no transcripts: give a table of paths and texts by --transcripts")
    words = ("prepare", "auto", str(root.resolve()), "--valid-percent", 0, "--out", Here())
    return Sources("", words, (), ids, (f"{root}: {layout.why}: as 'wav2vec2 prepare {layout.command}' reads it",))


def is_list_of_ids(path: Path) -> bool:
    """Whether a text file has one word a line, and no header of a table: a list of ids or names of files."""
    if path.suffix.lower() in (".json", ".jsonl", ".ndjson", ".parquet"):
        return False
    lines = [line for line in itertools.islice(text_lines(path), _LOOKED_AT) if line.strip()]
    return bool(lines) and not any(mark in line.strip() for line in lines for mark in "\t,;| ")


def _is_manifest(name: str) -> bool:
    if name.endswith((".parquet", ".arrow")):
        return True
    return any(Path(name).glob("manifest*.parquet")) if Path(name).is_dir() else False


def _layout(root: Path) -> Layout:
    try:
        return recognise(root)
    except UserError as error:
        if "several layouts fit" in str(error):
            raise UserError(f"{error}, and give adapt the manifest that it writes") from None
        return Layout("folder", "recordings", (root,), general=True)


def _release_of(root: Path, table: Path | None) -> str:
    """The tables of a Common Voice release to read, joined by commas; "" if this is none, or the table is another."""
    languages = common_voice_languages(root)
    if not languages:
        return ""
    if table is not None and not any(table.resolve().parent == one.tables.resolve() for one in languages):
        return ""
    names = [name for name in OFFICIAL if all((one.tables / f"{name}.tsv").is_file() for one in languages)]
    own = [] if table is None or table.stem in names else [table.stem]
    return ",".join([*names, *own] or ["validated"])


def _ids_of_release(root: Path, table: Path) -> Path | None:
    """None: a table of the release that is read whole brings its own sentences."""
    return table if table.stem not in OFFICIAL else None


def _table_words(table: Path | None, root: Path) -> tuple[Argument, ...]:
    if table is None:
        return ()
    words: list[Argument] = ["prepare", "table", File(table.resolve()), "--valid-percent", 0, "--out", Here()]
    if (folder := audio_root(table, root)) is not None:
        words += ["--audio-root", str(folder)]
    return tuple(words)


def audio_root(table: Path, recordings: Path) -> Path | None:
    """The folder of a table's relative paths: None for the table's own, or `recordings` if more of them are there.

    Raises:
        UserError: the table cannot be read.
    """
    if _present(table, None) >= (there := _present(table, recordings)):
        return None
    return recordings.resolve() if there else None


def _present(table: Path, root: Path | None) -> int:
    rows: Iterator[object] = scan_table(table, options=TableOptions(root=root))
    return sum(isinstance(row, Utterance) and Path(row.path).exists() for row in itertools.islice(rows, _LOOKED_AT))
