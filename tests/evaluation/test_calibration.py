import math

import numpy as np
import pytest

from wav2vec2.evaluation.calibration import Calibration, reliability_rows, reliability_summary
from wav2vec2.output.transcript import Word


def word(text: str, confidence: float | None) -> Word:
    return Word(text, 0.0, 1.0, confidence)


def collected(confidences: list[float | None], right: list[bool]) -> Calibration:
    calibration = Calibration()
    for confidence, good in zip(confidences, right, strict=True):
        calibration.add("a", [word("a" if good else "b", confidence)])
    return calibration


def test_the_error_is_the_weighted_distance_of_the_bins() -> None:
    # Two bins: 0.9 with 3 of 4 right (distance 0.15), 0.25 with 1 of 1 right (distance 0.75).
    result = collected([0.9] * 4 + [0.25], [True, True, True, False, True]).reliability()
    assert result is not None
    assert result.error == pytest.approx(0.8 * 0.15 + 0.2 * 0.75)
    assert [(one.low, one.words, one.right) for one in result.bins] == [(0.2, 1, 1.0), (0.9, 4, 0.75)]
    assert (result.words, result.right) == (5, 0.8)
    # 0.9 beats 0.9 in half of the cases, 0.25 never does.
    assert result.ranking == pytest.approx((3 * 0.5 + 0) / 4)


def test_right_words_match_in_a_shortest_edit_path() -> None:
    calibration = Calibration()
    said = [word("The", 1.0), word("thick", 0.5), word("fox,", 0.75), word("fox", None)]
    calibration.add("the quick fox", said, lambda text: text.lower().strip(","))
    calibration.add("", [word("a", 0.0)])
    result = calibration.reliability()
    assert result is not None
    assert [(one.words, one.right) for one in result.bins] == [(1, 0.0), (1, 0.0), (1, 1.0), (1, 1.0)]
    assert result.ranking == 1.0


def test_calibrated_confidences_have_a_small_error() -> None:
    random = np.random.default_rng(0)
    confidences = random.uniform(size=20_000)
    right = random.uniform(size=20_000) < confidences
    result = collected(confidences.tolist(), right.tolist()).reliability()
    assert result is not None
    assert result.error < 0.02
    assert result.ranking == pytest.approx(5 / 6, abs=0.01)


def test_nothing_to_tell() -> None:
    assert Calibration().reliability() is None
    assert collected([None], [True]).reliability() is None
    result = collected([1.0], [True]).reliability()
    assert result is not None
    assert math.isnan(result.ranking)
    assert result.as_json()["ranking"] is None
    assert reliability_summary(result).endswith("calibration error 0.0 %")
    assert reliability_rows(result)[1] == ["0.9 to 1.0", "1", "100.0 %", "100.0 %"]


def test_in_scripts_without_spaces_characters_are_words() -> None:
    calibration = Calibration()
    calibration.add("今天很好", [word("今", 0.9), word("田", 0.2), word("很", 0.9), word("好", 0.9)])
    result = calibration.reliability()
    assert result is not None
    assert (result.right, result.ranking) == (0.75, 1.0)
