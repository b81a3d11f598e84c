import re
from itertools import pairwise
from pathlib import Path

from hypothesis import given, settings
from praatio import textgrid
from tests.output.timed_words import WORDS, laid_out, timed

from wav2vec2.output.textgrid import as_textgrid


def read_textgrid(text: str) -> dict[str, list[tuple[float, float, str]]]:
    """Read Praat's long text format by its own rule: numbers, strings and flags count, all else is comment."""
    tokens = iter(
        re.findall(r'"((?:[^"]|"")*)"|(?<![\w\[])(-?\d+(?:\.\d+)?)(?![\w\]])|<(exists)>', text, flags=re.DOTALL)
    )

    def string() -> str:
        return next(tokens)[0].replace('""', '"')

    def number() -> float:
        return float(next(tokens)[1])

    assert (string(), string()) == ("ooTextFile", "TextGrid")
    low, high = number(), number()
    assert next(tokens)[2] == "exists"
    tiers = {}
    for _ in range(int(number())):
        assert string() == "IntervalTier"
        name = string()
        assert (number(), number()) == (low, high)
        intervals = [(number(), number(), string()) for _ in range(int(number()))]
        assert (intervals[0][0], intervals[-1][1]) == (low, high)
        assert all(start < end for start, end, _ in intervals)
        assert all(a[1] == b[0] for a, b in pairwise(intervals))
        tiers[name] = intervals
    assert next(tokens, None) is None
    return tiers


@settings(max_examples=60, deadline=None)
@given(WORDS)
def test_textgrid_reads_back(words: list[tuple[str, int, int, bool]]) -> None:
    text = laid_out(words)
    tiers = read_textgrid(as_textgrid(text))
    assert list(tiers) == ["words", "characters"][: 1 + bool(words)]
    expected = [(w.start, w.end, w.text) for w in text.words if w.start is not None]
    for intervals in tiers.values():
        assert [interval for interval in intervals if interval[2]] == expected


def test_praatio_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "a.TextGrid"
    path.write_text(as_textgrid(timed([('say "x"', 0.0025, 0.5025), ("été", 0.5025, 0.75)], seconds=1.0)), "utf-8")
    grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=False)
    assert grid.tierNames == ("words", "characters")
    entries = [(entry.start, entry.end, entry.label) for entry in grid.getTier("words").entries]
    assert entries == [(0.0025, 0.5025, 'say "x"'), (0.5025, 0.75, "été")]
    assert grid.maxTimestamp == 1.0


def test_textgrid_word_by_word() -> None:
    text = as_textgrid(timed([('say "x"', 0.0, 0.5), ("b", 0.5, 0.75)], seconds=1.0))
    assert read_textgrid(text)["words"] == [(0, 0.5, 'say "x"'), (0.5, 0.75, "b"), (0.75, 1, "")]
    assert (
        '        intervals [1]:\n            xmin = 0\n            xmax = 0.5\n            text = "say ""x"""\n' in text
    )


def test_intervals_never_overlap_and_stay_in_the_tier() -> None:
    text = as_textgrid(timed([("a", 0.0, 0.5), ("b", 0.4, 0.75), ("c", 0.5, 0.6), ("d", 0.8, 1.2)], seconds=1.0))
    assert read_textgrid(text)["words"] == [
        (0, 0.5, "a"),
        (0.5, 0.75, "b"),
        (0.75, 0.8, ""),
        (0.8, 1.2, "d"),
    ]


def test_words_without_a_time_are_absent() -> None:
    text = timed([("42", None, None), ("foxes", 0.5, 1.0), ("$", None, None)])
    assert [text for _, _, text in read_textgrid(as_textgrid(text))["words"]] == ["", "foxes", ""]
    assert read_textgrid(as_textgrid(timed([], seconds=1.0))) == {"words": [(0, 1, "")]}
