"""The difference between two cells of an experiment on the same utterances, in total and speaker by speaker."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from wav2vec2.errors import UserError
from wav2vec2.experiment.cell import Cell, Kind
from wav2vec2.text.error_rate import Difference, paired_difference

Unit = Literal["utterance", "speaker"]


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
