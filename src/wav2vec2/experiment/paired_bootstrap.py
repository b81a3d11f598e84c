"""The difference between two systems on the same utterances, with a paired bootstrap interval (Bisani and Ney, 2004).

Utterances differ in difficulty far more than systems do. Resampling keeps each utterance's errors under both systems
together, so the interval is that of the difference and not of two separate rates.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from wav2vec2.errors import UserError
from wav2vec2.experiment.cell import Cell, Kind

Unit = Literal["utterance", "speaker"]
_BLOCK = 500_000  # units resampled at once: with few units, numpy's calls would cost more than their work


@dataclass(frozen=True)
class Difference:
    """Error rate of system ``b`` minus that of ``a``: negative if ``b`` is better. Rates are fractions, not percent.

    low, high: 95 % interval of the difference. reduction: (a - b) / a, with its interval. better: fraction of the
    resamplings in which ``b`` has the lower rate. units: number of utterances or speakers that were resampled.
    """

    a: float
    b: float
    difference: float
    low: float
    high: float
    reduction: float
    reduction_low: float
    reduction_high: float
    better: float
    units: int

    @property
    def significant(self) -> bool:
        """Whether the interval excludes zero."""
        return self.low > 0 or self.high < 0


def paired_difference(
    errors_a: Sequence[int],
    errors_b: Sequence[int],
    references: Sequence[int],
    *,
    replications: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
) -> Difference:
    """Compare two systems by their errors on each resampled unit (utterance or speaker).

    Args:
        errors_a: errors of system a, by unit.
        errors_b: errors of system b, by unit.
        references: number of reference tokens, by unit.
        replications: number of resamplings.
        seed: of the resampling.
        level: of the intervals.

    Raises:
        UserError: there is no reference token at all.
    """
    a, b, total = (np.asarray(counts, dtype=np.float64) for counts in (errors_a, errors_b, references))
    if not total.sum() > 0:
        raise UserError("two systems cannot be compared: there is no reference token")
    random = np.random.default_rng(seed)
    table = np.stack([a, b, total])
    rates = np.empty((replications, 2))
    block = max(1, _BLOCK // len(total))
    for first in range(0, replications, block):
        shape = (min(block, replications - first), len(total))
        sums = table[:, random.integers(0, len(total), shape)].sum(2)
        rates[first : first + block] = (sums[:2] / np.maximum(sums[2], 1.0)).T
    tails = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(rates[:, 1] - rates[:, 0], tails)
    reductions = 1 - rates[:, 1] / np.maximum(rates[:, 0], 1e-12)
    reduction_low, reduction_high = np.quantile(reductions, tails)
    rate_a, rate_b = a.sum() / total.sum(), b.sum() / total.sum()
    return Difference(
        a=float(rate_a),
        b=float(rate_b),
        difference=float(rate_b - rate_a),
        low=float(low),
        high=float(high),
        reduction=float(1 - rate_b / rate_a) if rate_a else 0.0,
        reduction_low=float(reduction_low),
        reduction_high=float(reduction_high),
        better=float(np.mean(rates[:, 1] < rates[:, 0])),
        units=len(total),
    )


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
