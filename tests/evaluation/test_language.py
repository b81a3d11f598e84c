"""--language takes the adapter, head and symbols of one language, in every command that takes a multilingual model."""

from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from tests.hub_double.repositories import LANGUAGES, mms_1b_all

import wav2vec2
from wav2vec2.cli import main
from wav2vec2.data.utterance import Utterance, write_manifest
from wav2vec2.errors import UserError

CPU = ["--device", "cpu"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A small MMS, a manifest of two utterances, and what its Hindi says of them."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    for name in ("a", "b"):
        soundfile.write(f"{name}.wav", rng.normal(0, 0.1, 8_000), 16_000)
    texts = {"a": "कख गघ", "b": "गघ"}
    rows = [
        Utterance(n, str(tmp_path / f"{n}.wav"), samples=8_000, sample_rate=16_000, text=t) for n, t in texts.items()
    ]
    write_manifest(rows, Path("manifest.parquet"))
    mms_1b_all(Path("mms"))
    model = wav2vec2.load("mms", language="hin")
    with wav2vec2.Transcriber(model, decoder="greedy", device="cpu") as transcriber:
        return {name: transcriber(f"{name}.wav").text for name in texts}


def test_evaluate_and_pseudo_label(here: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    both = ["mms", "manifest.parquet", "--language", "hin", *CPU]
    assert main(["evaluate", *both, "--hypotheses", "found.tsv", "--out", "found.json"]) == 0
    lines = [line.split("\t") for line in Path("found.tsv").read_text(encoding="utf-8").splitlines()[1:]]
    assert {name: hypothesis for name, _, hypothesis in lines} == here
    assert '"language": "hin"' in Path("found.json").read_text()
    everything = ["--min-confidence", "0", "--min-agreement", "0", "--max-rate", "1000"]
    assert main(["pseudo-label", *both, *everything, "--out", "labels.parquet"]) == 0
    labels = pq.read_table("labels.parquet").to_pylist()
    assert {row["id"]: row["text"] for row in labels} == here
    capsys.readouterr()
    for command in ("evaluate", "pseudo-label", "tune"):
        assert main([command, "mms", "manifest.parquet", "--language", "hi", *CPU]) == 2
        assert "did you mean hin?" in capsys.readouterr().err


def test_tune(here: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Up to the search, whose compilation takes long: the log-probabilities are of the language's symbols."""

    def reached(*_: object) -> None:
        raise UserError("the trials would begin")

    monkeypatch.setattr("wav2vec2.evaluation.tune.build_decoder", Mock())
    monkeypatch.setattr("wav2vec2.evaluation.tune.search_errors", reached)
    Path("lm.arpa").write_text("")
    words = ["tune", "mms", "manifest.parquet", "--language", "hin", "--lm", "lm.arpa", "--decoder", "beam", *CPU]
    assert main(words) == 2
    assert "the trials would begin" in capsys.readouterr().err
    with np.load("preset.emissions.npz") as kept:
        assert {array.shape[-1] for array in kept.values() if array.ndim == 2} == {len(LANGUAGES["hin"]) + 5}
    assert main(["swh" if word == "hin" else word for word in words]) == 2
    assert "preset.emissions.npz" in capsys.readouterr().err  # is that of another language


def test_features_and_export(here: dict[str, str]) -> None:
    for language in ("hin", "swh"):
        words = ["features", "mms", "a.wav", "--language", language, "--out", language, *CPU]
        assert main(words) == 0
    hindi, swahili = (np.load(f"{language}/a.npz") for language in ("hin", "swh"))
    (layer,) = (name for name in hindi if name != "times")
    assert not np.allclose(hindi[layer], swahili[layer])
    assert main(["export", "mms", "hindi.onnx", "--language", "hin"]) == 0
    with wav2vec2.Transcriber("hindi.onnx", decoder="greedy") as transcriber:
        assert transcriber("a.wav").text == here["a"]
