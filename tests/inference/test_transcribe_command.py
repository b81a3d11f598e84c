import json
from pathlib import Path

import pytest
from tests.inference.spoken_symbols import TEXTS, spoken, write

from wav2vec2.audio.recordings import audio_files
from wav2vec2.decode.build import DecodingOptions
from wav2vec2.errors import UserError
from wav2vec2.inference.frame_outputs import ComputeOptions
from wav2vec2.inference.transcribe_command import TranscribeOptions, run

CPU = ComputeOptions(device="cpu")


def test_command_writes_text(model_path: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(TranscribeOptions((str(folder / "0.wav"),), model_path, compute=CPU))
    assert capsys.readouterr().out == "THE FOX\n"
    run(TranscribeOptions((str(folder),), model_path, compute=CPU))
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"{folder / str(number)}.wav\t{text}" for number, text in enumerate(TEXTS)]


def test_command_writes_json(model_path: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(TranscribeOptions((str(folder),), model_path, format=("json",), compute=CPU))
    array = json.loads(capsys.readouterr().out)
    run(TranscribeOptions((str(folder),), model_path, format=("jsonl",), compute=CPU))
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert array == lines
    assert [entry["text"] for entry in array] == TEXTS
    times = {"start": pytest.approx(0.3225), "end": pytest.approx(0.5425)}
    assert array[0]["words"][1] == {"text": "FOX", **times, "confidence": pytest.approx(0.9958, abs=1e-4)}


def test_bad_files_are_one_line_each_and_the_rest_goes_on(
    model_path: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "empty.wav").write_bytes(b"")
    files = (str(folder), str(folder / "absent.wav"))
    with pytest.raises(UserError, match="2 of 6 files"):
        run(TranscribeOptions(files, model_path, format=("json",), compute=CPU))
    captured = capsys.readouterr()
    assert [entry["text"] for entry in json.loads(captured.out)] == TEXTS
    assert ["empty.wav" in captured.err, "absent.wav" in captured.err, len(captured.err.splitlines())] == [
        True,
        True,
        2,
    ]


def test_nothing_to_do_is_said(model_path: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at least one"):
        run(TranscribeOptions((), model_path))
    (tmp_path / "hollow").mkdir()
    with pytest.raises(UserError, match="no audio files"):
        audio_files([tmp_path / "hollow"])


def test_a_language_model_and_an_nbest_list(
    model_path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = tmp_path / "words.txt"
    words.write_text("THE\nFOX\nLAZY\n")
    audio = write(tmp_path / "box.wav", spoken("THE BOX"))
    decoding = DecodingOptions(lexicon=words, nbest=2, lm_weight=0.0, word_score=0.0, workers=0)
    run(TranscribeOptions((str(audio),), model_path, format=("jsonl",), compute=CPU, decoding=decoding))
    entry = json.loads(capsys.readouterr().out)
    assert entry["text"] == "THE FOX"
    assert entry["nbest"][0]["text"] == "THE FOX"
    assert len(entry["nbest"]) == 2
    assert entry["nbest"][0]["score"] >= entry["nbest"][1]["score"]
    assert [set(word) for word in entry["words"]] == [{"text", "start", "end", "confidence"}] * 2
    assert (320 * 16 + 40) / 16_000 <= entry["words"][1]["start"] <= (320 * 18 + 40) / 16_000  # F in place of B
