"""CTM is what sclite reads: file, channel, start, duration, word, confidence; names without folder and suffix.

https://github.com/usnistgov/SCTK, doc/infmts.htm#ctm_fmt_name_0
"""

from hypothesis import given, settings
from tests.output.timed_words import WORDS, laid_out, timed

from wav2vec2.output.tables import as_ctm, as_tsv
from wav2vec2.output.timed import TimedText, TimedWord


def test_ctm() -> None:
    text = timed([("42", None, None), ("foxes", 0.5, 1.0), ("$", None, None)])
    assert as_ctm(text) == "a_talk 1 0.5000 0.5000 foxes 0.5000\n"
    word = TimedWord("a", 0.0025, 0.0225, None)
    assert as_ctm(TimedText("calls/0001.mp3", 1.0, (word,))) == "0001 1 0.0025 0.0200 a\n"
    assert as_ctm(TimedText("1089-134686.5", 1.0, (word,))) == "1089-134686.5 1 0.0025 0.0200 a\n"
    assert as_ctm(TimedText(";;a.wav", 1.0, (word,))) == "_;;a 1 0.0025 0.0200 a\n"
    assert as_ctm(timed([])) == ""


@settings(max_examples=40, deadline=None)
@given(WORDS)
def test_ctm_has_six_fields_in_order_of_time(words: list[tuple[str, int, int, bool]]) -> None:
    rows = [line.split(" ") for line in as_ctm(laid_out(words)).splitlines()]
    assert all(len(row) == 6 for row in rows)
    starts = [float(row[2]) for row in rows]
    assert starts == sorted(starts)


def test_tsv() -> None:
    text = timed([("42", None, None), ("foxes", 0.5, 1.0)])
    header, *rows = as_tsv(text).splitlines()
    assert header.split("\t") == ["recording", "start", "end", "word", "confidence"]
    assert [row.split("\t") for row in rows] == [
        ["a talk.wav", "", "", "42", ""],
        ["a talk.wav", "0.5000", "1.0000", "foxes", "0.5000"],
    ]
    assert as_tsv(text, header=False).splitlines() == rows
