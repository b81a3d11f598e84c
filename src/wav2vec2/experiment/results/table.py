"""Tables as data, so that the console, the HTML page and the Markdown file show the same."""

from collections.abc import Sequence
from dataclasses import dataclass

from wav2vec2.evaluation.scores import Score
from wav2vec2.text.error_rate import display_width

MISSING = "-"


@dataclass(frozen=True)
class Table:
    """Header, rows of as many cells, a caption, and the heading above it in a report."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    title: str = "Results"

    def text(self) -> str:
        """Columns in line, the caption above."""
        cells = [self.header, *self.rows]
        widths = [max(display_width(row[column]) for row in cells) for column in range(len(self.header))]
        lines = [_line(row, widths) for row in cells]
        lines.insert(1, "  ".join("-" * width for width in widths))
        return "\n".join([*([self.caption] if self.caption else []), *lines])


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell + " " * (width - display_width(cell)) for cell, width in zip(row, widths, strict=True)]
    return "  ".join(padded).rstrip()


def percent(score: Score | None) -> str:
    """A rate in percent with its 95 % interval."""
    if score is None:
        return MISSING
    return f"{100 * score.counts.rate:.1f} [{100 * score.low:.1f}, {100 * score.high:.1f}]"
