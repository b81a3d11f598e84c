"""The report of an experiment: one self-contained HTML page, and the same in Markdown with its figures beside it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wav2vec2.experiment.cell import Cell
from wav2vec2.experiment.choose import read_values
from wav2vec2.experiment.plan import Plan
from wav2vec2.experiment.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_report(
    name: str, plan: Plan, tables: Sequence[Table], cells: Mapping[tuple[str, str], Cell], progress: str
) -> Path:
    """Write ``report.html`` and ``report.md`` into the experiment's folder; returns the former."""
    from wav2vec2.report.page import Page

    page = Page(f"Experiment {name}")
    page.text(f"{progress[0].upper()}{progress[1:]}. Made by `wav2vec2 experiment {name}`.")
    figure = labels_figure(cells)
    if figure is not None:
        page.heading("Error rate by amount of labels")
        page.figure(figure, "Word error rate on all test splits by amount of labels, with 95 % intervals", "labels")
    for table in tables:
        heading, _, _ = table.caption.partition(";")
        page.heading(heading.split(",")[0] or "Table")
        page.table(table.header, table.rows, table.caption)
    page.heading("Stages")
    page.text("Each line can be repeated by hand. Results of stages that were adopted were made elsewhere.")
    page.table(("stage", "state", "what", "found"), _stages(plan))
    page.text("\n".join(["```", *_commands(plan), "```"]))
    return page.write(plan.root)[0]


def labels_figure(cells: Mapping[tuple[str, str], Cell]) -> "Figure | None":
    """WER against hours of labels, with and without pre-training; None where no cell has an amount of labels."""
    points: dict[tuple[str, str], list[tuple[str, float, float, float]]] = {}
    for cell in cells.values():
        if {"tier", "arm", "seed"} <= set(cell.row):
            score = cell.score("wer")
            values = (100 * score.counts.rate, 100 * score.low, 100 * score.high)
            points.setdefault((cell.row["arm"], cell.title), []).append((cell.row["tier"], *values))
    if not points:
        return None
    from matplotlib.figure import Figure

    order = ["10min", "1h", "all"]
    titles = list(dict.fromkeys(title for _, title in points))
    figure = Figure(figsize=(7.0, 4.2), layout="constrained")
    axes = figure.subplots()
    for (arm, title), found in points.items():
        found = sorted(found, key=lambda point: order.index(point[0]))
        places, rates = [order.index(point[0]) for point in found], [point[1] for point in found]
        errors = [[point[1] - point[2] for point in found], [point[3] - point[1] for point in found]]
        label = f"{'pre-trained' if arm == 'pretrained' else 'from scratch'}, {title}"
        style = "-o" if arm == "pretrained" else "--s"
        axes.errorbar(places, rates, errors, fmt=style, color=f"C{titles.index(title)}", capsize=3, label=label)
    axes.set_xticks(range(len(order)), order)
    axes.set_xlabel("transcribed speech")
    axes.set_ylabel("WER (%)")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return figure


def _stages(plan: Plan) -> list[tuple[str, str, str, str]]:
    rows = []
    for stage in plan.stages:
        state = "adopted" if stage.name in plan.adopted else "done" if plan.done(stage.name) else "to do"
        found = read_values(plan.folder(stage.name)) if state == "done" else {}
        shown = ", ".join(f"{key} {value}" for key, value in found.items() if key != "score")
        rows.append((stage.name, state, stage.title, shown))
    return rows


def _commands(plan: Plan) -> list[str]:
    return [line.strip() for number, line in enumerate(plan.lines()) if number % 2]
