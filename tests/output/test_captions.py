import html
from itertools import pairwise
from pathlib import Path

import pysubs2
import pytest
import webvtt
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.output.timed_words import WORDS, laid_out, timed

from wav2vec2.output.captions import (
    CHARACTERS_PER_SECOND,
    COLUMNS,
    LATEST,
    LONGEST,
    SHORTEST,
    as_srt,
    as_vtt,
    captions,
    columns,
)


def shown(words: list[tuple[str, float | None, float | None]], **more: object) -> list[tuple[int, int, str]]:
    found = captions(timed(words, **more))  # type: ignore[arg-type]
    return [(caption.start, caption.end, "\n".join(caption.lines)) for caption in found]


@settings(max_examples=150, deadline=None)
@given(WORDS)
def test_captions_hold_every_word_in_order_without_overlap(words: list[tuple[str, int, int, bool]]) -> None:
    text = laid_out(words)
    found = captions(text)
    has_times = any(word.start is not None for word in text.words)
    lines = [line for caption in found for line in caption.lines]
    assert " ".join(lines) == (" ".join(word.text for word in text.words) if has_times else "")
    assert all(caption.start < caption.end and 1 <= len(caption.lines) <= 2 for caption in found)
    assert all(one.end <= other.start for one, other in pairwise(found))
    assert all(columns(line) <= COLUMNS for line in lines if " " in line)
    clock = [round(1000 * word.start) for word in text.words if word.start is not None]
    assert all(any(0 <= caption.start - start <= LATEST for start in clock) for caption in found[:1])


PACE = st.lists(st.tuples(st.text("abcdefgh", min_size=1, max_size=10), st.integers(0, 40)), min_size=1, max_size=120)


@settings(max_examples=100, deadline=None)
@given(PACE)
def test_speech_at_a_speakers_pace_can_be_read(words: list[tuple[str, int]]) -> None:
    # A word lasts 65 ms a letter and 50 ms for the space: 15 characters a second, as in LibriSpeech.
    frame, entries = 0, []
    for word, pause in words:
        frame += pause
        entries.append((word, 0.02 * frame, 0.02 * frame + 0.065 * len(word)))
        frame += round((0.065 * len(word) + 0.05) / 0.02 + 0.5)
    found = captions(timed(entries, seconds=0.02 * frame))  # type: ignore[arg-type]
    for caption in found:
        lasts = caption.end - caption.start
        assert sum(map(columns, caption.lines)) <= CHARACTERS_PER_SECOND * lasts / 1000
    for caption in found[:-1]:
        assert SHORTEST <= caption.end - caption.start <= LONGEST
    starts = {round(1000 * start) for _, start, _ in entries}
    assert all(min(caption.start - start for start in starts if start <= caption.start) <= LATEST for caption in found)


def test_captions_break_at_pauses_sentences_width_and_length() -> None:
    lines = [(f"word{place}", 0.3 * place, 0.3 * place + 0.25) for place in range(30)]
    found = captions(timed(lines, seconds=20))  # type: ignore[arg-type]
    assert all(len(line) <= 42 for caption in found for line in caption.lines)
    assert all(caption.end - caption.start <= 6000 for caption in found)
    assert max(len(caption.lines) for caption in found) == 2
    assert shown([("one", 0.0, 0.2), ("two", 1.3, 1.5), ("three", 1.6, 1.8)]) == [
        (0, 1000, "one"),
        (1300, 2300, "two three"),
    ]
    sentence = [("This", 0.0, 0.2), ("sentence", 0.2, 0.6), ("is", 0.6, 0.8), ("finished.", 0.8, 1.5), ("Next", 1.6, 2)]
    assert [text for _, _, text in shown(sentence)] == ["This sentence is finished.", "Next"]  # type: ignore[arg-type]


def test_a_pause_is_a_better_place_than_a_full_caption() -> None:
    # 20 words without punctuation, with a pause of 0.4 s after the ninth, which is not where the caption is full.
    words, clock = [], 0.0
    for place in range(20):
        words.append((f"word{place:02}", clock, clock + 0.3))
        clock += 0.35 + 0.35 * (place == 8)
    found = shown(words)  # type: ignore[arg-type]
    assert any(text.endswith("word08") for _, _, text in found)
    assert min(len(text) for _, _, text in found) > 20


