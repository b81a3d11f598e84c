"""What every ``wav2vec2 experiment NAME`` does with its plan: print, run, collect cells, write the report."""

from collections.abc import Callable
from pathlib import Path

from wav2vec2.experiment.options import ExperimentOptions
from wav2vec2.experiment.report import write_report
from wav2vec2.experiment.results.cell import Cell, read_cell
from wav2vec2.experiment.results.table import Table
from wav2vec2.pipeline.engine import Engine
from wav2vec2.pipeline.plan import Plan
from wav2vec2.pipeline.stage import Stage

Cells = dict[tuple[str, str], Cell]
Tables = Callable[[Cells], list[Table]]
RESULTS = "results"


def run_experiment(name: str, options: ExperimentOptions, plan: Plan, tables: Tables) -> None:
    """Do what the options say: list the stages, print the table so far, or run what is not done.

    tables: makes the tables of whatever cells there are.

    Raises:
        UserError: a stage failed, or cannot be run.
        KeyboardInterrupt: after Ctrl-C; the same command goes on.
    """
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
    except KeyboardInterrupt:
        print(f"\nstopped; the same command goes on. {_progress(plan)}", flush=True)
        raise
    if not todo or (options.only and stages[-1].name not in plan.goals):
        show(name, plan, tables)


def show(name: str, plan: Plan, tables: Tables, *, curves: bool = True) -> None:
    """Print the tables so far, keep their cells as JSON below ``results``, and write the report."""
    cells = collect(plan)
    found = tables(cells)
    print("\n" + "\n\n".join(table.text() for table in found))
    print(f"\n{_progress(plan)}", flush=True)
    page = write_report(name, plan, found, cells, _progress(plan), curves=curves)
    print(f"report: {page}", flush=True)


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


def results_folder(plan: Plan) -> Path:
    """Where the cells are kept, one JSON file each."""
    return plan.root / RESULTS
