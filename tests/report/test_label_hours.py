import math
from pathlib import Path

import numpy as np
import pytest

from wav2vec2.cli import main
from wav2vec2.errors import UserError
from wav2vec2.report.label_hours import (
    LabelPoint,
    arm_lines,
    draw_label_hours,
    hours_text,
    label_table,
    read_label_points,
)

POINTS = [
    LabelPoint(1, "from scratch", 0.9, 0.88, 0.92),
    LabelPoint(1 / 6, "from scratch", 1.0),
    LabelPoint(1, "pre-trained", 0.5, 0.45, 0.55),
    LabelPoint(1, "pre-trained", 0.6, 0.55, 0.65),
]


def test_lines_run_by_hours_and_seeds_are_averaged() -> None:
    lines = arm_lines(POINTS)
    assert np.array(lines["from scratch"]) == pytest.approx(np.array([[1 / 6, 100.0], [1, 90.0]]))
    assert np.array(lines["pre-trained"]) == pytest.approx(np.array([[1, 55.0]]))


def test_figure_has_lines_intervals_and_amounts() -> None:
    figure = draw_label_hours(POINTS)
    (axes,) = figure.axes
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["10 min", "1 h"]
    heights = sorted((c.get_segments()[0][0][1], c.get_segments()[0][1][1]) for c in axes.collections)
    assert np.array(heights) == pytest.approx(np.array([[45, 55], [55, 65], [88, 92]]))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["from scratch", "pre-trained"]
    with pytest.raises(ValueError, match="no points"):
        draw_label_hours([])


def test_table_has_a_row_for_each_amount() -> None:
    header, rows = label_table(POINTS)
    assert header == ["labels", "from scratch", "pre-trained"]
    assert rows == [["10 min", "100.0", "–"], ["1 h", "90.0 [88.0, 92.0]", "50.0 [45.0, 55.0], 60.0 [55.0, 65.0]"]]


def test_amounts() -> None:
    assert [hours_text(hours) for hours in (1 / 6, 0.5, 1, 100, 960)] == ["10 min", "30 min", "1 h", "100 h", "960 h"]


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "rows.csv"
    table.write_text("hours,arm,wer,low,high\n1,scratch,0.9,0.8,1.0\n1,pre-trained,0.5,,\n")
    low, high = read_label_points(table)[1].low, read_label_points(table)[1].high
    assert math.isnan(low)
    assert math.isnan(high)
    assert main(["report", "hours", str(table), "--out", str(tmp_path / "page")]) == 0
    assert (tmp_path / "page" / "label_hours.png").is_file()
    assert "| 1 h | 90.0 \\[80.0, 100.0\\] | 50.0 |" in (tmp_path / "page" / "report.md").read_text()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has no column 'hours'"),
        (b"hours,arm\n1,x\n", "has no column 'wer'"),
        (b"hours,arm,wer\n", "has no rows"),
        (b"hours,arm,wer\n1,x,0.5\n2,x,oops\n", "line 3 has a value that is not a number"),
        (b"hours,arm,wer\n1,x\n", "line 2 has a value that is not a number"),
        (b"hours,arm,wer\n0,x,0.5\n", "line 2: hours must be above 0"),
        (b"hours,arm,wer\n1,x,nan\n", "line 2: hours must be above 0"),
        (b"\xff\xfe\x00", "is not a CSV file in UTF-8"),
    ],
)
def test_bad_tables_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "rows.csv").write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_label_points(tmp_path / "rows.csv")


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_label_points(tmp_path / "none.csv")
