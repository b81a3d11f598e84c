"""``wav2vec2 report hours``: error rate against hours of labels, with and without pre-training."""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from wav2vec2.errors import UserError, cause, quoted
from wav2vec2.input_file import read_text
from wav2vec2.report.page import Page
from wav2vec2.report.panels import COLORS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MARKERS = "osD^vPX"


@dataclass(frozen=True)
class LabelPoint:
    """One trained and evaluated model.

    hours: of labelled speech. arm: the line that it belongs to, such as "pre-trained, 4-gram". wer, low, high: error
    rate and its interval as fractions (0.25 is 25 %); low and high are NaN if there is no interval.
    """

    hours: float
    arm: str
    wer: float
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True)
class HoursOptions:
    """Draw error rate against hours of labels from a table, one line for each arm, in OUT/report.html and
    OUT/report.md.
    """

    table: Annotated[Path, Positional, arg(metavar="TABLE.csv")]
    """CSV with the columns hours, arm, wer and, optionally, low and high (an interval); rates are fractions (0.25)."""
    out: Path = Path("report")
    """Folder to write to; it is created if needed."""
    rate: str = "WER"
    """Name of the rate: WER, CER or PER."""


def run(options: HoursOptions) -> None:
    """Write the report and print where it is. Raises UserError."""
    points = read_label_points(options.table)
    page = Page(f"{options.rate} against hours of labels")
    header, rows = label_table(points)
    page.table(header, rows, f"{options.rate} in %, with its interval")
    caption = f"{options.rate} against hours of labelled speech; bars are intervals"
    page.figure(draw_label_hours(points, rate=options.rate), caption, "label_hours")
    html, markdown = page.write(options.out)
    print(f"{html}\n{markdown}")


def read_label_points(path: Path) -> list[LabelPoint]:
    """Read the table. Raises UserError, which names file and line, for a missing column or a value that is not a
    number.
    """
    try:
        reader = csv.DictReader(io.StringIO(read_text(path, encoding="utf-8-sig"), newline=""))
        rows = [(reader.line_num, row) for row in reader]
        names = reader.fieldnames or []
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give a CSV of hours,arm,wer,low,high") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: is not a CSV file in UTF-8 ({cause(error)}); give hours,arm,wer,low,high") from None
    if missing := [name for name in ("hours", "arm", "wer") if name not in names]:
        raise UserError(f"{path}: has no column {quoted(missing[0])}; the first line must be hours,arm,wer[,low,high]")
    if not rows:
        raise UserError(f"{path}: has no rows below its first line; add one for each model")
    points = []
    for number, row in rows:
        try:
            numbers = [float(row.get(name) or "nan") for name in ("low", "high")]
            point = LabelPoint(float(row["hours"]), row["arm"], float(row["wer"]), *numbers)
        except (TypeError, ValueError):
            raise UserError(
                f"{path}: line {number} has a value that is not a number; give hours,arm,wer[,low,high]"
            ) from None
        if not (0 < point.hours < math.inf and 0 <= point.wer < math.inf):
            raise UserError(f"{path}: line {number}: hours must be above 0 and the rate a fraction of at least 0")
        points.append(point)
    return points


def label_table(points: Iterable[LabelPoint]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the table, a row for each amount of labels and a column for each arm."""
    points = list(points)
    arms = list(dict.fromkeys(point.arm for point in points))
    rows = []
    for hours in sorted({point.hours for point in points}):
        cells = [", ".join(_cell(p) for p in points if (p.hours, p.arm) == (hours, arm)) or "–" for arm in arms]
        rows.append([hours_text(hours), *cells])
    return ["labels", *arms], rows


def arm_lines(points: Iterable[LabelPoint]) -> dict[str, list[tuple[float, float]]]:
    """For each arm, the points (hours, rate in percent) of its line; models with the same hours (seeds) are
    averaged.
    """
    rates: dict[str, dict[float, list[float]]] = {}
    for point in points:
        rates.setdefault(point.arm, {}).setdefault(point.hours, []).append(100 * point.wer)
    return {arm: [(h, sum(r) / len(r)) for h, r in sorted(by_hours.items())] for arm, by_hours in rates.items()}


def draw_label_hours(points: Sequence[LabelPoint], *, rate: str = "WER") -> "Figure":
    """Draw a line for each arm over the logarithm of the hours, and a marker with its interval for each model.

    Raises ValueError if there are no points.
    """
    from matplotlib.figure import Figure

    if not points:
        raise ValueError("no points to draw")
    lines = arm_lines(points)
    figure = Figure(figsize=(7.0, 3.8 + 0.22 * math.ceil(len(lines) / 2)), layout="constrained")
    axes = figure.subplots()
    for place, (arm, line) in enumerate(lines.items()):
        style: dict[str, Any] = {"color": COLORS[place % len(COLORS)], "marker": _MARKERS[place % len(_MARKERS)]}
        axes.plot(*zip(*line, strict=True), label=arm, linewidth=1.6, markersize=5, **style)
        for point in (point for point in points if point.arm == arm):
            axes.plot([point.hours], [100 * point.wer], linestyle="", markersize=5, **style)
            if math.isfinite(point.low + point.high):
                below, above = point.wer - point.low, point.high - point.wer
                bar: dict[str, Any] = {
                    "yerr": [[100 * below], [100 * above]],
                    "capsize": 4,
                    "ecolor": style["color"],
                    "fmt": "none",
                }
                axes.errorbar([point.hours], [100 * point.wer], elinewidth=1.4, **bar)
    axes.set_xscale("log")
    hours = sorted({point.hours for point in points})
    axes.set_xticks(hours, [hours_text(value) for value in hours])
    axes.set_xticks([], minor=True)
    axes.set_xlim(hours[0] / 1.25, hours[-1] * 1.25)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("labelled speech (logarithmic)")
    axes.set_ylabel(f"{rate} (%)")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper left", ncols=2, frameon=False, fontsize=9)
    return figure


def hours_text(hours: float) -> str:
    """Hours for people to read: 10 min, 1 h, 960 h."""
    return f"{60 * hours:.3g} min" if hours < 1 else f"{hours:.3g} h"


def _cell(point: LabelPoint) -> str:
    interval = f" [{100 * point.low:.1f}, {100 * point.high:.1f}]" if math.isfinite(point.low + point.high) else ""
    return f"{100 * point.wer:.1f}{interval}"
