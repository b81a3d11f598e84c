"""Which recordings are transcribed: those of a second manifest, those of a list of ids, or the rows with a text."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from wav2vec2.data.corpora.delimited import text_lines
from wav2vec2.data.corpora.table import read_tsv
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.utterance import Rejection, Utterance
from wav2vec2.errors import UserError, quoted

_NAMED = 3
_HELD_OUT = ("dev", "val", "test", "eval")

Rows = list[Utterance]


def labelled_rows(manifest: str, transcripts: str) -> tuple[Rows, Rows, list[str]]:
    """Return the transcribed rows, the others, and lines that say what was odd.

    Args:
        manifest: all recordings.
        transcripts: a manifest of transcribed recordings, a file of ids, or "".

    Raises:
        UserError: a file cannot be read, nothing is transcribed, or ids are missing.
    """
    rows, lines = list(Manifest.open(manifest)), list[str]()
    if not transcripts:
        labelled, rest = [row for row in rows if row.text], [row for row in rows if not row.text]
    elif _is_manifest(transcripts):
        labelled, rest, lines = _of_manifest(rows, list(Manifest.open(transcripts)))
    else:
        labelled, rest, lines = _of_ids(rows, Path(transcripts))
    if not labelled:
        raise UserError(f"{transcripts or manifest}: has no transcript: give a table of paths and texts")
    return labelled, rest, lines


def _is_manifest(name: str) -> bool:
    return os.path.isdir(name) or name.endswith((".parquet", ".arrow"))


def _of_manifest(rows: Rows, transcribed: Rows) -> tuple[Rows, Rows, list[str]]:
    """Rows of a table of transcripts; recordings that it names do not count as untranscribed."""
    speakers = {row.path: row.speaker for row in rows}
    labelled = [replace(row, speaker=row.speaker or speakers.get(row.path, "")) for row in transcribed if row.text]
    paths = {row.path for row in labelled}
    rest = [row for row in rows if row.path not in paths]
    lines = []
    if empty := sum(not row.text for row in transcribed):
        lines.append(f"table: {empty} rows without a transcript count as untranscribed")
        there = {row.path for row in rest}
        rest += [row for row in transcribed if not row.text and row.path not in there | paths]
    return labelled, rest, lines


def _of_ids(rows: Rows, file: Path) -> tuple[Rows, Rows, list[str]]:
    """Rows whose id, or the name of whose file, is in the list, and those of the source's own dev and test."""
    wanted = _listed(file)
    found: dict[str, Utterance] = {}
    labelled, rest = [], []
    for row in rows:
        name = next((name for name in _names(row) if name in wanted), "")
        if name:
            found[name] = row
        if row.text and (name or row.split.lower().startswith(_HELD_OUT)):
            labelled.append(row)
        else:
            rest.append(row)
    if missing := sorted(wanted - set(found)):
        raise UserError(
            f"{file}: {len(missing)} of its {len(wanted)} ids are in none of the {len(rows)} recordings, such as "
            f"{_examples(missing)}: give ids such as {_examples([rows[0].id])}, or the names of files"
        )
    if silent := sorted(name for name, row in found.items() if not row.text):
        raise UserError(
            f"{file}: {len(silent)} of its {len(wanted)} ids have no transcript, such as {_examples(silent)}: "
            "give a table of paths and texts instead"
        )
    return labelled, rest, [f"{file.name}: {len(found)} transcribed recordings; those of dev and test besides"]


def _listed(file: Path) -> set[str]:
    """The ids of a list, or the clips of a table of Common Voice."""
    if file.suffix != ".tsv":
        return {line.strip() for line in text_lines(file)} - {""}
    rows = read_tsv(file, ("path",), "path")
    return {os.path.splitext(row["path"].strip())[0] for row in rows if not isinstance(row, Rejection)}


def _names(row: Utterance) -> tuple[str, ...]:
    """What a list may call a row: its id, or the end of it, or the name of its file with or without the suffix."""
    file = os.path.basename(row.path)
    return row.id, row.id.rpartition("/")[2], file, os.path.splitext(file)[0]


def _examples(names: Sequence[str]) -> str:
    return ", ".join(quoted(name) for name in names[:_NAMED])
