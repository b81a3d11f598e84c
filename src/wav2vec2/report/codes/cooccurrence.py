"""Phones by codewords (appendix D): how often each phone and each codeword fall on the same frame.

Legend: P phones, C codewords.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wav2vec2.report.codes.intervals import UNKNOWN

Counts = NDArray[np.int64]


class CoOccurrence:
    """Counts frames; `table` gives them as a matrix. Memory grows with the pairs that occur."""

    def __init__(self) -> None:
        self._pairs: Counter[tuple[str, int]] = Counter()

    def add(self, labels: Sequence[str], codes: NDArray[np.int64]) -> None:
        """Add frames: their labels and their codewords (T,); frames whose label is unknown are not counted."""
        self._pairs.update(
            (label, code) for label, code in zip(labels, codes.tolist(), strict=True) if label != UNKNOWN
        )

    def table(self) -> "CodeTable":
        """Everything counted so far: phones by falling frequency, codewords by number."""
        frames: Counter[str] = Counter()
        for (label, _), count in self._pairs.items():
            frames[label] += count
        phones = sorted(frames, key=lambda label: (-frames[label], label))
        codes = np.array(sorted({code for _, code in self._pairs}), dtype=np.int64)
        rows = {label: row for row, label in enumerate(phones)}
        columns = {code: column for column, code in enumerate(codes.tolist())}
        counts = np.zeros((len(phones), len(codes)), dtype=np.int64)
        for (label, code), count in self._pairs.items():
            counts[rows[label], columns[code]] = count
        return CodeTable(tuple(phones), codes, counts)


@dataclass(frozen=True)
class CodeTable:
    """phones: the P rows; codes: the C columns; counts (P, C): frames."""

    phones: tuple[str, ...]
    codes: Counts
    counts: Counts

    @property
    def frames(self) -> int:
        """All frames."""
        return int(self.counts.sum())

    def seen_often(self, frames: int) -> "CodeTable":
        """Only the codewords that occur in at least so many frames, and the phones that are left."""
        columns = self.counts.sum(0) >= frames
        rows = self.counts[:, columns].sum(1) > 0
        phones = tuple(phone for phone, kept in zip(self.phones, rows, strict=True) if kept)
        return CodeTable(phones, self.codes[columns], self.counts[rows][:, columns])

    def probabilities(self) -> NDArray[np.float64]:
        """P(phone | codeword), (P, C): every column sums to 1."""
        return np.asarray(self.counts / self.counts.sum(0).clip(1), dtype=np.float64)

    def in_order(self) -> "CodeTable":
        """Codewords by the phone that is most likely given them, then by how likely it is, the surest first."""
        probabilities = self.probabilities()
        order = np.lexsort((self.codes, -probabilities.max(0), probabilities.argmax(0)))
        return CodeTable(self.phones, self.codes[order], self.counts[:, order])


@dataclass(frozen=True)
class Agreement:
    """How much codewords tell of phones.

    phone_purity: share of frames whose phone is guessed right from the codeword. code_purity: share of frames whose
    codeword is guessed right from the phone. majority: the first without looking at the codeword. information: bits
    that the codeword tells of the phone; explained: as a share of the phone's entropy (PNMI).
    """

    phone_purity: float
    code_purity: float
    majority: float
    information: float
    explained: float


def agreement(counts: Counts) -> Agreement:
    """Measure (P, C) counts. Raises ValueError for a table without frames."""
    total = counts.sum()
    if not total:
        raise ValueError("a table without frames")
    joint = counts / total
    phones, codes = joint.sum(1), joint.sum(0)
    seen = joint > 0
    information = float((joint[seen] * np.log2(joint[seen] / np.outer(phones, codes)[seen])).sum())
    entropy = float(-(phones[phones > 0] * np.log2(phones[phones > 0])).sum())
    return Agreement(
        phone_purity=float(joint.max(0).sum()),
        code_purity=float(joint.max(1).sum()),
        majority=float(phones.max()),
        information=information,
        explained=information / entropy if entropy else 0.0,
    )


def shuffled(counts: Counts, seed: int) -> Counts:
    """The same phones and codewords as often, but paired at random: what agreement chance alone gives.

    Few frames for many codewords agree by chance, the more the fewer.
    """
    random = np.random.default_rng(seed)
    left, columns = counts.sum(1), []
    for size in counts.sum(0):
        drawn = random.multivariate_hypergeometric(left, size)
        left = left - drawn
        columns.append(drawn)
    return np.stack(columns, axis=1) if columns else counts
