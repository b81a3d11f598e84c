import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wav2vec2.errors import UserError
from wav2vec2.output.alignment import Alignment
from wav2vec2.output.timed import TimedSymbol, TimedWord
from wav2vec2.report.codes.phones import (
    REACH,
    Interval,
    character_intervals,
    espeak_pronunciations,
    frame_labels,
    phone_intervals,
    read_phn,
    read_phone_lexicon,
)


def alignment(*words: tuple[str, list[float | None]], seconds: float = 10.0) -> Alignment:
    """Words whose characters are marks of 20 ms at given times, None for characters without a time."""
    timed = []
    for text, starts in words:
        symbols = tuple(
            TimedSymbol(symbol, start, None if start is None else start + 0.02, 0.9)
            for symbol, start in zip(text, starts, strict=True)
        )
        timed.append(TimedWord(text, None, None, None, symbols))
    return Alignment("x", seconds, 0.9, -1.0, tuple(timed))


def edges(intervals: list[Interval]) -> list[float]:
    return [value for interval in intervals for value in (interval.start, interval.end)]


def test_characters_meet_in_the_middle_and_words_reach_into_pauses_no_further_than_allowed() -> None:
    found = character_intervals(alignment(("ab", [1.0, 1.2]), ("c", [3.0])))
    assert [interval.label for interval in found] == ["a", "b", "c"]
    assert edges(found) == pytest.approx([0.9, 1.11, 1.11, 1.32, 2.9, 3.12])


def test_close_words_meet_in_the_middle_and_nothing_leaves_the_recording() -> None:
    found = character_intervals(alignment(("a", [0.04]), ("b", [0.1]), seconds=0.15))
    assert edges(found) == pytest.approx([0.0, 0.08, 0.08, 0.15])


def test_phones_divide_their_words_time_as_the_characters_stand_for_them() -> None:
    # a from 0.9 to 1.11, b from 1.11 to 1.32; three phones for two characters, one for the next word's one
    words = alignment(("ab", [1.0, 1.2]), ("c", [3.0]))
    found = phone_intervals(words, {"ab": ("X", "Y", "Z"), "c": ("S",)}.get)
    assert [interval.label for interval in found] == ["X", "Y", "Z", "S"]
    assert edges(found) == pytest.approx([0.9, 1.04, 1.04, 1.18, 1.18, 1.32, 2.9, 3.12])


def test_words_without_pronunciation_are_unknown_and_without_time_nothing() -> None:
    found = phone_intervals(alignment(("ab", [1.0, None]), ("$", [None])), {}.get)
    assert [(interval.label) for interval in found] == [""]
    assert edges(found) == pytest.approx([0.9, 1.12])


def test_frames_take_the_label_of_their_interval() -> None:
    intervals = [Interval(0.1, 0.2, "a"), Interval(0.2, 0.3, ""), Interval(0.5, 0.6, "b")]
    times = np.array([0.0, 0.1, 0.19, 0.2, 0.3, 0.4, 0.55, 0.6, 9.0])
    assert frame_labels(intervals, times) == ["sil", "a", "a", "", "sil", "sil", "b", "sil", "sil"]
    assert frame_labels([], times[:2]) == ["sil", "sil"]


marks = st.lists(st.lists(st.floats(0.02, 0.7), min_size=1, max_size=5), min_size=1, max_size=6)


@given(marks, st.integers(1, 7))
def test_intervals_are_in_order_cover_their_marks_and_keep_their_number(gaps: list[list[float]], count: int) -> None:
    time, words = 0.0, []
    for letters in gaps:
        starts: list[float | None] = []
        for gap in letters:
            time += gap
            starts.append(time)
        words.append(("a" * len(letters), starts))
    spoken = alignment(*words, seconds=time + 0.05)
    characters = character_intervals(spoken)
    phones = phone_intervals(spoken, lambda word: ["p"] * count)
    assert len(characters) == sum(map(len, gaps))
    assert len(phones) == count * len(gaps)
    for found in (characters, phones):
        assert (np.diff(edges(found)) >= -1e-9).all()
        assert 0 <= found[0].start <= found[-1].end <= spoken.seconds
    for interval, start in zip(characters, (s for _, starts in words for s in starts), strict=True):
        assert interval.start <= start + 1e-9
        assert interval.end >= min(start + 0.02, spoken.seconds) - 0.011  # marks nearer than 20 ms share the middle
        assert interval.start >= start - REACH - 0.7
    assert sum(i.end - i.start for i in characters) == pytest.approx(sum(i.end - i.start for i in phones))


def test_hand_labels() -> None:
    found = read_phn("0 3200 h#\n3200 4800 ix\n\n4800 8000 s\n", "x.PHN", start=0.1)
    assert [interval.label for interval in found] == ["h#", "ix", "s"]
    assert edges(found) == pytest.approx([-0.1, 0.1, 0.1, 0.2, 0.2, 0.4])


@pytest.mark.parametrize(
    ("text", "message"),
    [("0 100\n", "line 1 is not"), ("0 100 a\nx 200 b\n", "line 2 is not"), ("0 100 a\n50 200 b\n", "line 2 begins")],
)
def test_bad_hand_labels_are_named(text: str, message: str) -> None:
    with pytest.raises(UserError, match=f"x.PHN: {message}"):
        read_phn(text, "x.PHN")


def lexicon(tmp_path: Path, content: str):
    (tmp_path / "words.txt").write_text(content, encoding="utf-8")
    return read_phone_lexicon(tmp_path / "words.txt")


def test_cmudict_form(tmp_path: Path) -> None:
    content = ";;; comment\nHELLO  HH AH0 L OW1\nHELLO(2)  HH EH0 L OW1\nO'CLOCK\tAH0 K L AA1 K # said so\n"
    known = lexicon(tmp_path, content)
    assert known("Hello,") == ("HH", "AH", "L", "OW")
    assert known("“o’clock”") == ("AH", "K", "L", "AA", "K")
    assert known("goodbye") is None
    assert len(known) == 2


def test_ipa_keeps_length_and_loses_stress(tmp_path: Path) -> None:
    assert lexicon(tmp_path, "father ˈf ɑː ð ɚ\n")("FATHER") == ("f", "ɑː", "ð", "ɚ")


@pytest.mark.parametrize(
    ("content", "message"), [("", "has no words"), ("# x\n", "has no words"), ("a AH\nb\n", "line 2 has no phones")]
)
def test_bad_lexicons_are_named(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        lexicon(tmp_path, content)
    (tmp_path / "latin.txt").write_bytes(b"\xe9t\xe9 e t e\n")
    with pytest.raises(UserError, match="is not UTF-8"):
        read_phone_lexicon(tmp_path / "latin.txt")
    with pytest.raises(UserError, match="cannot be read"):
        read_phone_lexicon(tmp_path / "none.txt")


def test_a_missing_phonemizer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "phonemizer.backend", None)
    with pytest.raises(UserError, match=r"pip install 'wav2vec2\[phones\]'"):
        espeak_pronunciations(["a"], "en-us")


def test_espeak_gives_the_phones_of_words() -> None:
    pytest.importorskip("phonemizer", reason="the extra wav2vec2[phones] is not installed")
    known = espeak_pronunciations(["Hello,", "21", "—"], "en-us")
    assert known("HELLO") == ("h", "ə", "l", "oʊ")
    assert known("21") == ("t", "w", "ɛ", "n", "t", "i", "w", "ʌ", "n")
    assert known("—") is None
    with pytest.raises(UserError, match="klingon"):
        espeak_pronunciations(["a"], "klingon")
