import json
from typing import get_args

import pytest

from wav2vec2.output.alignment import Alignment
from wav2vec2.output.formats import SUFFIXES, Format, render
from wav2vec2.output.timed import TimedSymbol, TimedWord
from wav2vec2.output.transcript import Transcript, Word

WORD = TimedWord("été", 0.25, 0.5, 0.5, (TimedSymbol("été", 0.25, 0.5, 0.5),))
ALIGNMENT = Alignment("a talk.wav", 10.0, 0.5, -12.5, (WORD,))
TRANSCRIPT = Transcript("a talk.wav", "été là", (Word("été", 0.25, 0.5, 0.5), Word("là", 0.5, 0.75)), 10.0, -3.0)


@pytest.mark.parametrize("style", get_args(Format))
def test_both_results_have_every_format(style: Format) -> None:
    assert SUFFIXES[style].startswith(".")
    for result in (ALIGNMENT, TRANSCRIPT):
        assert "été" in render(result, style)
        assert result.render(style) == render(result, style)
        assert render(result, style).endswith("\n")


def test_a_format_that_does_not_exist() -> None:
    with pytest.raises(ValueError, match="is no format; choose one of text, json"):
        TRANSCRIPT.render("doc")  # type: ignore[arg-type]


def test_json_says_everything() -> None:
    line = render(ALIGNMENT, "jsonl")
    assert line.count("\n") == 1
    assert "été" in line
    entry = json.loads(line)
    assert entry["words"] == [
        {"text": "été", "start": 0.25, "end": 0.5, "score": 0.5,
         "characters": [{"text": "été", "start": 0.25, "end": 0.5, "score": 0.5}]}
    ]  # fmt: skip
    assert (entry["source"], entry["seconds"], entry["log_probability"]) == ("a talk.wav", 10.0, -12.5)
    assert json.loads(render(ALIGNMENT, "json")) == entry
    assert json.loads(render(TRANSCRIPT, "json")) == {
        "source": "a talk.wav",
        "text": "été là",
        "words": [
            {"text": "été", "start": 0.25, "end": 0.5, "confidence": 0.5},
            {"text": "là", "start": 0.5, "end": 0.75},
        ],
        "seconds": 10.0,
        "score": -3.0,
    }


def test_another_name_for_tables() -> None:
    assert render(TRANSCRIPT, "ctm", "b") == "b 1 0.2500 0.2500 été 0.5000\nb 1 0.5000 0.2500 là\n"
