import json
from pathlib import Path

import pytest
import soundfile

from spoken_symbols import VOCABULARY, LoudnessCTC, spoken
from wav2vec2.data.manifest import Manifest, write_manifest
from wav2vec2.data.utterance import Utterance
from wav2vec2.errors import UserError
from wav2vec2.evaluate import EvaluateConfig, evaluate, run
from wav2vec2.score_report import report_text
from wav2vec2.text.error_rate import ErrorCounts
from wav2vec2.text.normalize import TextNormalization
from wav2vec2.text.vocabulary import Vocabulary
from wav2vec2.transcribe import Transcriber

# id: (spoken, reference)
PAIRS = {
    "same": ("THE FOX", "THE FOX"),
    "lower": ("A LAZY DOG'S", "a lazy dog\u2019s"),
    "substituted": ("THE QUICK DOG'S", "THE BROWN DOG'S"),
    "inserted": ("OVER A FOX", "OVER FOX"),
    "silence": ("", ""),
    "unlabelled": ("FOX", None),
    "unknown": ("FOX", "FOX 7"),
}


def manifest(folder: Path, pairs: dict[str, tuple[str, str | None]], vocabulary: Vocabulary = VOCABULARY) -> Path:
    rows = []
    for name, (said, reference) in pairs.items():
        samples = spoken(said, vocabulary) if said else spoken("A")[:400] * 0
        soundfile.write(folder / f"{name}.wav", samples, 16_000, subtype="PCM_16")
        path = str(folder / f"{name}.wav")
        rows.append(
            Utterance(id=name, path=path, samples=len(samples), sample_rate=16_000, text=reference, split="dev")
        )
    write_manifest(rows, folder / "manifest.parquet")
    return folder / "manifest.parquet"


def config(path: Path, **changes: object) -> EvaluateConfig:
    return EvaluateConfig(model="model", manifest=str(path), device="cpu", **changes)  # type: ignore[arg-type]


def test_counts_by_kind_over_the_corpus(tmp_path: Path) -> None:
    path = manifest(tmp_path, PAIRS)
    report = evaluate(LoudnessCTC(), Manifest.open(path), config(path))
    assert report.wer.counts == ErrorCounts(1, 1, 1, 12)
    assert report.wer.low <= 3 / 12 <= report.wer.high
    assert report.cer.counts.reference == sum(
        map(len, ("THE FOX", "A LAZY DOG'S", "THE BROWN DOG'S", "OVER FOX", "FOX 7"))
    )
    assert (report.utterances, report.untranscribed, report.main) == (6, 1, "wer")
    assert report.unknown == {"7": 1}
    assert [scored.id for scored in report.worst] == ["unknown", "inserted", "substituted"]
    assert report.failures == report.unalignable == ()


def test_worst_keeps_the_worst_only(tmp_path: Path) -> None:
    path = manifest(tmp_path, PAIRS)
    report = evaluate(LoudnessCTC(), Manifest.open(path), config(path, worst=1))
    assert [scored.id for scored in report.worst] == ["unknown"]
    assert evaluate(LoudnessCTC(), Manifest.open(path), config(path, worst=0)).worst == ()


def test_an_empty_reference_counts_insertions(tmp_path: Path) -> None:
    path = manifest(tmp_path, {"noise": ("FOX", ""), "good": ("A FOX", "A FOX")})
    report = evaluate(LoudnessCTC(), Manifest.open(path), config(path))
    assert report.wer.counts == ErrorCounts(0, 0, 1, 2)
    assert [scored.id for scored in report.worst] == ["noise"]
    only = tmp_path / "only"
    only.mkdir()
    path = manifest(only, {"noise": ("FOX", "")})
    report = evaluate(LoudnessCTC(), Manifest.open(path), config(path))
    assert report.as_json()["wer"]["rate"] is None
    assert "REF:  ***" in report_text(report)


def test_what_ctc_cannot_align_is_named(tmp_path: Path) -> None:
    path = manifest(tmp_path, {"short": ("A", "LAZY"), "fits": ("A", "A|A"), "repeats": ("A", "DOO")})
    report = evaluate(LoudnessCTC(), Manifest.open(path), config(path))
    # One spoken letter is 4 frames: enough for LAZY and for D, O, blank, O, but not for five letters.
    assert report.unalignable == ()
    longer = tmp_path / "longer"
    longer.mkdir()
    path = manifest(longer, {"long": ("A", "JUMPS"), "repeats": ("A", "DOOR")})
    report = evaluate(LoudnessCTC(), Manifest.open(path), config(path))
    assert report.unalignable == ("long", "repeats")
    assert "2 too short for CTC" in report_text(report)


