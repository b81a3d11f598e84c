"""fairseq manifests: SPLIT.tsv (the root folder, then lines "path<TAB>samples"); SPLIT.wrd, .ltr and .phn beside it."""

import os
import re
from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from pathlib import Path
from typing import Literal

from wav2vec2.data.corpora.delimited import text_lines
from wav2vec2.data.utterance import Rejection, Utterance
from wav2vec2.errors import UserError

LabelKind = Literal["auto", "wrd", "ltr", "phn"]

_NUMBER = re.compile(r"[0-9]{1,18}")


def scan_fairseq(
    manifests: Sequence[Path], *, labels: LabelKind = "auto", language: str = ""
) -> Iterator[Utterance | Rejection]:
    """Yield the rows of `.tsv` files, or of all those in a folder; the split is the file's name without suffix.

    Transcripts come from the file beside it that `labels` names; "auto" takes words (.wrd), or else letters (.ltr), or
    else phones (.phn, separated by spaces). A slice of an uncompressed archive,
    `corpus.zip:offset:length` in bytes, becomes a byte range. The speaker is the part of the file name before the first
    "-", if there is one, as in LibriSpeech. The sample counts are ignored: lengths come from the audio.

    Raises:
        UserError: a file is not a fairseq manifest, the labels asked for are not there, or their number is not that of
            the rows.
    """
    files = list(chain.from_iterable(sorted(path.glob("*.tsv")) if path.is_dir() else [path] for path in manifests))
    if not files:
        named = ", ".join(map(str, manifests))
        raise UserError(f"{named}: no .tsv file found: name fairseq manifests or their folder")
    for manifest in files:
        rows = _lines(manifest)
        root = next(rows, "")
        if "\t" in root or not root:
            raise UserError(
                f"{manifest}: is not a fairseq manifest (its first line is not a folder): try prepare table"
            )
        base = Path(os.path.abspath(manifest.parent / root))
        for number, (row, text) in enumerate(_with_transcripts(manifest, rows, labels), start=2):
            yield _utterance(manifest, number, base, row.split("\t"), text, language)


def _utterance(
    manifest: Path, number: int, base: Path, cells: list[str], text: str | None, language: str
) -> Utterance | Rejection:
    where = f"{manifest}, line {number}"
    if len(cells) < 2 or not cells[0]:
        return Rejection(cells[0], str(manifest), "bad table row", f"{where}: is not 'path<TAB>samples'")
    path, *slices = cells[0].split(":")
    offset = size = -1
    identity = os.path.splitext(path)[0]
    if slices:
        if len(slices) != 2 or not all(_NUMBER.fullmatch(part) for part in slices) or int(slices[1]) < 1:
            return Rejection(
                cells[0], path, "bad table row", f"{where}: '{cells[0]}' is not path:offset:length in bytes"
            )
        offset, size = map(int, slices)
        identity = f"{identity}-{offset}"
    name = os.path.basename(identity)
    return Utterance(
        id=name if not slices and "-" in name else identity,
        path=str(base / path),
        offset=offset,
        size=size,
        text=text,
        speaker=name.split("-")[0] if "-" in name and not slices else "",
        split=manifest.stem,
        language=language,
        source=base.name,
    )


def _with_transcripts(manifest: Path, rows: Iterator[str], kind: LabelKind) -> Iterator[tuple[str, str | None]]:
    beside = [manifest.with_suffix(f".{suffix}") for suffix in ("wrd", "ltr", "phn") if kind in ("auto", suffix)]
    labels = next((path for path in beside if path.exists()), None)
    if labels is None and kind != "auto":
        raise UserError(f"{manifest}: has no {beside[0].name} beside it: give another --labels")
    if labels is None:
        yield from zip(rows, repeat(None))
        return
    texts = _lines(labels)
    for number, row in enumerate(rows, start=1):
        text = next(texts, None)
        if text is None:
            raise UserError(f"{labels}: has only {number - 1} lines and {manifest.name} has more: make them match")
        # .ltr: "H E L L O | W O R L D |"
        yield row, "".join(text.split()).replace("|", " ").strip() if labels.suffix == ".ltr" else text
    if next(texts, None) is not None:
        raise UserError(f"{labels}: has more lines than {manifest.name} has files: make them match")


def _lines(path: Path) -> Iterator[str]:
    yield from (line for line in text_lines(path) if line or path.suffix != ".tsv")
