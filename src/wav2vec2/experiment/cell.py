"""One cell of a results table: the errors of one model with one way of decoding, utterance by utterance.

Cells are JSON files, made from the hypotheses of ``wav2vec2 evaluate``, and can be compared.
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from wav2vec2.data.manifest import Manifest
from wav2vec2.errors import UserError, cause
from wav2vec2.evaluation.scores import Score, total_score
from wav2vec2.input_file import MOST_LINES, open_input, parse_json, read_input
from wav2vec2.output_file import writing
from wav2vec2.text.error_rate import Difference, ErrorCounts, character_errors, paired_difference, word_errors

Kind = Literal["wer", "cer"]
Unit = Literal["utterance", "speaker"]
REPLICATIONS = 1000


@dataclass(frozen=True)
class UtteranceErrors:
    """The word and character errors of one utterance."""

    id: str
    speaker: str
    split: str
    words: ErrorCounts
    characters: ErrorCounts

    def counts(self, kind: Kind) -> ErrorCounts:
        """Word errors for "wer", character errors for "cer"."""
        return self.words if kind == "wer" else self.characters


@dataclass(frozen=True)
class Cell:
    """The errors of one model with one way of decoding.

    name: the model's row in the table. lm: the key of the column (greedy, ngram, transformer). title: the name of the
    decoding in tables. row: what else describes the row (tier, arm, seed, ...).
    """

    name: str
    lm: str
    title: str
    row: dict[str, Any]
    utterances: tuple[UtteranceErrors, ...]

    def splits(self) -> tuple[str, ...]:
        """Names of the splits, in the manifest's order."""
        return tuple(dict.fromkeys(utterance.split for utterance in self.utterances))

    def score(self, kind: Kind, split: str | None = None) -> Score:
        """Error rate and bootstrap interval over the utterances of one split, or of all splits."""
        chosen = [one.counts(kind) for one in self.utterances if split is None or one.split == split]
        return total_score(chosen, REPLICATIONS, 0)

    def _scores(self, split: str | None) -> dict[str, Any]:
        return {"wer": self.score("wer", split).as_json(), "cer": self.score("cer", split).as_json()}

    def write(self, folder: Path) -> Path:
        """Write ``FOLDER/NAME-LM.json`` and return its path."""
        names = self.splits()
        scores = {split: self._scores(split) for split in names}
        if len(names) > 1:
            scores["all"] = self._scores(None)
        content: dict[str, Any] = {"name": self.name, "lm": self.lm, "title": self.title, "row": self.row}
        content["scores"] = scores
        content["utterances"] = [asdict(utterance) for utterance in self.utterances]
        path = folder / f"{self.name}-{self.lm}.json"
        with writing(path) as temporary:
            Path(temporary).write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")
        return path


def read_cell(path: Path) -> Cell:
    """Read a cell that ``Cell.write`` wrote. Raises UserError for any other file."""
    try:
        content = parse_json(read_input(path, MOST_LINES))
        utterances = tuple(
            UtteranceErrors(
                u["id"], u["speaker"], u["split"], ErrorCounts(**u["words"]), ErrorCounts(**u["characters"])
            )
            for u in content["utterances"]
        )
        return Cell(content["name"], content["lm"], content["title"], content["row"], utterances)
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = " ".join(str(error).split())[:120]
        raise UserError(f"{path}: not a result of an experiment ({why}); delete it and run again") from None


