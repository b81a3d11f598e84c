"""Which of a model's own labels are kept, why the others are not, and how wrong the kept ones are."""

import json
from array import array
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TextIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.bulk.job import Row
from wav2vec2.bulk.results import Results
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.utterance import SCHEMA, Utterance, record_batch
from wav2vec2.errors import UserError
from wav2vec2.evaluation.scores import Score, total_score
from wav2vec2.output_file import writing
from wav2vec2.text.error_rate import ErrorCounts, character_errors, word_errors

_ROWS = 4096
_REPLICATIONS = 1000
LABELLED = pa.schema([*SCHEMA, pa.field("confidence", pa.float64()), pa.field("agreement", pa.float64())])
"""A manifest's columns, and how sure the model is of the text."""


@dataclass(frozen=True)
class Filters:
    """Which labels are kept: those within all of these limits. How sure a model is depends on the model: look at the
    shares that are printed, and choose limits that leave out the worst.
    """

    min_confidence: float = 0.5
    """Least confidence, from 0 to 1: the geometric mean, over the labels, of the probability of the best path."""
    min_agreement: float = 0.7
    """Least agreement of the chosen decoding with the greedy one: the share of characters in both; from 0 to 1."""
    min_seconds: float = 0.5
    """Leave out shorter utterances."""
    max_seconds: float = 60.0
    """Leave out longer ones."""
    min_rate: float = 1.0
    """Least labels a second: fewer mean that speech was missed, or that there is none. Speech has 8 to 20 letters a
    second."""
    max_rate: float = 30.0
    """Most labels a second: more than anybody speaks."""
    best_share: float = 1.0
    """Of the rows within all other limits, keep only this share: those with the highest confidence. Where nobody knows
    yet which confidence is a good one, it says the limit."""

    def __post_init__(self) -> None:
        if not 0 < self.best_share <= 1:
            raise UserError(f"--best-share {self.best_share:g}: must be above 0 and at most 1")
        for name in ("min_confidence", "min_agreement"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"--{name.replace('_', '-')} {getattr(self, name):g}: must be from 0 to 1")
        for low, high in (("min_seconds", "max_seconds"), ("min_rate", "max_rate")):
            if not 0 <= getattr(self, low) < getattr(self, high):
                raise UserError(f"--{low.replace('_', '-')} must be at least 0 and below --{high.replace('_', '-')}")

    def why_not(self, row: Row) -> str:
        """The first reason against the labels of a row of results; empty if they are kept."""
        if row["error"] is not None:
            return "could not be read"
        if not row["text"].strip():
            return "no words"
        rate, sure = row["labels"] / max(row["seconds"], 1e-9), row["label_confidence"]
        limits = (
            (row["seconds"] < self.min_seconds, f"shorter than {self.min_seconds:g} s (--min-seconds)"),
            (row["seconds"] > self.max_seconds, f"longer than {self.max_seconds:g} s (--max-seconds)"),
            (rate < self.min_rate, f"fewer than {self.min_rate:g} labels a second (--min-rate)"),
            (rate > self.max_rate, f"more than {self.max_rate:g} labels a second (--max-rate)"),
            (sure < self.min_confidence, f"confidence below {self.min_confidence:g} (--min-confidence)"),
            (row["agreement"] < self.min_agreement, f"decodings agree below {self.min_agreement:g} (--min-agreement)"),
        )
        return next((reason for met, reason in limits if met), "")

    def among(self, rows: Iterable[Row]) -> "Filters":
        """These filters, with the confidence that `best_share` of the rows within all other limits reach."""
        if self.best_share == 1.0:
            return self
        sure = np.array([row["label_confidence"] for row in rows if not self.why_not(row)], dtype=np.float64)
        if not len(sure):
            return self
        least = float(np.sort(sure)[-max(1, round(self.best_share * len(sure)))])
        return replace(self, min_confidence=max(self.min_confidence, least), best_share=1.0)


@dataclass
class _Group:
    """Utterances with one fate: how many, how long, an example, and their errors where the truth is known."""

    count: int = 0
    seconds: float = 0.0
    example: str = ""
    words: list[ErrorCounts] = field(default_factory=list)
    characters: list[ErrorCounts] = field(default_factory=list)

    def add(self, row: Row, seconds: float, known: tuple[str, str] | None) -> None:
        self.count += 1
        self.seconds += seconds
        self.example = self.example or row["id"]
        if known is not None:
            self.words.append(word_errors(*known))
            self.characters.append(character_errors(*known))


