"""``wav2vec2 info`` of what is no model of speech; models are in tests/checkpoints/test_info.py."""

from dataclasses import replace
from pathlib import Path

import pytest

from wav2vec2.cli import main
from wav2vec2.data.utterance import Utterance, write_manifest


def lines(capsys: pytest.CaptureFixture[str], path: Path) -> dict[str, str]:
    assert main(["info", str(path)]) == 0
    return {line[:14].strip(): line[14:] for line in capsys.readouterr().out.splitlines()}


def test_a_manifest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = Utterance("a", str(tmp_path / "a.wav"), samples=16_000 * 3600, sample_rate=16_000, split="train", speaker="x")
    rows = [replace(row, text="hello", language="en"), replace(row, id="b", samples=8_000, split="valid")]
    write_manifest(rows, tmp_path / "manifest.parquet")
    for path in (tmp_path, tmp_path / "manifest.parquet"):
        said = lines(capsys, path)
        assert said["utterances"] == "2, 1.00 h; the longest 3600.0 s"
        assert said["transcribed"] == "1, 1.00 h"
        assert said["splits"] == "train (1), valid (1)"
        assert said["languages"] == "en (1)"
        assert said["speakers"] == "1"


def test_language_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.txt").write_text("the cat sat\na cat\n")
    arpa, run = tmp_path / "lm.arpa", tmp_path / "run"
    assert main(["lm", "ngram", str(tmp_path / "text.txt"), "--order", "2", "--out", str(arpa)]) == 0
    capsys.readouterr()
    said = lines(capsys, arpa)
    assert said["kind"].startswith("2-gram of words (ARPA, ")
    assert said["vocabulary"] == "4 words"
    sizes = ["--model.layers", "1", "--model.hidden-size", "8", "--model.ffn-size", "8", "--model.heads", "1"]
    options = ["--data.text", str(tmp_path / "text.txt"), "--train.updates", "1", "--output", str(run)]
    assert main(["lm", "transformer", *options, *sizes, "--text.case", "upper"]) == 0
    capsys.readouterr()
    for folder in (run, run / "model"):
        said = lines(capsys, folder)
        assert said["kind"] == "Transformer over words"
        assert said["transformer"] == "1 layers, width 8, feed-forward 8"
        assert said["text"] == "case upper"