def test_scripts_without_spaces_are_scored_by_characters(tmp_path: Path) -> None:
    vocabulary = Vocabulary.from_transcripts(["今天天气很好"])
    path = manifest(tmp_path, {"one": ("今天天气好", "今天 天气很好")}, vocabulary)
    report = evaluate(LoudnessCTC(vocabulary), Manifest.open(path), config(path))
    assert report.main == "cer"
    assert report.cer.counts == ErrorCounts(0, 1, 0, 6)
    lines = report_text(report).splitlines()
    assert lines[1].startswith("CER")
    assert "REF:  今 天 天 气 很 好" in lines


def test_normalisation_follows_the_model_unless_told_otherwise(tmp_path: Path) -> None:
    path = manifest(tmp_path, {"one": ("A FOX", "a \u2018fox\u2019!")})
    rules = TextNormalization("upper", "error", "remove")
    trained = Vocabulary(VOCABULARY.symbols, normalization=rules)
    exact = evaluate(LoudnessCTC(), Manifest.open(path), config(path))
    assert exact.wer.counts.errors == 1
    assert exact.unknown == {"!": 1}
    for transcriber, changes in (
        (Transcriber(LoudnessCTC(), vocabulary=trained, device="cpu"), {}),
        (Transcriber(LoudnessCTC(), device="cpu"), {"punctuation": "remove"}),
    ):
        assert evaluate(transcriber, Manifest.open(path), config(path, **changes)).wer.counts == ErrorCounts(0, 0, 0, 2)


def test_command_prints_and_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("wav2vec2.checkpoints.load.load", lambda source: LoudnessCTC())
    path = manifest(tmp_path, PAIRS)
    (tmp_path / "same.wav").write_bytes(b"RIFFnothing")
    out, table = tmp_path / "new" / "report.json", tmp_path / "hypotheses.tsv"
    with pytest.raises(UserError, match="1 utterances could not be read"):
        run(config(path, split="dev", out=out, hypotheses=table))
    captured = capsys.readouterr()
    assert "same.wav" in captured.err
    assert "WER  30.00 %" in captured.out
    assert "substitutions 1  deletions 1  insertions 1  of 10 words" in captured.out
    assert "REF:  THE BROWN DOG'S\nHYP:  THE QUICK DOG'S\nEVAL:     S" in captured.out
    content = json.loads(out.read_text(encoding="utf-8"))
    assert content["wer"]["rate"] == pytest.approx(0.3)
    assert content["split"] == "dev"
    assert content["failures"][0]["source"] == "same"
    lines = table.read_text(encoding="utf-8").splitlines()
    assert lines[:2] == ["id\treference\thypothesis", "lower\tA LAZY DOG'S\tA LAZY DOG'S"]
    assert len(lines) == 6


def test_nothing_to_score_is_said(tmp_path: Path) -> None:
    path = manifest(tmp_path, {"one": ("FOX", None)})
    with pytest.raises(UserError, match=r"manifest\.parquet: no utterance with a transcript"):
        evaluate(LoudnessCTC(), Manifest.open(path), config(path))


@pytest.mark.parametrize(("name", "value"), [("replications", 0), ("seed", -1)])
def test_impossible_options_are_named(tmp_path: Path, name: str, value: int) -> None:
    with pytest.raises(UserError, match=f"--{name} {value}: must be at least"):
        run(config(manifest(tmp_path, PAIRS), **{name: value}))


def test_segments_of_a_long_file_are_windowed(tmp_path: Path) -> None:
    text = " ".join(["THE QUICK BROWN FOX"] * 4)
    audio = spoken(text + " A")
    soundfile.write(tmp_path / "long.flac", audio, 16_000, subtype="PCM_16")
    start = 320 * 8  # behind T and H
    samples = len(spoken(text)) - start
    row = Utterance("cut", str(tmp_path / "long.flac"), start=start, samples=samples, sample_rate=16_000, text=text[2:])
    write_manifest([row], tmp_path / "m.parquet")
    sizes = {"window_seconds": 1.0, "context_seconds": 0.1}
    transcriber = Transcriber(LoudnessCTC(), device="cpu", **sizes)
    report = evaluate(transcriber, Manifest.open(tmp_path / "m.parquet"), config(tmp_path / "m.parquet"))
    assert report.wer.counts == ErrorCounts(reference=16)