@dataclass
class LabelReport:
    """What was kept, and why the rest was not."""

    total: int = 0
    kept: int = 0
    groups: dict[str, _Group] = field(default_factory=dict)
    """By reason; the kept ones have none."""
    confidences: "array[float]" = field(default_factory=lambda: array("f"))
    agreements: "array[float]" = field(default_factory=lambda: array("f"))

    def lines(self) -> list[str]:
        """The report as text."""
        kept = self.groups.get("", _Group())
        whole = sum(group.seconds for group in self.groups.values())
        lines = [f"kept {kept.count} of {self.total} utterances, {_time(kept.seconds)} of {_time(whole)}"]
        for reason, group in sorted(self.groups.items(), key=lambda pair: -pair[1].count):
            if reason:
                lines.append(f"  left out {group.count} ({_time(group.seconds)}): {reason}; such as {group.example}")
        for name, values in (("confidence", self.confidences), ("agreement", self.agreements)):
            if values:
                tenth, half, most = np.quantile(np.frombuffer(values, np.float32), [0.1, 0.5, 0.9])
                lines.append(f"{name}: a tenth below {tenth:.2f}, half below {half:.2f}, a tenth above {most:.2f}")
        left = _Group()
        for reason, group in self.groups.items():
            if reason:
                left.words += group.words
                left.characters += group.characters
        if kept.words or left.words:
            lines.append("against known transcripts:")
            lines += [_scored("kept", kept), _scored("left out", left)]
        return lines


def _time(seconds: float) -> str:
    if seconds < 600:
        return f"{seconds:.0f} s"
    return f"{seconds / 3600:.2f} hours" if seconds >= 3600 else f"{seconds / 60:.0f} minutes"


def _scored(name: str, group: _Group) -> str:
    if not group.words:
        return f"  {name}: none has one"
    words, characters = (total_score(counts, _REPLICATIONS, 0) for counts in (group.words, group.characters))
    return f"  {name}: WER {_percent(words)}, CER {_percent(characters)}, {len(group.words)} utterances"


def _percent(score: Score) -> str:
    return f"{100 * score.counts.rate:.2f} % ({100 * score.low:.2f} to {100 * score.high:.2f})"


def write_labels(
    manifest: Manifest,
    results: Results,
    filters: Filters,
    out: Path,
    left_out: Path,
    *,
    known: Callable[[Utterance], str | None],
    normalize: Callable[[str], str],
    only_checked: Container[str] = (),
    added: Iterable[Utterance] = (),
) -> LabelReport:
    """Write the rows of `manifest` whose labels are kept to `out`, and the others to `left_out`; report on both.

    known: gives the true transcript of a row, if there is one. normalize: applied to both texts before they are
    compared. only_checked: ids of rows that are compared and not written. added: transcribed rows that are written
    first, with a confidence of 1. Raises UserError if a file cannot be written, or the results are of other rows.
    """
    report = LabelReport(total=len(manifest))
    filters = filters.among(row for row in results if row["id"] not in only_checked)
    with (
        writing(out) as temporary,
        writing(left_out) as temporary_list,
        pq.ParquetWriter(temporary, LABELLED) as table,
        open(temporary_list, "w", encoding="utf-8") as rest,
    ):
        pending = [(utterance, _certain(utterance)) for utterance in added]
        for utterance, row in zip(manifest, results, strict=True):
            if utterance.id != row["id"]:
                raise UserError(f"{results.files[0]}: holds results of other rows than {manifest.name}")
            reason = filters.why_not(row)
            if row["error"] is None:
                report.confidences.append(row["label_confidence"])
                report.agreements.append(row["agreement"])
            truth = known(utterance)
            pair = None if truth is None or row["text"] is None else (normalize(truth), normalize(row["text"]))
            report.groups.setdefault(reason, _Group()).add(row, utterance.samples / SAMPLE_RATE, pair)
            if reason or row["id"] in only_checked:
                _list(rest, row, reason or "only checked")
                continue
            pending.append((utterance, row))
            if len(pending) >= _ROWS:
                table.write_batch(_labelled(pending))
                pending = []
        if pending:
            table.write_batch(_labelled(pending))
    report.kept = report.groups.get("", _Group()).count
    return report


def _certain(utterance: Utterance) -> Row:
    return {"text": utterance.text, "label_confidence": 1.0, "agreement": 1.0}


def _labelled(pairs: Sequence[tuple[Utterance, Row]]) -> pa.RecordBatch:
    batch = record_batch([replace(utterance, text=row["text"]) for utterance, row in pairs])
    sure = [pa.array([row[name] for _, row in pairs], pa.float64()) for name in ("label_confidence", "agreement")]
    return pa.record_batch([*batch.columns, *sure], schema=LABELLED)


def _list(file: TextIO, row: Row, reason: str) -> None:
    shown = {name: row[name] for name in ("id", "text", "greedy", "label_confidence", "agreement", "error")}
    file.write(json.dumps({"reason": reason, **shown}, ensure_ascii=False) + "\n")
