"""`--hotwords` on the command lines that search: a name that the model mishears is mended by its weight alone."""

import json
from pathlib import Path

import pytest
import soundfile
from tests.evaluation.test_evaluate import ARPA
from tests.inference.spoken_symbols import VOCABULARY, LoudnessCTC, spoken

from wav2vec2.cli import main
from wav2vec2.data.utterance import Utterance, write_manifest
from wav2vec2.inference.transcribe import Transcriber

SAID = {"one": ("THE BOX", "THE FOX"), "two": ("OVER FOX", "OVER FOX")}


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    (tmp_path / "model").mkdir()
    VOCABULARY.save(tmp_path / "model")
    monkeypatch.setattr("wav2vec2.checkpoints.load.load", lambda source, language: LoudnessCTC())
    monkeypatch.chdir(tmp_path)
    rows = []
    for name, (said, text) in SAID.items():
        samples = spoken(said, hold=1)
        soundfile.write(tmp_path / f"{name}.wav", samples, 16_000, subtype="PCM_16")
        path = str(tmp_path / f"{name}.wav")
        rows.append(Utterance(name, path, samples=len(samples), sample_rate=16_000, text=text))
    write_manifest(rows, tmp_path / "m.parquet")
    (tmp_path / "words.arpa").write_text(ARPA, encoding="utf-8")
    (tmp_path / "names.txt").write_text("fox\t12\n", encoding="utf-8")
    return str(tmp_path / "model")


def test_transcribe_favours_hotwords(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["transcribe", "--model", model, "one.wav", "--device", "cpu"]
    for hotwords, text in (
        ([], "THE BOX"),
        (["--hotwords", "fox:12"], "THE FOX"),
        (["--hotwords", "names.txt", "lazy"], "THE FOX"),
        (["--hotwords", "fox:12", "box:13"], "THE BOX"),
        (["--hotwords", "fox:1"], "THE BOX"),
    ):
        assert main([*words, *hotwords]) == 0
        assert capsys.readouterr().out == f"{text}\n"
    assert Transcriber(LoudnessCTC(), device="cpu", hotwords={"fox": 12.0})("one.wav").text == "THE FOX"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--hotwords", "fox:much"], "--hotwords: 'much' is not a number"),
        (["--hotwords", "other.txt"], "--hotwords other.txt: no such file"),
        (["--hotwords", "fox-7"], "hotword 'fox-7': the model's vocabulary has no '-'"),
        (["--hotwords", "fox", "--decoder", "lexicon", "--lm", "words.arpa"], "cannot be used with lexicon decoding"),
        (["--hotwords", "fox", "--preset", "paper-ls-10h-4gram"], "preset paper-ls-10h-4gram chooses lexicon"),
    ],
)
def test_hotwords_that_cannot_be_used_are_one_line(
    model: str, capsys: pytest.CaptureFixture[str], arguments: list[str], reason: str
) -> None:
    assert main(["transcribe", "--model", model, "one.wav", "--device", "cpu", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert reason in captured.err
    assert len(captured.err.splitlines()) == 1


def test_evaluate_and_tune_take_hotwords(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", model, "m.parquet", "--device", "cpu", "--hotwords", "fox:12", "--out", "r.json"]) == 0
    assert "beam, no LM, hotwords" in capsys.readouterr().out
    (row,) = json.loads(Path("r.json").read_text(encoding="utf-8"))["table"].values()
    assert [column["wer"]["rate"] for column in row.values()] == [0.25, 0.0]
    tune = ["tune", model, "m.parquet", "--device", "cpu", "--lm", "words.arpa", "--trials", "1", "--lm-weight", "0"]
    for hotwords, rate in (([], "25.00"), (["--hotwords", "fox:12"], "0.00")):
        out = f"{len(hotwords)}.toml"
        assert main([*tune, "--decoder", "beam", "--word-score", "0", "--out", out, *hotwords]) == 0
        assert f"error rate {rate} % on 2 utterances" in capsys.readouterr().out
