import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.report.run_logs import finetuning_records, pretraining_records, write_run

from wav2vec2.report import curves
from wav2vec2.report.panels import Panel, draw_panels, thinned
from wav2vec2.report.run_log import RunLog, read_run


def panels_by_title(panels: list[Panel]) -> dict[str, Panel]:
    return {panel.title: panel for panel in panels if panel.curves}


@pytest.fixture
def pretraining(tmp_path: Path) -> RunLog:
    return read_run(write_run(tmp_path / "run", pretraining_records()))


def test_pretraining_panels_hold_the_numbers_of_the_log(pretraining: RunLog) -> None:
    panels = panels_by_title(curves.pretraining_panels([pretraining]))
    line, dots, chance = panels["Contrastive loss"].curves
    assert line.y.tolist() == pytest.approx([4.9, 4.8, 4.7, 4.6])
    assert (dots.style, dots.x.tolist(), dots.y.tolist()) == ("dots", [40], [4.4])
    assert (chance.style, chance.y.tolist()) == ("level", [4.615])
    accuracy = panels["Contrastive accuracy"].curves
    assert accuracy[0].y.tolist() == pytest.approx([1, 2, 3, 4])
    assert accuracy[2].y[0] == pytest.approx(100 * math.exp(-4.615))
    assert panels["Perplexity of codebook 1"].curves[0].y.tolist() == [1.5, 3.0, 4.5, 6.0]
    assert panels["Perplexity of codebook 2"].curves[1].y.tolist() == [6.0]
    # 12 / (1 - 0.25) = 16 entries in two codebooks
    assert panels["Perplexity of codebook 2"].curves[2].y.tolist() == [8.0]
    assert {"Codes in use", "Gumbel temperature", "Learning rate", "Gradient norm", "Speed"} <= panels.keys()


def test_a_log_with_the_sum_of_perplexities_alone(tmp_path: Path) -> None:
    records = [{k: v for k, v in r.items() if not k.startswith("code_perplexity_")} for r in pretraining_records()]
    run = read_run(write_run(tmp_path / "old", records))
    (panel,) = curves.perplexity_panels([run])
    assert panel.title == "Perplexity, summed over codebooks"
    assert panel.curves[0].y.tolist() == [2, 4, 6, 8]
    assert panel.curves[-1].y.tolist() == [16]


def test_gradients_of_one_run_by_part_and_of_two_runs_by_panel(pretraining: RunLog, tmp_path: Path) -> None:
    (one,) = curves.gradient_panels([pretraining])
    assert [(curve.label, curve.y[0]) for curve in one.curves] == [
        ("whole model", 5.0), ("quantizer", 4.0), ("heads", 3.0)
    ]  # fmt: skip
    other = read_run(write_run(tmp_path / "other", pretraining_records(gradient_norm_heads=7.0)))
    panels = panels_by_title(curves.gradient_panels([pretraining, other]))
    assert [curve.y[0] for curve in panels["Gradient norm: heads"].curves] == [3.0, 7.0]
    assert [curve.label for curve in panels["Gradient norm: heads"].curves] == ["run", "other"]


def test_finetuning_panels(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "run", finetuning_records()))
    panels = panels_by_title(curves.finetuning_panels([run]))
    assert panels["CTC loss"].curves[0].y.tolist() == [3.0, 2.5]
    assert panels["Word error rate, held-out"].curves[0].y.tolist() == pytest.approx([90, 80])
    assert panels["Character error rate, held-out"].curves[0].y.tolist() == pytest.approx([50, 60])
    assert "Speed" not in panels  # this log has none


def test_the_published_curve_stands_beside_ours(pretraining: RunLog) -> None:
    ours, held_out, published = curves.reference_panel([pretraining]).curves
    assert (ours.label, held_out.style, published.style) == ("run", "dots", "reference")
    assert published.x.tolist() == [50_000, 100_000, 200_000, 300_000, 400_000]
    assert published.y.tolist() == pytest.approx([49, 54, 58, 61, 63])


def test_drawing_keeps_every_panel_with_curves_and_the_legend_outside(pretraining: RunLog) -> None:
    panels = [*curves.pretraining_panels([pretraining]), Panel("empty", "")]
    figure = draw_panels(panels)
    assert [axes.get_title(loc="left") for axes in figure.axes] == [panel.title for panel in panels[:-1]]
    assert all(axes.get_xlabel() and axes.get_ylabel() and axes.get_legend() is None for axes in figure.axes)
    (legend,) = figure.legends
    assert legend.get_texts()[0].get_text() == "run"
    figure.draw_without_rendering()
    bottom = legend.get_window_extent().y0
    assert all(axes.get_tightbbox().y1 <= bottom + 1 for axes in figure.axes)
    with pytest.raises(ValueError, match="no panel"):
        draw_panels(panels[-1:])


@given(st.integers(0, 300), st.integers(1, 50))
def test_thinning_keeps_the_mean_and_the_order(length: int, limit: int) -> None:
    x = np.arange(length, dtype=float)
    thin_x, thin_y = thinned(x, 2 * x + 1, limit)
    assert len(thin_x) <= limit
    assert (np.diff(thin_x) > 0).all()
    assert thin_y == pytest.approx(2 * thin_x + 1)
    if length <= limit:
        assert len(thin_x) == length


def test_a_gap_stays_a_gap() -> None:
    y = np.ones(100)
    y[7] = np.nan
    assert np.isnan(thinned(np.arange(100.0), y, 10)[1]).tolist() == [True] + [False] * 9


def test_more_runs_than_colours_are_told_apart_by_their_lines() -> None:
    panel = Panel("many", "")
    for number in range(15):
        panel.add(f"run {number}", (np.arange(3.0), np.arange(3.0) + number))
    (axes,) = draw_panels([panel]).axes
    assert len({(line.get_color(), line.get_linestyle()) for line in axes.lines}) == 15
