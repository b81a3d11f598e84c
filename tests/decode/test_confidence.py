import math

import pytest

from wav2vec2.decode.confidence import word_confidences


def test_a_word_counts_where_it_overlaps_in_time() -> None:
    readings = [[("a", 0, 3), ("b", 5, 8)], [("a", 2, 4), ("c", 5, 8)], [("b", 0, 3), ("b", 6, 9)]]
    scores = [math.log(share) + 7 for share in (0.5, 0.3, 0.2)]
    first, second = word_confidences(readings, scores, shown=2)
    assert first == pytest.approx((0.8, 0.7))
    assert second == pytest.approx((0.8, 0.3))


def test_nothing_read_and_nothing_shown() -> None:
    assert word_confidences([], [], shown=3) == []
    assert word_confidences([[]], [0.0], shown=3) == [()]
    assert word_confidences([[("a", 0, 0)], []], [0.0, -math.inf], shown=1) == [(1.0,)]