def test_fast_speech_stays_until_it_is_read_and_the_next_caption_catches_up() -> None:
    # Two words of 50 letters, each spoken in 0.2 s, then silence.
    close = [("x" * 50, 0.0, 0.2), ("y" * 50, 0.3, 0.5), ("z", 9.0, 9.2)]
    assert [(start, end) for start, end, _ in shown(close)] == [(0, 2300), (2300, 4800), (9000, 10000)]  # type: ignore[arg-type]
    # Without end: captions lag by two seconds, not by more.
    rush = [("w" * 9, 0.1 * place, 0.1 * place + 0.09) for place in range(300)]
    found = captions(timed(rush, seconds=30))  # type: ignore[arg-type]
    assert found[-1].start <= 30_000 + LATEST
    assert all(one.end <= other.start for one, other in pairwise(found))


def test_scripts_without_spaces_count_wide_columns() -> None:
    characters = [("学", 0.2 * place, 0.2 * place + 0.18) for place in range(50)]
    found = captions(timed(characters, seconds=10, spaced=False))  # type: ignore[arg-type]
    assert "".join(line for caption in found for line in caption.lines) == "学" * 50
    assert all(len(line) <= 21 for caption in found for line in caption.lines)


def test_words_without_a_time() -> None:
    assert shown([("42", None, None), ("foxes", 0.5, 1.0), ("$", None, None)]) == [(500, 1500, "42 foxes $")]
    assert shown([("42", None, None)]) == shown([]) == []
    many = shown([("a", 0.0, 0.5), *[("number", None, None)] * 40])
    assert all(len(line) <= 42 for _, _, text in many for line in text.split("\n"))


WORDS_OF_MARKUP = [("a-->b", 0.0025, 0.5), ("<er>", 0.6, 0.8), ("R&D", 0.9, 1.4), ("été", 3.0, 3661.0425)]


def test_pysubs2_reads_srt_and_vtt(tmp_path: Path) -> None:
    text = timed(WORDS_OF_MARKUP, seconds=4000.0)
    subtitles = pysubs2.SSAFile.from_string(as_srt(text), format_="srt", keep_unknown_html_tags=True)
    assert [(event.start, event.end) for event in subtitles] == [(2, 1400), (3000, 3_661_042)]
    assert [event.plaintext for event in subtitles] == ["a→b <er> R&D", "été"]
    subtitles = pysubs2.SSAFile.from_string(as_vtt(text), format_="vtt")
    assert [(event.start, event.end) for event in subtitles] == [(2, 1400), (3000, 3_661_042)]


def test_webvtt_reads_vtt_and_srt(tmp_path: Path) -> None:
    text = timed(WORDS_OF_MARKUP, seconds=4000.0)
    path = tmp_path / "a.vtt"
    path.write_text(as_vtt(text), encoding="utf-8")
    assert [(c.start, c.end, html.unescape(c.text)) for c in webvtt.read(path)] == [
        ("00:00:00.002", "00:00:01.400", "a-->b <er> R&D"),
        ("00:00:03.000", "01:01:01.042", "été"),
    ]
    path = tmp_path / "a.srt"
    path.write_text(as_srt(text), encoding="utf-8")
    assert [c.start for c in webvtt.from_srt(path)] == ["00:00:00.002", "00:00:03.000"]


def test_no_words_give_files_without_captions() -> None:
    assert (as_srt(timed([])), as_vtt(timed([]))) == ("", "WEBVTT\n")
    assert list(webvtt.from_string(as_vtt(timed([])))) == []


@pytest.mark.parametrize(("seconds", "clock"), [(3599.9996, "01:00:00,000"), (7261.0425, "02:01:01,042")])
def test_clock_of_long_recordings(seconds: float, clock: str) -> None:
    assert as_srt(timed([("a", seconds, seconds + 2)], seconds=9000)).startswith(f"1\n{clock} --> ")
