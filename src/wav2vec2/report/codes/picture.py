"""The picture of appendix D: P(phone | codeword), codewords in the order of their most likely phone."""

from typing import TYPE_CHECKING

from wav2vec2.report.codes.cooccurrence import CodeTable

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_codes(table: CodeTable, title: str, symbol: str = "phone") -> "Figure":
    """Draw a table of counts; `symbol` is what its rows are, the most frequent at the top.

    Raises ValueError for a table without frames.
    """
    from matplotlib.figure import Figure

    if not table.frames:
        raise ValueError("a table without frames")
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
