import pytest

from wav2vec2.errors import UserError
from wav2vec2.experiment.cell import Cell, UtteranceErrors, by_speaker, compare_cells, speakers_helped
from wav2vec2.text.error_rate import ErrorCounts


def cell(name: str, errors: list[int], words: int = 10, first: int = 0) -> Cell:
    rows = tuple(
        UtteranceErrors(f"u{i}", f"s{i % 3}", "test-clean" if i % 2 else "test-other", counts, counts)
        for i, counts in enumerate((ErrorCounts(substitutions=e, reference=words) for e in errors), first)
    )
    return Cell(name, "greedy", "no LM", {}, rows)


def test_no_common_utterance():
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
