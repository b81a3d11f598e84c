import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from tests.inference.spoken_symbols import VOCABULARY, LoudnessCTC, spoken

from wav2vec2.bulk.results import read_results
from wav2vec2.cli import main
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.utterance import Utterance, write_manifest
from wav2vec2.decode.presets import Preset, Tuned, write_preset
from wav2vec2.decode.search import SearchOptions
from wav2vec2.evaluation import pseudo_label
from wav2vec2.evaluation.pseudo_label import agreement
from wav2vec2.inference import acoustic_model
from wav2vec2.inference.transcribe import Transcriber

SPOKEN = {"fox": "THE FOX", "dog": "LAZY DOG'S", "wrong": "JUMPS OVER", "silent": "", "short": "A", "lost": "QUICK"}
TRUE = SPOKEN | {"wrong": "JUMPS AWAY", "silent": "BROWN"}
Run = Callable[..., int]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command with a model that hears what `spoken` says, on a manifest with the true transcripts."""
    rows = []
    for name, text in SPOKEN.items():
        samples = np.tile(spoken(text), 1) if text else np.zeros(16_000, np.float32)
        samples = np.pad(samples, (0, 0 if name == "short" else 8_000))
        soundfile.write(tmp_path / f"{name}.wav", samples, 16_000, subtype="FLOAT")
        rows.append(Utterance(name, f"{name}.wav", samples=len(samples), text=TRUE[name], speaker=name))
    (tmp_path / "lost.wav").unlink()
    write_manifest(rows, tmp_path / "manifest.parquet")
    (tmp_path / "model").mkdir()
    (tmp_path / "model/weights").write_text("none")
    monkeypatch.setattr(acoustic_model, "load_recognizer", lambda source, language: LoudnessCTC())
    monkeypatch.setattr(acoustic_model, "locate_recognizer", lambda source, language=None: Path(source))
    monkeypatch.setattr(pseudo_label, "vocabulary_and_architecture", lambda *_: (VOCABULARY, None))

    def run(*options: str, manifest: str = "manifest.parquet", decoder: str = "greedy") -> int:
        words = ["pseudo-label", str(tmp_path / "model"), str(tmp_path / manifest), "--device", "cpu"]
        return main([*words, "--decoder", decoder, "--out", str(tmp_path / "pseudo.parquet"), *options])

    return run


def test_labels_are_kept_or_left_out_for_a_reason(run: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    said = capfd.readouterr().out
    assert "kept 3 of 6 utterances" in said
    for reason in ("no words; such as silent", "could not be read; such as lost", "shorter than 0.5 s (--min-seconds)"):
        assert reason in said
    assert "kept: WER 16.67 % " in said  # one word of six
    assert "left out: WER 50.00 % " in said  # BROWN was not heard, A was
    labels = list(Manifest.open(tmp_path / "pseudo.parquet"))
    assert [(row.id, row.text) for row in labels] == [(name, SPOKEN[name]) for name in ("fox", "dog", "wrong")]
    assert labels[0].path == str(tmp_path / "fox.wav")
    assert labels[0].speaker == "fox"
    table = pq.read_table(tmp_path / "pseudo.parquet")
    assert table["agreement"].to_pylist() == [1.0, 1.0, 1.0]
    assert all(0.9 < value <= 1 for value in table["confidence"].to_pylist())
    left = [json.loads(line) for line in (tmp_path / "pseudo-left-out.jsonl").read_text().splitlines()]
    assert [row["id"] for row in left] == ["silent", "short", "lost"]
    assert "lost.wav" in left[2]["error"]


def test_other_limits_filter_without_the_model(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run() == 0
    monkeypatch.setattr(Transcriber, "stream_searches", lambda *_: pytest.fail("all is transcribed"))
    assert run("--min-seconds", "0") == 0
    assert "short" in Manifest.open(tmp_path / "pseudo.parquet").ids
    assert run("--max-rate", "3") == 2
    assert len(Manifest.open(tmp_path / "pseudo.parquet")) == 0


def test_where_two_decodings_disagree_the_label_is_left_out(
    run: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("flashlight.lib.text.decoder")
    (tmp_path / "words").write_text("THE\nLAZY\nDOG'S\nA\nJUMPS\n")  # neither FOX nor OVER
    options = ("--lexicon", str(tmp_path / "words"), "--workers", "0", "--beam", "20")
    assert run(*options, decoder="lexicon") == 0
    said = capfd.readouterr().out
    assert "decodings agree below 0.7 (--min-agreement)" in said
    rows = {row["id"]: row for row in read_results(tmp_path / "pseudo-transcripts")}
    assert rows["dog"]["text"] == rows["dog"]["greedy"] == "LAZY DOG'S"
    assert rows["fox"]["text"] != rows["fox"]["greedy"] == "THE FOX"
    assert rows["fox"]["agreement"] < 0.7
    assert all(row["labels"] == len(VOCABULARY.encode(row["text"])) for row in rows.values() if row["text"])
    assert Manifest.open(tmp_path / "pseudo.parquet").ids == ["dog"]


def test_labels_are_greedy_where_the_preset_says_that_its_search_does_not_help(
    run: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    few = SearchOptions(word_score=-1000.0)  # one word at most
    for wer, expected in ((0.5, "LAZY DOG'S"), (0.3, "LAZYDOG'S")):
        preset = Preset(decoder="beam", search=few, tuned=Tuned(wer=wer, greedy_wer=0.4))
        write_preset(preset, tmp_path / f"{wer}.toml")
        limits = ("--min-agreement", "0", "--transcripts", str(tmp_path / f"of-{wer}"))
        assert run("--preset", str(tmp_path / f"{wer}.toml"), *limits, decoder="auto") == 0
        assert ("greedy decoding had fewer errors" in capfd.readouterr().out) == (wer == 0.5)
        rows = {row.id: row.text for row in Manifest.open(tmp_path / "pseudo.parquet")}
        assert rows["dog"] == expected


def test_parts_write_the_manifest_when_the_last_is_done(run: Run, tmp_path: Path) -> None:
    parts = ("--task-minutes", "0.01")
    assert run(*parts, "--part", "1/2") == 0
    assert not (tmp_path / "pseudo.parquet").exists()
    assert run(*parts, "--part", "2/2") == 0
    assert Manifest.open(tmp_path / "pseudo.parquet").ids == ["fox", "dog", "wrong"]


def test_known_transcripts_of_another_manifest(run: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rows = [Utterance("fox", "fox.wav", samples=8000, text="the fox")]
    write_manifest(rows, tmp_path / "known.parquet")
    assert run("--known", str(tmp_path / "known.parquet")) == 0
    said = capfd.readouterr().out
    assert "kept: WER 0.00 % (0.00 to 0.00), CER 0.00 % (0.00 to 0.00), 1 utterances" in said
    assert "left out: none has one" in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--out", "labels.csv"], "with the ending .parquet"),
        (["--out", "{manifest}"], "is the manifest that is read"),
        (["--min-confidence", "1.5"], "must be from 0 to 1"),
        (["--min-seconds", "9", "--max-seconds", "3"], "below --max-seconds"),
        (["--known", "nothing.parquet"], "no manifest found"),
    ],
)
def test_wrong_words_are_one_line(
    options: list[str], said: str, run: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(*(word.format(manifest=tmp_path / "manifest.parquet") for word in options)) == 2
    assert said in capfd.readouterr().err


def test_agreement_is_the_share_of_characters_in_both() -> None:
    assert agreement("THE FOX", "THE FOX") == agreement("", "") == 1.0
    assert agreement("ABCD", "ABCE") == 0.75
    assert agreement("AB", "") == agreement("", "AB") == agreement("AB", "CD") == 0.0
