"""Tables of error rates, as in the paper: a row for each split, a column for each search."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wav2vec2.evaluation.calibration import reliability_rows, reliability_summary
from wav2vec2.evaluation.scores import EvaluationReport, Score, report_text
from wav2vec2.text.error_rate import display_width


@dataclass(frozen=True)
class Comparison:
    """Reports on several searches.

    columns: titles of the searches. reports: one for each column, over all utterances. rows: for each split, in the
    order of the manifest, one report for each column.
    """

    columns: tuple[str, ...]
    reports: tuple[EvaluationReport, ...]
    rows: Mapping[str, tuple[EvaluationReport, ...]]

    def as_json(self) -> dict[str, Any]:
        """Return the report of the last column, and the whole table under `table`."""
        named = dict(self.rows) if len(self.rows) == 1 else {**self.rows, "all": self.reports}
        table = {
            row: {
                column: {name: score.as_json() for name, score in report.scores().items()}
                for column, report in zip(self.columns, reports, strict=True)
            }
            for row, reports in named.items()
        }
        return self.reports[-1].as_json() | {"search": self.columns[-1], "table": table}


def comparison_text(comparison: Comparison) -> str:
    """Return the table, if it has more than one cell, and the report of the last column."""
    text = report_text(comparison.reports[-1])
    if len(comparison.columns) == 1 and len(comparison.rows) < 2:
        return text
    last = f"{comparison.columns[-1]}: " if len(comparison.columns) > 1 else ""
    return f"{table_text(comparison)}\n\n{last}{text}"


def calibration_text(comparison: Comparison) -> str:
    """Return the reliability tables of the columns that have confidences."""
    parts = []
    for column, report in zip(comparison.columns, comparison.reports, strict=True):
        if report.reliability is not None:
            table = lines_of_columns(reliability_rows(report.reliability))
            parts.append("\n".join([f"{column}: {reliability_summary(report.reliability)}", *table]))
    return "\n\n".join(parts)


def table_text(comparison: Comparison) -> str:
    """Return the error rates in percent, with their 95 % intervals in brackets."""
    cells = [["", "", *comparison.columns]]
    rows = dict(comparison.rows)
    if len(rows) != 1:
        rows["all"] = comparison.reports
    for row, reports in rows.items():
        for place, name in enumerate(reports[0].scores()):
            scores = [report.scores()[name] for report in reports]
            cells.append([row if place == 0 else "", f"{name.upper()} %", *map(_cell, scores)])
    return "\n".join(lines_of_columns(cells))


def lines_of_columns(rows: Sequence[Sequence[str]], *, rule: bool = False) -> list[str]:
    """Return `rows`, all of one length, as lines with aligned columns; with `rule`, dashes follow the first line."""
    widths = [max(map(display_width, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell + " " * (width - display_width(cell)) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return [*lines[:1], "  ".join("-" * width for width in widths), *lines[1:]] if rule else lines


def _cell(score: Score) -> str:
    return f"{100 * score.counts.rate:6.2f} [{100 * score.low:.2f}, {100 * score.high:.2f}]"
