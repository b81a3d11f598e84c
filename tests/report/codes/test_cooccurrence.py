import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wav2vec2.report.codes.cooccurrence import (
    CodeTable,
    CoOccurrence,
    agreement,
    draw_codes,
    measure_rows,
    phone_rows,
    shuffled,
)

LABELS = ["sil", "sil", "a", "a", "a", "b", "", "b"]
CODES = [7, 7, 3, 3, 9, 9, 3, 3]


def table() -> CodeTable:
    counted = CoOccurrence()
    counted.add(LABELS[:5], np.array(CODES[:5]))
    counted.add(LABELS[5:], np.array(CODES[5:]))
    return counted.table()


def test_counts_by_hand() -> None:
    counted = table()
    assert counted.phones == ("a", "b", "sil")  # by frequency, then by name
    assert counted.codes.tolist() == [3, 7, 9]
    assert counted.counts.tolist() == [[2, 0, 1], [1, 0, 1], [0, 2, 0]]
    assert counted.frames == 7  # one frame's label is unknown


def test_probabilities_and_order_by_hand() -> None:
    ordered = table().in_order()
    assert ordered.codes.tolist() == [3, 9, 7]
    expected = [[2 / 3, 0.5, 0], [1 / 3, 0.5, 0], [0, 0, 1]]
    assert ordered.probabilities() == pytest.approx(np.array(expected))
    often = table().frequent(3)
    assert (often.codes.tolist(), often.phones) == ([3], ("a", "b"))


def test_agreement_by_hand() -> None:
    perfect = agreement(np.diag([4, 2, 2]))
    assert (perfect.phone_purity, perfect.code_purity, perfect.majority) == (1, 1, 0.5)
    assert perfect.information == pytest.approx(1.5)  # H(1/2, 1/4, 1/4)
    assert perfect.explained == pytest.approx(1)
    nothing = agreement(np.array([[3, 3], [1, 1]]))
    assert (nothing.phone_purity, nothing.code_purity) == (0.75, 0.5)
    assert nothing.information == pytest.approx(0)
    some = agreement(table().counts)
    assert some.phone_purity == pytest.approx(5 / 7)
    # n frames of a phone that has p and a codeword that has c, of 7
    by_hand = sum(
        n / 7 * math.log2(n * 7 / (p * c)) for n, p, c in [(2, 3, 3), (1, 3, 2), (1, 2, 3), (1, 2, 2), (2, 2, 2)]
    )
    assert some.information == pytest.approx(by_hand)
    with pytest.raises(ValueError, match="no frames"):
        agreement(np.zeros((2, 2), dtype=np.int64))


@given(st.integers(0, 10**6))
def test_shuffling_keeps_how_often_each_occurs_and_agrees_no_more(seed: int) -> None:
    counts = np.diag([40, 30, 20, 10])
    mixed = shuffled(counts, seed)
    assert mixed.sum(0).tolist() == mixed.sum(1).tolist() == [40, 30, 20, 10]
    assert (mixed >= 0).all()
    assert agreement(mixed).information < agreement(counts).information


def test_picture_holds_the_probabilities_in_order() -> None:
    axes, bar = draw_codes(table(), "both codebooks together").axes
    assert axes.images[0].get_array().tolist() == pytest.approx(table().in_order().probabilities())
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["a", "b", "sil"]
    assert axes.get_xlabel().startswith("3 codewords")
    assert bar.get_ylabel() == "P(phone | codeword)"


def test_tables_of_the_page() -> None:
    header, (row,), _ = measure_rows({"joint": table()}, "phone", {"joint": 100})
    cells = dict(zip(header, row, strict=True))
    assert (cells["in use"], cells["of"], cells["frames"], cells["phone purity, %"]) == ("3", "100", "7", "71.4")
    assert cells["most frequent phone, %"] == "42.9"
    _, rows, _ = phone_rows(table(), "phone", 1)
    assert rows[0] == ["a", "3", "42.9", "2", "60.0"]  # codewords 3 and 9: 3 of their 5 frames
    assert rows[1] == ["b", "2", "28.6", "0", "–"]
    assert rows[2] == ["sil", "2", "28.6", "1", "100.0"]
    _, rows, _ = phone_rows(table(), "phone", 3)
    assert [row[3:] for row in rows] == [["1", "66.7"], ["0", "–"], ["0", "–"]]  # only codeword 3 has three frames
