"""Commands on a model with a language model beside it: it is used, announced in one line, and can be turned off."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from tests.decode.pyctcdecode_facts import SYMBOLS, beside
from tests.small_models import GROUP, recognizer

import wav2vec2
from wav2vec2.cli import main
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.utterance import Utterance, write_manifest
from wav2vec2.decode.build import DecodingOptions
from wav2vec2.evaluation.evaluate import EvaluateConfig, compare
from wav2vec2.text.vocabulary import Vocabulary


@pytest.fixture
def model(tmp_path: Path) -> Path:
    wav2vec2.save(recognizer(GROUP, Vocabulary(SYMBOLS)), tmp_path / "model")
    beside(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(0, 0.1, 16_000), 16_000)
    return tmp_path / "a.wav"


def test_transcribe(model: Path, audio: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["transcribe", "--model", str(model), str(audio)]) == 0
    out, line = capsys.readouterr()
    lm = model / "language_model/lm.arpa"
    # a line before it may say that the search is compiled for this machine
    assert line.splitlines()[-1] == f"{lm}: used, because it lies beside the model; --lm none turns it off"
    assert main(["transcribe", "--model", str(model), str(audio), "--lm", "none"]) == 0
    plain = capsys.readouterr()
    assert plain.err == ""
    assert main(["transcribe", "--model", str(model), str(audio), "--decoder", "greedy"]) == 0
    assert capsys.readouterr() == plain
    assert plain.out != out
    chosen = ["--lm", str(lm), "--lm-weight", "0.6", "--word-score", "1.2"]
    more = ["--unknown-score", "-5.526204", "--beam", "100", "--merge", "logadd"]
    assert main(["transcribe", "--model", str(model), str(audio), *chosen, *more]) == 0
    assert capsys.readouterr() == (out, "")


def test_in_python(model: Path, audio: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = wav2vec2.Transcriber(model)(audio).text
    assert "used, because it lies beside the model" in capsys.readouterr().err
    assert wav2vec2.Transcriber(model, lm="none")(audio).text != text
    # a model in memory has no folder
    wav2vec2.Transcriber(wav2vec2.load(model))
    assert capsys.readouterr().err == ""


def test_evaluate_has_a_column_for_it(model: Path, audio: Path, tmp_path: Path) -> None:
    row = Utterance(id="a", path=str(audio), start=0, samples=16_000, sample_rate=16_000, text="the cat sat")
    write_manifest([row], tmp_path / "m.parquet")
    manifest = Manifest.open(tmp_path / "m.parquet")

    def titles(source: Path | wav2vec2.Transcriber, decoding: DecodingOptions) -> list[str]:
        config = EvaluateConfig(model=str(model), manifest="", replications=1, decoding=decoding)
        return list(compare(source, manifest, config).columns)

    assert titles(model, DecodingOptions()) == ["no LM", "2-gram"]
    assert titles(model, DecodingOptions(lm=Path("none"))) == ["no LM"]
    # the caller's transcriber has chosen
    assert titles(wav2vec2.Transcriber(model, lm="none"), DecodingOptions()) == ["no LM"]
    assert titles(wav2vec2.Transcriber(model), DecodingOptions()) == ["no LM", "2-gram"]


def test_an_incomplete_one_does_not_stop_anything(model: Path, audio: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (model / "language_model/lm.arpa").unlink()
    assert main(["transcribe", "--model", str(model), str(audio)]) == 0
    out, line = capsys.readouterr()
    assert line.startswith("the language model beside the model is not used: ")
    assert line.count("\n") == 1
    assert main(["transcribe", "--model", str(model), str(audio), "--lm", "none"]) == 0
    assert capsys.readouterr() == (out, "")


def test_export_compares_without_it(
    model: Path, audio: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime")
    assert main(["export", str(model), str(tmp_path / "m.onnx"), "--check", str(audio)]) == 0
    assert "0.00 % of characters differ" in capsys.readouterr().out
