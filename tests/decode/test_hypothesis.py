import math

import numpy as np
import pytest

from wav2vec2.decode.hypothesis import (
    Hypothesis,
    check_emissions,
    hypothesis_text,
    hypothesis_words,
    with_confidences,
    word_confidences,
    word_frames,
)
from wav2vec2.errors import UserError
from wav2vec2.text.vocabulary import Vocabulary

LETTERS = Vocabulary(("<pad>", "|", "A", "B"), unknown=None)


def test_a_word_counts_where_it_overlaps_in_time() -> None:
    hypotheses = [[("a", 0, 3), ("b", 5, 8)], [("a", 2, 4), ("c", 5, 8)], [("b", 0, 3), ("b", 6, 9)]]
    scores = [math.log(share) + 7 for share in (0.5, 0.3, 0.2)]
    first, second = word_confidences(hypotheses, scores, shown=2)
    assert first == pytest.approx((0.8, 0.7))
    assert second == pytest.approx((0.8, 0.3))


def test_no_hypotheses_and_nothing_shown() -> None:
    assert word_confidences([], [], shown=3) == []
    assert word_confidences([[]], [0.0], shown=3) == [()]
    assert word_confidences([[("a", 0, 0)], []], [0.0, -math.inf], shown=1) == [(1.0,)]


def test_forbidden_hypotheses_have_no_confidences() -> None:
    nbest = [
        Hypothesis([2], [0], -1.0, [0]),
        Hypothesis([3], [0], -1.0, [0]),
        Hypothesis([2, 3], [0, 1], -math.inf, [0, 1]),
    ]
    shown = with_confidences(LETTERS, nbest, shown=3)
    assert [one.word_confidences for one in shown] == [pytest.approx((0.5,)), pytest.approx((0.5,)), ()]
    assert [one.ids for one in with_confidences(LETTERS, nbest, shown=1)] == [[2]]
    assert with_confidences(LETTERS, nbest[2:], shown=1) == nbest[2:]


def test_words_are_a_lexicons_or_spelled_or_symbols() -> None:
    assert hypothesis_words(LETTERS, Hypothesis([2, 1, 3, 2], [], 0.0)) == ["A", "BA"]
    assert hypothesis_words(LETTERS, Hypothesis([2, 1, 3], [], 0.0, words=("one", "two"))) == ["one", "two"]
    phones = Vocabulary(("<pad>", "dh", "ax"), unknown=None, word_separator=None, unit="whitespace")
    assert hypothesis_words(phones, Hypothesis([1, 2, 2], [], 0.0)) == ["dh", "ax", "ax"]


def test_words_have_the_frames_of_their_symbols() -> None:
    spelled = Hypothesis([1, 2, 3, 1, 1, 3], [0, 1, 4, 6, 8, 9], 0.0, [0, 2, 5, 7, 8, 11])
    assert word_frames(LETTERS, spelled) == [("AB", 1, 5), ("B", 9, 11)]
    named = Hypothesis([2, 1, 3], [0, 1, 4], 0.0, [0, 2, 5], words=("one", "two"))
    assert word_frames(LETTERS, named) == [("one", 0, 0), ("two", 4, 5)]
    assert (hypothesis_text(LETTERS, named), hypothesis_text(LETTERS, spelled)) == ("one two", "AB B")
    phones = Vocabulary(("<pad>", "dh", "ax"), unknown=None, word_separator=None, unit="whitespace")
    assert word_frames(phones, Hypothesis([1, 2], [3, 5], 0.0, [4, 5])) == [("dh", 3, 4), ("ax", 5, 5)]


def test_emissions_are_made_float32_and_bad_ones_are_one_line() -> None:
    checked = check_emissions(np.full((3, 4), -np.inf)[:, ::-1], 4)  # type: ignore[arg-type]
    assert (checked.dtype, checked.flags["C_CONTIGUOUS"]) == (np.float32, True)
    assert check_emissions(np.zeros((0, 4), np.float32), 4).shape == (0, 4)
    for wrong, reason in ((np.zeros((3, 5)), "shape"), (np.zeros(4), "shape"), (np.full((1, 4), np.inf), "inf")):
        with pytest.raises(UserError, match=reason):
            check_emissions(wrong, 4)  # type: ignore[arg-type]
