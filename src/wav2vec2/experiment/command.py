"""What every ``wav2vec2 experiment NAME`` does with its plan: run it, collect the results, print and report them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from wav2vec2.errors import Stopped, UserError
from wav2vec2.experiment.cell import Cell, read_cell
from wav2vec2.experiment.options import ExperimentOptions
from wav2vec2.experiment.steps import SPEECH
from wav2vec2.experiment.tables import Table
from wav2vec2.pipeline.engine import Engine
from wav2vec2.pipeline.plan import Plan
from wav2vec2.pipeline.recipe import Training
from wav2vec2.pipeline.stage import Stage, read_values
from wav2vec2.report.label_hours import LabelPoint, draw_label_hours
from wav2vec2.report.page import Page
from wav2vec2.report.run_log import RunLog, read_run
from wav2vec2.report.runs import add_runs

Cells = dict[tuple[str, str], Cell]
Tables = Callable[[Cells], list[Table]]
RESULTS = "results"
_ARMS = {"pretrained": "pre-trained", "scratch": "from scratch"}


def run_experiment(name: str, options: ExperimentOptions, planned: Callable[[], Plan], tables: Tables) -> None:
    """List the stages, print the table so far, or run what is not done, as the options say.

    Args:
        name: of the experiment.
        options: of the experiment.
        planned: makes the plan of its stages. A table of results is printed without one, too.
        tables: makes the tables from the cells that exist.

    Raises:
        UserError: a stage failed, or cannot be run.
        KeyboardInterrupt: after Ctrl-C; the same command resumes.
    """
    try:
        plan = planned()
    except UserError as why:
        if not options.table:
            raise
        show_stored(options.folder(name), tables, str(why))
        return
    if options.dry_run:
        print("\n".join(plan.lines()))
        return
    if options.table:
        show(name, plan, tables)
        return
    stages = plan.matching(options.only) if options.only else plan.needed(plan.goals)
    todo = sum(not plan.done(stage.name) for stage in stages)
    print(f"{plan.root}: {len(plan.stages)} stages, {todo} to do", flush=True)

    def after(stage: Stage) -> None:
        if stage.name in plan.goals:
            show(name, plan, tables, curves=all(map(plan.done, plan.goals)))

    engine = Engine(plan, options.launch, options.minutes, options.keep_going, after)
    try:
        engine.run(stages)
    except KeyboardInterrupt as asked:
        print(f"\nstopped; the same command resumes. {_progress(plan)}", flush=True)
        raise asked if isinstance(asked, Stopped) else Stopped("Ctrl-C") from None
    if not todo or (options.only and stages[-1].name not in plan.goals):
        show(name, plan, tables)


def show(name: str, plan: Plan, tables: Tables, *, curves: bool = True) -> None:
    """Print the tables so far, write their cells to ``results``, and write the report."""
    cells = collect(plan)
    found = tables(cells)
    print("\n" + "\n\n".join(table.text() for table in found))
    print(f"\n{_progress(plan)}", flush=True)
    print(f"report: {write_report(name, plan, found, cells, curves=curves)}", flush=True)


def show_stored(root: Path, tables: Tables, why: str) -> None:
    """Print the tables of the cells in a folder's ``results``, where the options do not say which stages made them.

    Raises UserError, with the reason `why` there is no plan, if the folder holds none.
    """
    cells = {(cell.name, cell.lm): cell for cell in map(read_cell, sorted((root / RESULTS).glob("*.json")))}
    if not cells:
        raise UserError(
            f"{root}: holds no results yet; name the folder of a run with --out, or give its options: {why}"
        )
    print("\n" + "\n\n".join(table.text() for table in tables(cells)))
    print(f"\n{len(cells)} results of {root / RESULTS}; with the options of the run, this also says what is missing")


def collect(plan: Plan) -> Cells:
    """The cells of the goals that are done, by row and language model; each is copied to ``results``."""
    found: Cells = {}
    for goal in plan.goals:
        if plan.done(goal):
            for path in sorted(plan.result(goal).glob("*.json")):
                cell = read_cell(path)
                found[cell.name, cell.lm] = cell
    for cell in found.values():
        target = plan.root / RESULTS / f"{cell.name}-{cell.lm}.json"
        if not target.exists() or read_cell(target) != cell:
            cell.write(target.parent)
    return found


def _progress(plan: Plan) -> str:
    done = sum(plan.done(goal) for goal in plan.goals)
    state = "complete" if done == len(plan.goals) else "partial"
    return f"{state}: {done} of {len(plan.goals)} rows scored"


def write_report(
    name: str, plan: Plan, tables: Sequence[Table], cells: Mapping[tuple[str, str], Cell], *, curves: bool = True
) -> Path:
    """Write ``report.html`` and ``report.md`` to the experiment's folder, and return the path of the former.

    curves: draw the curves of all trainings too, which takes some seconds.
    """
    progress = _progress(plan)
    page = Page(f"Experiment {name}")
    page.text(f"{progress[0].upper()}{progress[1:]}. Made by `wav2vec2 experiment {name}`.")
    points = label_points(plan, cells)
    if points:
        page.heading("Error rate by amount of labels")
        caption = "Word error rate over all test splits against hours of labelled speech, with 95 % intervals"
        page.figure(draw_label_hours(points), caption, "label_hours")
    for table in tables:
        page.heading(table.title)
        page.table(table.header, table.rows, table.caption)
    for title, runs in _trainings(plan).items() if curves else ():
        add_runs(page, runs, title)
    page.heading("Stages")
    page.text("Each command can be repeated by hand. Results of adopted stages were made elsewhere.")
    page.table(("stage", "state", "purpose", "found"), _stages(plan))
    page.text("\n".join(["```", *_commands(plan), "```"]))
    return page.write(plan.root)[0]


def label_points(plan: Plan, cells: Mapping[tuple[str, str], Cell]) -> list[LabelPoint]:
    """A point for each cell of an experiment with several amounts of labels; hours are counted, not nominal."""
    hours = read_values(plan.folder(SPEECH)) if SPEECH in plan.by_name else {}
    points = []
    for cell in cells.values():
        amount = hours.get(f"hours_{cell.row.get('tier')}")
        if isinstance(amount, float) and cell.row.get("arm") in _ARMS:
            score = cell.score("wer")
            arm = f"{_ARMS[cell.row['arm']]}, {cell.title}"
            points.append(LabelPoint(amount, arm, score.counts.rate, score.low, score.high))
    return points


def _trainings(plan: Plan) -> dict[str, list[RunLog]]:
    """The runs that are done, by kind."""
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
        state = plan.state(stage.name)
        found = read_values(plan.folder(stage.name)) if state == "done" else {}
        shown = ", ".join(f"{key} {value}" for key, value in found.items() if key != "score")
        rows.append((stage.name, state, stage.title, shown))
    return rows


def _commands(plan: Plan) -> list[str]:
    return [line.strip() for number, line in enumerate(plan.lines()) if number % 2]
