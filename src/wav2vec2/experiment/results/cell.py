"""One cell of a table: a model with one way of decoding, its errors utterance by utterance, as a JSON file."""

import csv
import json
from collections.abc import Iterator, Sequence
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
class Scored:
    """The errors of one utterance."""

    id: str
    speaker: str
    split: str
    words: ErrorCounts
    characters: ErrorCounts

    def counts(self, kind: Kind) -> ErrorCounts:
        """Of words or of characters."""
        return self.words if kind == "wer" else self.characters


@dataclass(frozen=True)
class Cell:
    """What was scored. name: of the model's row in the table; lm: key of the column; title: how the decoding is called;
    row: what else tells the row (tier, arm, seed, ...).
    """

    name: str
    lm: str
    title: str
    row: dict[str, Any]
    utterances: tuple[Scored, ...]

    def splits(self) -> tuple[str, ...]:
        """Names of the splits, in the manifest's order."""
        return tuple(dict.fromkeys(utterance.split for utterance in self.utterances))

    def score(self, kind: Kind, split: str | None = None) -> Score:
        """Rate and bootstrap interval over the utterances of one split, or of all."""
        chosen = [one.counts(kind) for one in self.utterances if split is None or one.split == split]
        return total_score(chosen, REPLICATIONS, 0)

    def _scores(self, split: str | None) -> dict[str, Any]:
        return {"wer": self.score("wer", split).as_json(), "cer": self.score("cer", split).as_json()}

    def write(self, folder: Path) -> Path:
        """Write ``FOLDER/NAME-LM.json``."""
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
    """Read what ``Cell.write`` wrote; raises UserError for anything else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        utterances = tuple(
            Scored(u["id"], u["speaker"], u["split"], ErrorCounts(**u["words"]), ErrorCounts(**u["characters"]))
            for u in content["utterances"]
        )
        return Cell(content["name"], content["lm"], content["title"], content["row"], utterances)
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = " ".join(str(error).split())[:120]
        raise UserError(f"{path}: is not a result of an experiment ({why}): delete it and run again") from None


def score_cells(
    folder: Path, *, hypotheses: str, manifest: str, name: str, lms: Sequence[str], row: Sequence[str]
) -> None:
    """Turn the hypotheses of ``wav2vec2 evaluate`` into cells below ``folder/cells``, a cell a column.

    lms: keys of the columns in their order, "" for one that is left out; a file with fewer columns fills the first
    ones. row: "key=value" pairs.

    Raises UserError for a table that is not of that command, or of other utterances.
    """
    utterances = {utterance.id: utterance for utterance in Manifest.open(manifest)}
    path = Path(hypotheses)
    with _reading(path) as rows:
        titles = next(rows, [])[2:]
        if not titles or len(titles) > len(lms):
            raise UserError(f"{path}: has {len(titles)} columns of hypotheses for {', '.join(lms)}")
        scored: list[list[Scored]] = [[] for _ in titles]
        for identity, reference, *texts in rows:
            if identity not in utterances or len(texts) != len(titles):
                raise UserError(f"{path}: '{identity}' is no utterance of {manifest}, or its line is cut short")
            utterance = utterances[identity]
            for column, text in zip(scored, texts, strict=True):
                words, characters = word_errors(reference, text), character_errors(reference, text)
                column.append(Scored(identity, utterance.speaker, utterance.split, words, characters))
    facts = dict(pair.split("=", 1) for pair in row)
    for lm, title, column in zip(lms, titles, scored, strict=False):
        if lm:
            Cell(name, lm, "no LM" if title == "hypothesis" else title, facts, tuple(column)).write(folder / "cells")


class _reading:
    """The rows of a TSV file; reading errors as a ``UserError``."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Iterator[list[str]]:
        try:
            self._file = self._path.open(encoding="utf-8", newline="")
        except OSError as error:
            raise UserError(f"{self._path}: cannot be read ({error.strerror})") from None
        return csv.reader(self._file, delimiter="\t")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._file.close()
        if isinstance(error, UnicodeDecodeError | csv.Error):
            raise UserError(f"{self._path}: is not a table of hypotheses ({error})") from None
