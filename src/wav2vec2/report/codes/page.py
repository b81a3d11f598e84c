"""The page that says which phones the codewords of a model stand for."""

from collections.abc import Mapping

import numpy as np

from wav2vec2.report.codes.cooccurrence import CodeTable, agreement, shuffled
from wav2vec2.report.codes.picture import draw_codes
from wav2vec2.report.page import Page

_SEED = 20_200_620
JOINT = "joint"
"""Name of the table of one entry of each codebook together."""


def codes_page(tables: Mapping[str, CodeTable], symbol: str, sizes: Mapping[str, int], min_frames: int) -> Page:
    """The page of some tables: "joint" (one entry of each codebook together) and each codebook by its number.

    `symbol` is what the rows are, "phone" or "character"; `sizes` are the numbers of codewords that there are.
    Codewords in fewer than `min_frames` frames are in the measures, not in the pictures.
    """
    page = Page(f"{symbol.capitalize()}s by codewords")
    page.heading(f"How much codewords tell of {symbol}s")
    page.table(*measures(tables, symbol, sizes))
    page.text(
        f"Purity: share of frames whose {symbol} is guessed right from the codeword; beside it, guessing always the "
        f"most frequent {symbol}. Explained: mutual information as a share of the {symbol}s' entropy. By chance: the "
        f"same with codewords and {symbol}s paired at random; many codewords on few frames agree by chance."
    )
    for name, table in tables.items():
        often = table.seen_often(min_frames)
        title = _title(name)
        page.heading(title[0].upper() + title[1:])
        if not often.frames:
            page.text(f"No codeword occurs in {min_frames} frames.")
            continue
        caption = f"P({symbol} | codeword) of {title}; codewords in at least {min_frames} frames"
        page.figure(draw_codes(often, title, symbol), caption, f"codes_{name}")
    page.heading(f"{symbol.capitalize()}s")
    page.table(*phones_of(tables[JOINT], symbol, min_frames))
    return page


def measures(
    tables: Mapping[str, CodeTable], symbol: str, sizes: Mapping[str, int]
) -> tuple[list[str], list[list[str]], str]:
    """Header, rows and caption: a row for each table."""
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


def phones_of(table: CodeTable, symbol: str, min_frames: int) -> tuple[list[str], list[list[str]], str]:
    """Header, rows and caption: each phone's frames, and the codewords (of enough frames) that most likely are it."""
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
        f"Each {symbol}, and the joint codewords of {min_frames} frames or more whose most likely {symbol} it is",
    )


def _title(name: str) -> str:
    return "both codebooks together" if name == JOINT else f"codebook {name}"
