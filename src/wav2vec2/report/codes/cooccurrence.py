"""Phones by codewords (appendix D): how often each phone and each codeword share a frame, as tables and pictures.

Legend: P phones, C codewords.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from wav2vec2.report.codes.phones import UNKNOWN
from wav2vec2.report.page import Page

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Counts = NDArray[np.int64]
JOINT = "joint"
"""Name of the table whose codewords are one entry of each codebook together."""
_SEED = 20_200_620


class CoOccurrence:
    """Counts frames by phone and codeword. Memory grows with the number of different pairs."""

    def __init__(self) -> None:
        self._pairs: Counter[tuple[str, int]] = Counter()

    def add(self, labels: Sequence[str], codes: NDArray[np.int64]) -> None:
        """Count frames by their labels and codewords (T,), except those whose label is unknown."""
        self._pairs.update(
            (label, code) for label, code in zip(labels, codes.tolist(), strict=True) if label != UNKNOWN
        )

    def table(self) -> "CodeTable":
        """The counts so far: the most frequent phone first, codewords in ascending order."""
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
    """Numbers of frames (P, C). phones: names of the rows; codes: codewords of the columns."""

    phones: tuple[str, ...]
    codes: Counts
    counts: Counts

    @property
    def frames(self) -> int:
        """The total number of frames."""
        return int(self.counts.sum())

    def frequent(self, frames: int) -> "CodeTable":
        """Only the codewords of at least this many frames, and the phones that remain."""
        columns = self.counts.sum(0) >= frames
        rows = self.counts[:, columns].sum(1) > 0
        phones = tuple(phone for phone, kept in zip(self.phones, rows, strict=True) if kept)
        return CodeTable(phones, self.codes[columns], self.counts[rows][:, columns])

    def probabilities(self) -> NDArray[np.float64]:
        """P(phone | codeword), (P, C); every column sums to 1."""
        return np.asarray(self.counts / self.counts.sum(0).clip(1), dtype=np.float64)

    def in_order(self) -> "CodeTable":
        """Codewords sorted by their most likely phone, then by its probability, the highest first."""
        probabilities = self.probabilities()
        order = np.lexsort((self.codes, -probabilities.max(0), probabilities.argmax(0)))
        return CodeTable(self.phones, self.codes[order], self.counts[:, order])


@dataclass(frozen=True)
class Agreement:
    """How much codewords say about phones.

    phone_purity: fraction of frames whose phone is the most likely one given the codeword. code_purity: fraction of
    frames whose codeword is the most likely one given the phone. majority: fraction of frames of the most frequent
    phone. information: mutual information in bits. explained: mutual information divided by the phones' entropy (PNMI).
    """

    phone_purity: float
    code_purity: float
    majority: float
    information: float
    explained: float


def agreement(counts: Counts) -> Agreement:
    """Measure counts (P, C). Raises ValueError if they are all zero."""
    total = counts.sum()
    if not total:
        raise ValueError("the table has no frames")
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
    """Counts (P, C) with the same row and column sums, paired at random: their agreement is due to chance.

    The fewer frames there are for each codeword, the larger it is.
    """
    random = np.random.default_rng(seed)
    left, columns = counts.sum(1), []
    for size in counts.sum(0):
        drawn = random.multivariate_hypergeometric(left, size)
        left = left - drawn
        columns.append(drawn)
    return np.stack(columns, axis=1) if columns else counts


def draw_codes(table: CodeTable, title: str, symbol: str = "phone") -> "Figure":
    """Draw P(phone | codeword) as in appendix D, codewords in the order of their most likely phone.

    Args:
        table: what to draw.
        title: what the codewords are.
        symbol: what the rows are, "phone" or "character".

    Raises:
        ValueError: the table has no frames.
    """
    from matplotlib.figure import Figure

    if not table.frames:
        raise ValueError("the table has no frames")
    table = table.in_order()
    figure = Figure(figsize=(10.0, 1.6 + 0.15 * max(8, len(table.phones))), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(table.probabilities(), aspect="auto", interpolation="nearest", cmap="Blues", vmin=0, vmax=1)
    axes.set_yticks(range(len(table.phones)), table.phones, fontsize=7)
    axes.set_xlabel(f"{len(table.codes)} codewords, by their most likely {symbol}")
    axes.set_ylabel(f"{symbol}, the most frequent first")
    axes.set_title(f"P({symbol} | codeword), {title}", loc="left", fontsize=11)
    axes.tick_params(axis="x", labelsize=8)
    colorbar = figure.colorbar(image, ax=axes, pad=0.01, fraction=0.03)
    colorbar.set_label(f"P({symbol} | codeword)")
    colorbar.ax.tick_params(labelsize=8)
    return figure


def codes_page(tables: Mapping[str, CodeTable], symbol: str, sizes: Mapping[str, int], min_frames: int) -> Page:
    """The page that shows which phones the codewords of a model stand for.

    Args:
        tables: `JOINT`, and each codebook by its number.
        symbol: what the rows are, "phone" or "character".
        sizes: the number of codewords that exist, by table.
        min_frames: codewords of fewer frames count in the measures but are not drawn.
    """
    page = Page(f"{symbol.capitalize()}s by codewords")
    page.heading(f"How much codewords say about {symbol}s")
    page.table(*measure_rows(tables, symbol, sizes))
    page.text(
        f"Purity: share of frames whose {symbol} is the most likely one given the codeword; for comparison, the share "
        f"of the most frequent {symbol}. Explained: mutual information as a share of the {symbol}s' entropy. By "
        f"chance: the same when codewords and {symbol}s are paired at random; it grows with the number of codewords "
        f"and falls with the number of frames."
    )
    for name, table in tables.items():
        often = table.frequent(min_frames)
        title = _title(name)
        page.heading(title[0].upper() + title[1:])
        if not often.frames:
            page.text(f"No codeword occurs in {min_frames} frames.")
            continue
        caption = f"P({symbol} | codeword) of {title}; codewords in at least {min_frames} frames"
        page.figure(draw_codes(often, title, symbol), caption, f"codes_{name}")
    page.heading(f"{symbol.capitalize()}s")
    page.table(*phone_rows(tables[JOINT], symbol, min_frames))
    return page


def measure_rows(
    tables: Mapping[str, CodeTable], symbol: str, sizes: Mapping[str, int]
) -> tuple[list[str], list[list[str]], str]:
    """Header, rows and caption of the measures, a row for each table."""
    header = [
        "codewords",
        "in use",
        "of",
        "frames",
        f"{symbol} purity, %",
        f"most frequent {symbol}, %",
        "code purity, %",
    ]
    header += ["information, bits", "explained, %", "explained by chance, %"]
    rows = []
    for name, table in tables.items():
        found, chance = agreement(table.counts), agreement(shuffled(table.counts, _SEED))
        shares = [found.phone_purity, found.majority, found.code_purity]
        cells = [_title(name), str(len(table.codes)), str(sizes[name]), str(table.frames)]
        cells += [*(f"{100 * share:.1f}" for share in shares), f"{found.information:.3f}"]
        rows.append([*cells, f"{100 * found.explained:.1f}", f"{100 * chance.explained:.1f}"])
    return header, rows, f"Codewords and {symbol}s on the same frames"


def phone_rows(table: CodeTable, symbol: str, min_frames: int) -> tuple[list[str], list[list[str]], str]:
    """Header, rows and caption: each phone's frames, and the codewords of enough frames that most likely stand for
    it.
    """
    best, frames = table.counts.argmax(0), table.counts.sum(0)
    rows = []
    for row, phone in enumerate(table.phones):
        own = np.flatnonzero((best == row) & (frames >= min_frames))
        held = int(frames[own].sum())
        sure = f"{100 * int(table.counts[row, own].sum()) / held:.1f}" if held else "–"
        share = 100 * int(table.counts[row].sum()) / table.frames
        rows.append([phone, str(int(table.counts[row].sum())), f"{share:.1f}", str(len(own)), sure])
    header = [symbol, "frames", "frames, %", "codewords", f"P({symbol} | its codewords), %"]
    return (
        header,
        rows,
        f"Each {symbol}, and the joint codewords of at least {min_frames} frames whose most likely {symbol} it is",
    )


def _title(name: str) -> str:
    return "both codebooks together" if name == JOINT else f"codebook {name}"
