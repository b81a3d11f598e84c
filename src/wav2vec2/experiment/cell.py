"""One cell of a results table: the errors of one model with one way of decoding, utterance by utterance, as JSON."""

import csv
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from wav2vec2.data.manifest import Manifest
from wav2vec2.errors import UserError
from wav2vec2.evaluation.scores import Score, total_score
from wav2vec2.output_file import writing
from wav2vec2.text.error_rate import ErrorCounts, character_errors, word_errors

Kind = Literal["wer", "cer"]
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
        content = json.loads(path.read_text(encoding="utf-8"))
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
        with path.open(encoding="utf-8", newline="") as file:
            yield csv.reader(file, delimiter="\t")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a table of hypotheses ({error})") from None