def score_cells(
    folder: Path, *, hypotheses: str, manifest: str, name: str, lms: Sequence[str], row: Sequence[str]
) -> None:
    """Turn the hypotheses of ``wav2vec2 evaluate`` into cells in ``folder/cells``, one for each column.

    Args:
        folder: the stage's folder.
        hypotheses: TSV file of id, reference and one column for each way of decoding.
        manifest: where the utterances' speakers and splits are.
        name: the row's name.
        lms: keys of the columns, in order; "" skips a column. The file may have fewer columns.
        row: "key=value" pairs that describe the row.

    Raises:
        UserError: the file is not a table of hypotheses, or has other utterances than the manifest.
    """
    utterances = {utterance.id: utterance for utterance in Manifest.open(manifest)}
    path = Path(hypotheses)
    with _tsv_rows(path) as rows:
        titles = next(rows, [])[2:]
        if not titles or len(titles) > len(lms):
            raise UserError(f"{path}: has {len(titles)} columns of hypotheses, expected {', '.join(lms)}")
        scored: list[list[UtteranceErrors]] = [[] for _ in titles]
        for identity, reference, *texts in rows:
            if identity not in utterances or len(texts) != len(titles):
                raise UserError(f"{path}: '{identity}' is not an utterance of {manifest}, or its line is incomplete")
            utterance = utterances[identity]
            for column, text in zip(scored, texts, strict=True):
                words, characters = word_errors(reference, text), character_errors(reference, text)
                column.append(UtteranceErrors(identity, utterance.speaker, utterance.split, words, characters))
    facts = dict(pair.split("=", 1) for pair in row)
    for lm, title, column in zip(lms, titles, scored, strict=False):
        if lm:
            Cell(name, lm, "no LM" if title == "hypothesis" else title, facts, tuple(column)).write(folder / "cells")


@contextmanager
def _tsv_rows(path: Path) -> Iterator[Iterator[list[str]]]:
    """The rows of a TSV file. Raises UserError for a file that cannot be read."""
    try:
        with io.TextIOWrapper(open_input(path), encoding="utf-8", newline="") as file:
            yield csv.reader(file, delimiter="\t")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a table of hypotheses ({cause(error)})") from None


def compare_cells(
    a: Sequence[Cell], b: Sequence[Cell], kind: Kind, *, unit: Unit = "utterance", replications: int = 10_000
) -> Difference:
    """Compare two systems on the utterances that all cells share, over all splits; a system's seeds are pooled.

    With unit "speaker" whole speakers are resampled, because utterances of one speaker are not independent.

    Raises UserError if no utterance is shared.
    """
    sums: dict[str, list[int]] = {}
    common = set.intersection(*({one.id for one in cell.utterances} for cell in (*a, *b)))
    for side, cells in enumerate((a, b)):
        for cell in cells:
            for one in cell.utterances:
                if one.id in common:
                    key = one.id if unit == "utterance" else one.speaker or one.id
                    counts = sums.setdefault(key, [0, 0, 0])
                    counts[side] += one.counts(kind).errors * (len(b) if side == 0 else len(a))
                    if side == 0:
                        counts[2] += one.counts(kind).reference * len(b)
    if not common:
        raise UserError(f"{a[0].name} and {b[0].name} were scored on different utterances; score both on the same ones")
    columns = list(zip(*sums.values(), strict=True))
    return paired_difference(*columns, replications=replications)


@dataclass(frozen=True)
class SpeakerRow:
    """The error rates of both systems on one speaker."""

    speaker: str
    split: str
    utterances: int
    a: float
    b: float


def by_speaker(a: Cell, b: Cell, kind: Kind) -> list[SpeakerRow]:
    """Error rates of two cells by speaker, sorted by the gain of ``b``, the largest first."""
    other = {one.id: one for one in b.utterances}
    speakers: dict[tuple[str, str], list[int]] = {}
    for one in a.utterances:
        if one.id in other:
            counts = speakers.setdefault((one.split, one.speaker), [0, 0, 0, 0])
            counts[0] += 1
            counts[1] += one.counts(kind).errors
            counts[2] += other[one.id].counts(kind).errors
            counts[3] += one.counts(kind).reference
    rows = [
        SpeakerRow(speaker, split, number, errors_a / max(total, 1), errors_b / max(total, 1))
        for (split, speaker), (number, errors_a, errors_b, total) in speakers.items()
    ]
    return sorted(rows, key=lambda row: row.b - row.a)


def speakers_helped(rows: Iterable[SpeakerRow]) -> tuple[int, int, int]:
    """Number of speakers with fewer errors under ``b``, with equally many, and with more."""
    gains = [np.sign(row.a - row.b) for row in rows]
    return gains.count(1), gains.count(0), gains.count(-1)
