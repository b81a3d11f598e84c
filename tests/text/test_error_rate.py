import math

import jiwer
import kaldialign
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wav2vec2.errors import UserError
from wav2vec2.text.error_rate import (
    ErrorCounts,
    bootstrap_interval,
    character_errors,
    count_errors,
    display_width,
    paired_difference,
    side_by_side,
    word_errors,
)

SENTENCE = st.lists(st.sampled_from(["a", "b", "cat", "dog"]), min_size=1, max_size=8).map(" ".join)


@settings(max_examples=100, deadline=None)
@given(SENTENCE, SENTENCE)
def test_totals_equal_jiwer(reference: str, hypothesis: str) -> None:
    words, oracle = word_errors(reference, hypothesis), jiwer.process_words(reference, hypothesis)
    assert words.rate == pytest.approx(oracle.wer)
    assert words.errors == oracle.substitutions + oracle.deletions + oracle.insertions
    assert words.insertions - words.deletions == oracle.insertions - oracle.deletions
    assert character_errors(reference, hypothesis).rate == pytest.approx(jiwer.cer(reference, hypothesis))


def test_kinds_of_error() -> None:
    assert word_errors("the cat sat", "the hat sat down") == ErrorCounts(1, 0, 1, 3)
    assert word_errors("the cat sat", "cat sat") == ErrorCounts(0, 1, 0, 3)
    assert word_errors("cafe\u0301", "café") == ErrorCounts(reference=1)


def test_counts_add_up_over_utterances() -> None:
    total = sum([ErrorCounts(1, 2, 3, 10), ErrorCounts(1, 0, 0, 4)], ErrorCounts())
    assert total == ErrorCounts(2, 2, 3, 14)
    assert total.rate == 0.5


def test_empty_references() -> None:
    assert word_errors("", "").rate == 0.0
    assert word_errors("", "two words") == ErrorCounts(0, 0, 2, 0)
    assert math.isinf(word_errors("", "two words").rate)
    assert word_errors("two words", "").rate == 1.0


def test_spaces_do_not_count_in_scripts_without_them() -> None:
    assert character_errors("今天 天气", "今天天气") == ErrorCounts(reference=4)
    assert character_errors("a b", "ab") == ErrorCounts(0, 1, 0, 3)


def test_bootstrap_is_seeded_and_agrees_with_kaldialign() -> None:
    random = np.random.default_rng(1)
    references = [[str(word) for word in random.integers(0, 5, 12)] for _ in range(60)]
    hypotheses = [[word if random.random() < 0.8 else "x" for word in reference] for reference in references]
    counts = [count_errors(reference, hypothesis) for reference, hypothesis in zip(references, hypotheses, strict=True)]
    errors, lengths = [count.errors for count in counts], [count.reference for count in counts]
    low, high = bootstrap_interval(errors, lengths, replications=2000, seed=3)
    assert (low, high) == bootstrap_interval(errors, lengths, replications=2000, seed=3)
    assert low < sum(errors) / sum(lengths) < high
    oracle = kaldialign.bootstrap_wer_ci(references, hypotheses, replications=2000)
    assert (low, high) == pytest.approx((oracle["ci95min"], oracle["ci95max"]), abs=0.01)


def test_bootstrap_without_references() -> None:
    assert all(map(math.isnan, bootstrap_interval([], [])))
    assert all(map(math.isnan, bootstrap_interval([1], [0])))


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


def test_nothing_to_compare_two_systems_on():
    with pytest.raises(UserError, match="all reference texts are empty"):
        paired_difference([0], [1], [0])


def test_alignment_lines() -> None:
    assert side_by_side(["the", "cat", "sat"], ["the", "hat", "sat", "down"]) == (
        "REF:  the cat sat ****\nHYP:  the hat sat down\nEVAL:     S       I"
    )
    assert side_by_side(["a", " "], []).splitlines() == ["REF:  a ␣", "HYP:  * *", "EVAL: D D"]


def test_alignment_pads_by_display_width() -> None:
    assert [display_width(text) for text in ("ab", "今", "e\u0301", "ก\u0e34", "Ａ")] == [2, 2, 1, 1, 2]
    reference, hypothesis, marks = side_by_side(list("今天a"), list("今a")).split("\n")
    assert (reference, hypothesis, marks) == ("REF:  今 天 a", "HYP:  今 ** a", "EVAL:    D")
    assert display_width(reference) == display_width(hypothesis)


def test_long_alignments_are_broken_into_blocks() -> None:
    words = ["word"] * 50
    lines = side_by_side(words, words, columns=40).splitlines()
    assert all(display_width(line) <= 40 for line in lines)
    assert sum(line.count("word") for line in lines if line.startswith("REF")) == 50
