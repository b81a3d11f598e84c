"""Panels of curves, as data and drawn: several runs share the axes, with one legend above them."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Style = Literal["line", "dots", "level", "reference"]

# Okabe and Ito's colours, which colour-blind people can tell apart, without yellow.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
_GREY = "#777777"
_LINES: tuple[Literal["-", "--", "-."], ...] = ("-", "--", "-.")
_POINTS = 1000
_LABEL = 40
"""Characters of a line of the legend: two columns fit beside each other."""

_Look = tuple[str, Literal["-", "--", "-."]]


@dataclass(frozen=True)
class Curve:
    """A curve. label: its name in the legend; curves with the same label have the same colour.

    style: line for training (every log line), dots for held-out data, level for one value at all updates (such as
    chance), reference for published points.
    """

    label: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    style: Style = "line"


@dataclass(frozen=True)
class Panel:
    """One pair of axes. A panel without curves is not drawn."""

    title: str
    unit: str
    curves: list[Curve] = field(default_factory=list)
    log_x: bool = False
    log_y: bool = False
    x_label: str = "update"

    def add(self, label: str, points: tuple[NDArray[np.float64], NDArray[np.float64]], style: Style = "line") -> None:
        """Add a curve if it has points; long lines are thinned."""
        x, y = points
        if len(x):
            self.curves.append(Curve(label, *(thinned(x, y) if style == "line" else (x, y)), style))


def thinned(
    x: NDArray[np.float64], y: NDArray[np.float64], limit: int = _POINTS
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Reduce a curve to at most `limit` points, each the mean of equally many neighbours (the last may have fewer).

    The mean of neighbours that are not all finite is not finite, so gaps stay gaps.
    """
    if len(x) <= limit:
        return x, y
    starts = np.arange(0, len(x), math.ceil(len(x) / limit))
    counts = np.diff([*starts, len(x)])
    return np.add.reduceat(x, starts) / counts, np.add.reduceat(y, starts) / counts


def draw_panels(panels: Sequence[Panel], *, columns: int = 3) -> "Figure":
    """Draw the panels that have curves, row by row. Raises ValueError if none has any."""
    from matplotlib.figure import Figure

    shown = [panel for panel in panels if panel.curves]
    if not shown:
        raise ValueError("no panel has a curve")
    columns = min(columns, len(shown))
    rows = math.ceil(len(shown) / columns)
    looks = _looks(shown)
    keys = _legend(shown, looks)
    legend_columns = max(2, columns)
    legend_rows = math.ceil(len(keys) / legend_columns)
    width = 4.2 * columns if columns > 1 else 6.5
    figure = Figure(figsize=(width, 2.9 * rows + 0.25 * legend_rows + 0.1), layout="constrained")
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for panel, axes in zip(shown, grid, strict=False):
        _draw(panel, axes, looks)
    for axes in grid[len(shown) :]:
        axes.remove()
    figure.legend(handles=keys, loc="outside upper left", ncols=legend_columns, frameon=False, fontsize=9)
    return figure


def draw_apart(panels: Sequence[Panel]) -> list["Figure"]:
    """Draw the legend and each of the panels that have curves as figures of their own, as `draw_panels` does in one."""
    from matplotlib.figure import Figure

    shown = [panel for panel in panels if panel.curves]
    looks = _looks(shown)
    keys = _legend(shown, looks)
    lines = sum(1 + str(key.get_label()).count("\n") for key in keys)
    legend = Figure(figsize=(4.2, 0.2 + 0.25 * lines), layout="constrained")
    legend.legend(handles=keys, loc="center left", frameon=False, fontsize=9)
    figures = [legend]
    for panel in shown:
        figure = Figure(figsize=(4.2, 2.9), layout="constrained")
        _draw(panel, figure.subplots(), looks)
        figures.append(figure)
    return figures


def _looks(panels: Sequence[Panel]) -> dict[str, _Look]:
    labels = dict.fromkeys(c.label for p in panels for c in p.curves if c.style in ("line", "dots"))
    return {label: _look(place) for place, label in enumerate(labels)}


def _look(place: int) -> _Look:
    """Colour and line style of the label at this place; when colours run out, the line style changes."""
    return COLORS[place % len(COLORS)], _LINES[place // len(COLORS) % len(_LINES)]


def _draw(panel: Panel, axes: Any, looks: dict[str, _Look]) -> None:
    for curve in panel.curves:
        color, line = looks.get(curve.label, (_GREY, "-"))
        if curve.style == "level":
            axes.axhline(curve.y[0], color=_GREY, linestyle=":", linewidth=1.2)
        elif curve.style == "reference":
            axes.plot(curve.x, curve.y, "D--", color=_GREY, markersize=4, linewidth=0.8)
        elif curve.style == "dots":
            axes.plot(curve.x, curve.y, "o", color=color, markersize=4, markeredgecolor="white", markeredgewidth=0.4)
        else:
            marker = "." if len(curve.x) == 1 else ""
            axes.plot(curve.x, curve.y, line, color=color, linewidth=1.2, alpha=0.9, marker=marker)
    if panel.log_x:
        axes.set_xscale("log")
    if panel.log_y and all((curve.y > 0).all() for curve in panel.curves):
        axes.set_yscale("log")
    else:
        axes.ticklabel_format(axis="y", useOffset=False)
    axes.set_title(panel.title, fontsize=10, loc="left")
    axes.set_xlabel(panel.x_label, fontsize=9)
    axes.set_ylabel(panel.unit, fontsize=9)
    axes.tick_params(labelsize=8, which="both")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _legend(panels: Sequence[Panel], looks: dict[str, _Look]) -> list[Any]:
    """Legend entries: the runs by colour, then the styles that occur."""
    from matplotlib.lines import Line2D

    keys = [
        Line2D([], [], color=color, linestyle=line, linewidth=2, label=textwrap.fill(label, _LABEL))
        for label, (color, line) in looks.items()
    ]
    curves = [curve for panel in panels for curve in panel.curves]
    styles = {curve.style for curve in curves}
    if "dots" in styles:
        keys.append(Line2D([], [], color=_GREY, linewidth=1.2, label="line: training"))
        keys.append(Line2D([], [], color=_GREY, marker="o", linestyle="", markersize=4, label="dots: held-out data"))
    named = dict.fromkeys((curve.style, curve.label) for curve in curves)
    for label in (label for style, label in named if style == "level"):
        keys.append(Line2D([], [], color=_GREY, linestyle=":", label=label))
    for label in (label for style, label in named if style == "reference"):
        keys.append(Line2D([], [], color=_GREY, linestyle="--", marker="D", markersize=4, label=label))
    return keys
