"""The report of an experiment: one self-contained HTML page, and the same in Markdown with its figures beside it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from wav2vec2.experiment.choose import read_values
from wav2vec2.experiment.results.cell import Cell
from wav2vec2.experiment.results.table import Table
from wav2vec2.experiment.steps import SPEECH
from wav2vec2.pipeline.plan import Plan
from wav2vec2.pipeline.recipe import Training
from wav2vec2.report.label_hours import LabelPoint, draw_label_hours
from wav2vec2.report.page import Page
from wav2vec2.report.run_log import RunLog, read_run
from wav2vec2.report.runs import add_runs

ARMS = {"pretrained": "pre-trained", "scratch": "from scratch"}


def write_report(
    name: str,
    plan: Plan,
    tables: Sequence[Table],
    cells: Mapping[tuple[str, str], Cell],
    progress: str,
    *,
    curves: bool = True,
) -> Path:
    """Write ``report.html`` and ``report.md`` into the experiment's folder; returns the former.

    curves: also draw the curves of all trainings, which takes some seconds.
    """
    page = Page(f"Experiment {name}")
    page.text(f"{progress[0].upper()}{progress[1:]}. Made by `wav2vec2 experiment {name}`.")
    points = label_points(plan, cells)
    if points:
        page.heading("Error rate by amount of labels")
        caption = "Word error rate on all test splits together against hours of labelled speech, with 95 % intervals"
        page.figure(draw_label_hours(points), caption, "label_hours")
    for table in tables:
        page.heading(table.title)
        page.table(table.header, table.rows, table.caption)
    for title, runs in _trainings(plan).items() if curves else ():
        add_runs(page, runs, title)
    page.heading("Stages")
    page.text("Each line can be repeated by hand. Results of stages that were adopted were made elsewhere.")
    page.table(("stage", "state", "what", "found"), _stages(plan))
    page.text("\n".join(["```", *_commands(plan), "```"]))
    return page.write(plan.root)[0]


def label_points(plan: Plan, cells: Mapping[tuple[str, str], Cell]) -> list[LabelPoint]:
    """Cells that differ in the amount of labels, for the picture; the hours are those that the labels really have."""
    hours = read_values(plan.folder(SPEECH)) if SPEECH in plan.by_name else {}
    points = []
    for cell in cells.values():
        amount = hours.get(f"hours_{cell.row.get('tier')}")
        if isinstance(amount, float) and cell.row.get("arm") in ARMS:
            score = cell.score("wer")
            arm = f"{ARMS[cell.row['arm']]}, {cell.title}"
            points.append(LabelPoint(amount, arm, score.counts.rate, score.low, score.high))
    return points


def _trainings(plan: Plan) -> dict[str, list[RunLog]]:
    """The runs that have begun, by kind."""
    found: dict[str, list[RunLog]] = {}
    titles = {"pretrain": "Pre-training", "finetune": "Fine-tuning", "lm transformer": "Language model"}
    for stage in plan.stages:
        here = stage.name not in plan.adopted and plan.done(stage.name)
        if here and isinstance(stage.work, Training):
            run = read_run(plan.folder(stage.name), stage.name)
            found.setdefault(titles[stage.work.command], []).append(run)
    return found


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
