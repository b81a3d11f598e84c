"""``wav2vec2 report``: the curves of one or several training runs on one page."""

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from wav2vec2.errors import UserError
from wav2vec2.report import curves
from wav2vec2.report.page import Page
from wav2vec2.report.panels import Panel, draw_apart, draw_panels
from wav2vec2.report.run_log import RunKind, RunLog, differing_settings, read_runs

_TITLES: dict[RunKind, str] = {
    "pre-training": "Pre-training",
    "fine-tuning": "Fine-tuning",
    "language model": "Language models",
}

_CURVES: dict[RunKind, tuple[Callable[[Sequence[RunLog]], list[Panel]], str]] = {
    "pre-training": (curves.pretraining_panels, "Pre-training by update"),
    "fine-tuning": (
        curves.finetuning_panels,
        "Fine-tuning by update; error rates on held-out data, decoded greedily",
    ),
    "language model": (curves.language_model_panels, "Language models by update"),
}


@dataclass(frozen=True)
class ReportOptions:
    """Draw the curves of training runs on one page, in OUT/report.html (self-contained) and OUT/report.md.

    Runs of the same kind share the axes. Other reports: report codes (phones by codewords), report utterance
    (spectrogram, emissions, alignment), report hours (error rate against hours of labels).
    """

    runs: Annotated[tuple[str, ...], Positional, arg(metavar="RUN [RUN ...]")]
    """Output folders of pretrain, finetune or lm transformer, or their log.jsonl."""
    out: Path = Path("report")
    """Folder to write to; it is created if needed."""


def run(options: ReportOptions) -> None:
    """Write the report and print where it is. Raises UserError."""
    if not options.runs:
        raise UserError("report: give the folder of at least one run")
    runs = read_runs(options.runs)
    for one in runs:
        if one.cut:
            print(f"{one.path}: the last line is incomplete and was skipped", file=sys.stderr)
    html, markdown = runs_page(runs).write(options.out)
    print(f"{html}\n{markdown}")


def runs_page(runs: Sequence[RunLog]) -> Page:
    """A page of runs, by kind."""
    page = Page("Runs: " + ", ".join(run.name for run in runs))
    for kind, title in _TITLES.items():
        if chosen := [run for run in runs if run.kind == kind]:
            add_runs(page, chosen, title)
    return page


def add_runs(page: Page, runs: Sequence[RunLog], title: str) -> None:
    """Add a section on runs of one kind: their results, how their settings differ, and their curves."""
    kind = runs[0].kind
    page.heading(title)
    page.table(*summary(runs))
    if len(runs) > 1 and (rows := differing_settings(runs)):
        page.table(
            ["setting", *(run.name for run in runs)], [[key, *values] for key, values in rows], "Settings that differ"
        )
    stem = kind.replace("-", "_").replace(" ", "_")
    of_kind, caption = _CURVES[kind]
    panels = of_kind(runs)
    page.figure(draw_panels(panels), caption, f"{stem}_curves", parts=draw_apart(panels))
    gradients = curves.gradient_panels(runs)
    if any(panel.curves for panel in gradients):
        caption = "Gradient norms of the parts of the model, at the last update of each log line"
        whole = draw_panels(gradients, columns=2)
        page.figure(whole, caption, f"{stem}_gradients", parts=draw_apart(gradients))
    if kind == "pre-training":
        caption = "Contrastive accuracy, and that of a published run of BASE (960 hours, 1.6 hours of audio per update)"
        page.figure(draw_panels([curves.reference_panel(runs)]), caption, f"{stem}_reference")


def summary(runs: Sequence[RunLog]) -> tuple[list[str], list[list[str]], str]:
    """Header, rows and caption of the table of results of runs of one kind."""
    header = ["run", "updates", "ended"]
    rows = [[run.name, str(max(run.train)), run.stopped or "running or killed"] for run in runs]
    for title, cells in _columns(runs):
        if any(cell for cell in cells):
            header.append(title)
            for row, cell in zip(rows, cells, strict=True):
                row.append(cell or "–")
    caption = "At the end of the run: on held-out data if the run has any, else from the last log line"
    return header, rows, caption


def _columns(runs: Sequence[RunLog]) -> list[tuple[str, list[str]]]:
    kind = runs[0].kind
    if kind == "fine-tuning":
        keys = [("loss, nats per label", "per_label", 1.0), ("WER, %", "wer", 100.0), ("CER, %", "cer", 100.0)]
    elif kind == "language model":
        keys = [("loss, nats per token", "loss", 1.0), ("perplexity", "perplexity", 1.0)]
        keys.append(("perplexity per word", "word_perplexity", 1.0))
    else:
        keys = [("loss, nats", "contrastive", 1.0), ("accuracy, %", "accuracy", 100.0)]
        keys.append(("codes in use, %", "codes_used", 100.0))
    columns = [(title, [_cell(_end(run, key), scale) for run in runs]) for title, key, scale in keys]
    if kind == "pre-training":
        columns.insert(1, ("chance, nats", [_cell(run.last("train", "chance")) for run in runs]))
        columns.append(("perplexity of the codebooks", [_perplexity(run) for run in runs]))
        for key, part in curves.PARTS.items():
            columns.append((f"gradient norm, {part}", [_cell(run.last("train", key)) for run in runs]))
    best = [min(run.validation, key=lambda u: run.validation[u].get("score", math.inf), default=None) for run in runs]
    columns.append(("best at update", ["" if update is None else str(update) for update in best]))
    return columns


def _end(run: RunLog, key: str) -> float:
    value = run.last("validation", key)
    return value if math.isfinite(value) else run.last("train", key)


def _perplexity(run: RunLog) -> str:
    """Such as 71.2 + 69.8 of 2 x 128; only the sum if the log has no more."""
    size, groups = curves.codebook_sizes(run)
    each = [_cell(_end(run, f"code_perplexity_{group}")) for group in range(1, 9)]
    values = " + ".join(value for value in each if value) or _cell(_end(run, "code_perplexity"))
    return f"{values} of {groups:g} x {size:g}" if values and math.isfinite(size) else values


def _cell(value: float, scale: float = 1.0) -> str:
    return f"{scale * value:.4g}" if math.isfinite(value) else ""
