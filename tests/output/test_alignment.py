import json
import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wav2vec2.output.alignment import Alignment, TimedSymbol, TimedWord, as_ctm, as_json, as_srt, as_textgrid

STRIDE = 0.02


def aligned(words: list[tuple[str, float | None, float | None]], seconds: float = 10.0, **more: object) -> Alignment:
    timed = []
    for text, start, end in words:
        score = None if start is None else 0.5
        timed.append(TimedWord(text, start, end, score, (TimedSymbol(text, start, end, score),)))
    return Alignment("a talk.wav", seconds, 0.5, -12.5, tuple(timed), **more)  # type: ignore[arg-type]


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


def read_srt(text: str) -> list[tuple[int, int, list[str]]]:
    captions = []
    for number, block in enumerate(text.split("\n\n") if text else [], 1):
        head, times, *lines = block.strip("\n").split("\n")
        assert head == str(number)
        clock = r"(\d\d):([0-5]\d):([0-5]\d),(\d\d\d)"
        match = re.fullmatch(f"{clock} --> {clock}", times)
        assert match is not None
        h, m, s, ms, h2, m2, s2, ms2 = map(int, match.groups())
        captions.append((((h * 60 + m) * 60 + s) * 1000 + ms, ((h2 * 60 + m2) * 60 + s2) * 1000 + ms2, lines))
    assert all(start < end for start, end, _ in captions)
    assert all(a[1] <= b[0] for a, b in pairwise(captions))
    return captions


# Words over frames of 20 ms from 2.5 ms on: (text, frames of silence before, frames).
WORD = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp")), min_size=1, max_size=12)
WORDS = st.lists(st.tuples(WORD, st.integers(0, 90), st.integers(1, 60), st.booleans()), max_size=40)


def laid_out(words: list[tuple[str, int, int, bool]]) -> Alignment:
    frame, entries = 0, []
    for text, pause, frames, timed in words:
        frame += pause
        first, last = frame, frame + frames - 1
        frame += frames
        entries.append(
            (text, (320 * first + 40) / 16_000, (320 * last + 360) / 16_000) if timed else (text, None, None)
        )
    return aligned(entries, seconds=(320 * frame + 80) / 16_000)  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(WORDS)
def test_textgrid_reads_back(words: list[tuple[str, int, int, bool]]) -> None:
    alignment = laid_out(words)
    tiers = read_textgrid(as_textgrid(alignment))
    assert list(tiers) == ["words", "characters"]
    expected = [(w.start, w.end, w.text) for w in alignment.words if w.start is not None]
    for intervals in tiers.values():
        assert [interval for interval in intervals if interval[2]] == expected


def test_textgrid_word_by_word() -> None:
    text = as_textgrid(aligned([('say "x"', 0.0, 0.5), ("b", 0.5, 0.75)], seconds=1.0))
    assert read_textgrid(text)["words"] == [(0, 0.5, 'say "x"'), (0.5, 0.75, "b"), (0.75, 1, "")]
    assert (
        '        intervals [1]:\n            xmin = 0\n            xmax = 0.5\n            text = "say ""x"""\n' in text
    )


@settings(max_examples=60, deadline=None)
@given(WORDS)
def test_captions_hold_every_word_in_order_without_overlap(words: list[tuple[str, int, int, bool]]) -> None:
    alignment = laid_out(words)
    captions = read_srt(as_srt(alignment))
    timed = [word for word in alignment.words if word.start is not None]
    said = " ".join(line for _, _, lines in captions for line in lines)
    if timed:
        assert said.replace("→", "-->").split() == " ".join(w.text for w in alignment.words).replace("→", "-->").split()
    starts = {round(1000 * word.start) for word in timed if word.start is not None}
    assert all(start in starts and 1 <= len(lines) <= 2 for start, _, lines in captions)
    assert not captions or captions[-1][1] <= round(1000 * alignment.seconds)


def test_captions_break_at_pauses_sentences_width_and_length() -> None:
    lines = [(f"word{place}", 0.3 * place, 0.3 * place + 0.25) for place in range(30)]
    captions = read_srt(as_srt(aligned(lines, seconds=20)))
    assert all(len(line) <= 42 for _, _, text in captions for line in text)
    assert all(end - start <= 6000 for start, end, _ in captions)
    assert max(len(text) for _, _, text in captions) == 2
    pause = read_srt(as_srt(aligned([("one", 0.0, 0.2), ("two", 1.3, 1.5), ("three", 1.6, 1.8)])))
    assert pause == [(0, 1000, ["one"]), (1300, 2300, ["two three"])]
    sentence = [("This", 0.0, 0.2), ("sentence", 0.2, 0.6), ("is", 0.6, 0.8), ("finished.", 0.8, 1.5), ("Next", 1.6, 2)]
    assert [text for _, _, text in read_srt(as_srt(aligned(sentence)))] == [["This sentence is finished."], ["Next"]]
    close = read_srt(as_srt(aligned([("x" * 50, 0.0, 0.2), ("y" * 50, 0.3, 0.5)])))
    assert [(start, end) for start, end, _ in close] == [(0, 300), (300, 1300)]


def test_captions_of_scripts_without_spaces_count_wide_columns() -> None:
    characters = [("学", 0.1 * place, 0.1 * place + 0.08) for place in range(50)]
    captions = read_srt(as_srt(aligned(characters, spaced=False)))
    assert [[len(line) for line in lines] for _, _, lines in captions] == [[21, 21], [8]]
    assert read_srt(as_srt(aligned([("a-->b", 0.0, 1.0)])))[0][2] == ["a→b"]


def test_words_without_a_time() -> None:
    alignment = aligned([("42", None, None), ("foxes", 0.5, 1.0), ("$", None, None)], unknown={"4": 1, "2": 1, "$": 1})
    assert read_srt(as_srt(alignment)) == [(500, 1500, ["42 foxes $"])]
    assert [text for _, _, text in read_textgrid(as_textgrid(alignment))["words"]] == ["", "foxes", ""]
    assert as_ctm(alignment) == "a_talk.wav 1 0.5000 0.5000 foxes 0.5000\n"
    entry = json.loads(as_json(alignment))
    assert [word["start"] for word in entry["words"]] == [None, 0.5, None]
    assert entry["unknown"] == {"4": 1, "2": 1, "$": 1}


def test_json_says_everything() -> None:
    line = as_json(aligned([("été", 0.25, 0.5)]), indent=None)
    assert line.count("\n") == 1
    assert "été" in line
    entry = json.loads(line)
    assert entry["words"] == [
        {"text": "été", "start": 0.25, "end": 0.5, "score": 0.5,
         "characters": [{"text": "été", "start": 0.25, "end": 0.5, "score": 0.5}]}
    ]  # fmt: skip
    assert (entry["source"], entry["seconds"], entry["log_probability"]) == ("a talk.wav", 10.0, -12.5)


def test_nothing_aligned() -> None:
    nothing = aligned([], seconds=1.0)
    assert (as_srt(nothing), as_ctm(nothing)) == ("", "")
    assert read_textgrid(as_textgrid(nothing)) == {"words": [(0, 1, "")], "characters": [(0, 1, "")]}


@pytest.mark.parametrize(("seconds", "clock"), [(3599.9996, "01:00:00,000"), (7261.0425, "02:01:01,042")])
def test_clock_of_long_recordings(seconds: float, clock: str) -> None:
    assert as_srt(aligned([("a", seconds, seconds + 2)], seconds=9000)).startswith(f"1\n{clock} --> ")
