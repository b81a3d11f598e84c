import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wav2vec2.errors import UserError
from wav2vec2.experiment.cell import Cell, UtteranceErrors
from wav2vec2.experiment.paired_bootstrap import by_speaker, compare_cells, paired_difference, speakers_helped
from wav2vec2.text.error_rate import ErrorCounts, bootstrap_interval


def cell(name: str, errors: list[int], words: int = 10, first: int = 0) -> Cell:
    rows = tuple(
        UtteranceErrors(f"u{i}", f"s{i % 3}", "test-clean" if i % 2 else "test-other", counts, counts)
        for i, counts in enumerate((ErrorCounts(substitutions=e, reference=words) for e in errors), first)
    )
    return Cell(name, "greedy", "no LM", {}, rows)


def test_a_constant_gain_is_certain_however_much_utterances_differ():
    hard = np.random.default_rng(0).integers(2, 60, 200)
    found = paired_difference(hard, hard - 2, np.full(200, 60))
    assert found.difference == pytest.approx(-2 / 60)
    assert (found.low, found.high) == (pytest.approx(-2 / 60), pytest.approx(-2 / 60))
    assert found.significant
    assert found.better == 1.0
    # Unpaired, the two intervals overlap: that is what pairing is for.
    low, _ = bootstrap_interval(list(hard), [60] * 200)
    _, high = bootstrap_interval(list(hard - 2), [60] * 200)
    assert low < high


def test_no_difference_is_not_certain():
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 10, 100), rng.integers(0, 10, 100)
    found = paired_difference(a, b, np.full(100, 20))
    assert found.low < 0 < found.high
    assert not found.significant


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(2)
    inside = 0
    for trial in range(100):
        difficulty = rng.uniform(0.1, 0.9, 150)
        a, b = rng.binomial(12, difficulty), rng.binomial(12, 0.8 * difficulty)
        found = paired_difference(a, b, np.full(150, 12), replications=400, seed=trial)
        inside += found.low <= -0.2 * 0.5 <= found.high
    assert 88 <= inside <= 100


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(1, 9)), min_size=1, max_size=30))
@settings(max_examples=40, deadline=None)
def test_swapping_the_systems_turns_the_sign(rows):
    a, b, total = (list(column) for column in zip(*rows, strict=True))
    there, back = (paired_difference(x, y, total, replications=50) for x, y in ((a, b), (b, a)))
    assert there.difference == pytest.approx(-back.difference)
    assert there.low == pytest.approx(-back.high)
    assert there.low - 1e-12 <= there.high


def test_nothing_to_compare_on():
    with pytest.raises(UserError, match="no reference token"):
        paired_difference([0], [1], [0])
    with pytest.raises(UserError, match="different utterances"):
        compare_cells([cell("a", [1, 2])], [cell("b", [1, 2], first=10)], "wer")


def test_cells_of_several_seeds_and_by_whole_speakers():
    a, b = [cell("a", [4] * 6), cell("a", [2] * 6)], [cell("b", [1] * 6)]
    found = compare_cells(a, b, "wer")
    assert (found.a, found.b, found.units) == (pytest.approx(0.3), pytest.approx(0.1), 6)
    assert found.reduction == pytest.approx(2 / 3)
    assert compare_cells(a, b, "wer", unit="speaker").units == 3


def test_speaker_by_speaker():
    rows = by_speaker(cell("a", [5, 5, 5, 5, 5, 5]), cell("b", [1, 5, 9, 1, 5, 5]), "wer")
    assert (rows[0].speaker, rows[0].split) == ("s0", "test-other")
    assert speakers_helped(rows) == (2, 3, 1)
    assert rows[0].b - rows[0].a == pytest.approx(-0.4)
