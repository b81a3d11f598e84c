import json
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile
from tests.inference.spoken_symbols import VOCABULARY, LoudnessCTC, spoken

from wav2vec2.data.manifest import Manifest
from wav2vec2.data.utterance import Utterance, write_manifest
from wav2vec2.decode.build import DecodingOptions
from wav2vec2.decode.presets import write_preset
from wav2vec2.decode.search import SearchOptions
from wav2vec2.errors import UserError
from wav2vec2.evaluation.evaluate import EvaluateConfig, compare, evaluate, run
from wav2vec2.evaluation.scores import report_text
from wav2vec2.evaluation.table import comparison_text
from wav2vec2.inference.frame_outputs import ComputeOptions
from wav2vec2.inference.transcribe import Transcriber
from wav2vec2.text.error_rate import ErrorCounts
from wav2vec2.text.normalize import TextNormalization
from wav2vec2.text.vocabulary import Vocabulary

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
    return EvaluateConfig(model="model", manifest=str(path), compute=ComputeOptions(device="cpu"), **changes)  # type: ignore[arg-type]


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


def test_errors_of_case_and_punctuation_are_named_with_the_options_that_remove_them(tmp_path: Path) -> None:
    path = manifest(tmp_path, {"one": ("A FOX", "a fox!"), "two": ("THE FOX", "THE DOG")})
    report = evaluate(LoudnessCTC(), Manifest.open(path), config(path, case="keep"))
    assert (report.wer.counts.errors, report.of_case, report.of_punctuation) == (3, 1, 1)
    said = report_text(report)
    assert "none to the ear: --case lower removes 1, --punctuation remove removes 1 of 3" in said
    plain = evaluate(LoudnessCTC(), Manifest.open(path), config(path, case="lower", punctuation="remove"))
    assert plain.wer.counts.errors == 1
    assert "to the ear" not in report_text(plain)


def test_command_prints_and_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "wav2vec2.inference.acoustic_model.locate_recognizer", lambda source, language=None: Path(source)
    )
    monkeypatch.setattr("wav2vec2.checkpoints.load.load", lambda source, language: LoudnessCTC())
    path = manifest(tmp_path, PAIRS)
    (tmp_path / "same.wav").write_bytes(b"RIFFnothing")
    out, table = tmp_path / "new" / "report.json", tmp_path / "hypotheses.tsv"
    with pytest.raises(UserError, match="1 utterances could not be read"):
        run(config(path, split="dev", out=out, hypotheses=table, calibration=True))
    captured = capsys.readouterr()
    assert "same.wav" in captured.err
    assert "WER  30.00 %" in captured.out
    assert "substitutions 1  deletions 1  insertions 1  of 10 words" in captured.out
    assert "REF:  THE BROWN DOG'S\nHYP:  THE QUICK DOG'S\nEVAL:     S" in captured.out
    content = json.loads(out.read_text(encoding="utf-8"))
    assert content["wer"]["rate"] == pytest.approx(0.3)
    assert content["split"] == "dev"
    assert content["confidences"]["words"] == 10
    assert "\n\nno LM: confidences of 10 words: mean 9" in captured.out
    assert "\n0.9 to 1.0  " in captured.out
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


ARPA = """\\data\\
ngram 1=8
ngram 2=2

\\1-grams:
-2.0\t<unk>\t0
-99\t<s>\t0
-1.0\t</s>\t0
-0.5\tTHE\t-0.2
-1.0\tFOX\t0
-1.5\tBOX\t0
-1.5\tJUMPS\t0
-1.5\tOVER\t0

\\2-grams:
-0.1\tTHE FOX
-4.5\tTHE BOX

\\end\\
"""
MISHEARD = {"one": ("THE BOX", "THE FOX"), "two": ("FOX JUMPQ", "FOX JUMPS"), "three": ("OVER", "OVER")}


def split_manifest(folder: Path) -> Path:
    """Two splits; the second and third utterances are of `other`."""
    rows = list(Manifest.open(manifest(folder, MISHEARD)))
    write_manifest([replace(row, split="dev" if row.id == "one" else "other") for row in rows], folder / "m.parquet")
    (folder / "words.arpa").write_text(ARPA, encoding="utf-8")
    return folder / "m.parquet"


@pytest.mark.parametrize("decoder", ["lexicon", "beam"])
def test_side_by_side_from_one_pass(tmp_path: Path, decoder: str, capsys: pytest.CaptureFixture[str]) -> None:
    if decoder == "lexicon":
        pytest.importorskip("flashlight.lib.text.decoder")
    path = split_manifest(tmp_path)
    chosen = DecodingOptions(lm=tmp_path / "words.arpa", decoder=decoder, lm_weight=4.0, word_score=0.0, workers=0)  # type: ignore[arg-type]
    write_preset(replace(chosen.resolve(), search=SearchOptions(lm_weight=0.0, word_score=0.0)), tmp_path / "p.toml")
    model = LoudnessCTC()
    table = tmp_path / "hypotheses.tsv"
    options = config(path, decoding=chosen, columns=(str(tmp_path / "p.toml"),), hypotheses=table)
    comparison = compare(model, Manifest.open(path), options)
    assert len(model.shapes) == 1  # three columns, one batch through the model
    assert comparison.columns == ("no LM", "2-gram 1", "2-gram 2")
    rates = {row: [report.wer.counts.errors for report in reports] for row, reports in comparison.rows.items()}
    assert rates == {"dev": [1, 0, 1], "other": [1, 0, 0]}
    assert [report.wer.counts.errors for report in comparison.reports] == [2, 0, 1]
    lines = comparison_text(comparison).splitlines()
    assert lines[0].split() == ["no", "LM", "2-gram", "1", "2-gram", "2"]
    assert lines[1].split() == [
        "dev",
        "WER",
        "%",
        "50.00",
        "[50.00,",
        "50.00]",
        "0.00",
        "[0.00,",
        "0.00]",
        "50.00",
        "[50.00,",
        "50.00]",
    ]
    assert lines[5].startswith("all")
    assert "REF:  THE FOX" in lines
    content = comparison.as_json()
    assert content["table"]["other"]["2-gram 1"]["wer"]["rate"] == 0.0
    assert content["wer"]["substitutions"] == 1
    assert table.read_text(encoding="utf-8").splitlines()[1] == "one\tTHE FOX\tTHE BOX\tTHE FOX\tTHE BOX"


def test_a_transcriber_brings_its_search(tmp_path: Path) -> None:
    path = split_manifest(tmp_path)
    with Transcriber(LoudnessCTC(), device="cpu", lm=tmp_path / "words.arpa", lm_weight=4.0, workers=0) as transcriber:
        assert evaluate(transcriber, Manifest.open(path), config(path)).wer.counts.errors == 0


def test_phones_have_a_phone_error_rate(tmp_path: Path) -> None:
    vocabulary = Vocabulary.from_transcripts(["dh ax k ih"], unit="whitespace")
    path = manifest(tmp_path, {"one": ("dh ax k", "dh ih k")}, vocabulary)
    transcriber = Transcriber(LoudnessCTC(vocabulary), vocabulary=vocabulary, device="cpu")
    report = evaluate(transcriber, Manifest.open(path), config(path))
    assert report.main == "per"
    assert report.as_json()["per"]["substitutions"] == 1
    assert "cer" not in report.as_json()
    assert report_text(report).splitlines()[1].startswith("PER  33.33 %")
    assert "of 3 phones" in report_text(report)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"decoder": "lexicon"}, "needs words"),
        ({"decoder": "greedy", "lm": Path("words.arpa")}, "--lm: greedy"),
        ({"preset": "paper-ls-10min-4gram"}, "preset paper-ls-10min-4gram names none"),
        ({"nbest": 3}, "--nbest"),
        ({"lm": Path("absent.arpa")}, "absent.arpa"),
        ({"workers": -1}, "--workers -1"),
        ({"beam": 0}, "at least 1"),
    ],
)
def test_impossible_searches_are_named(tmp_path: Path, options: dict[str, object], reason: str) -> None:
    path = split_manifest(tmp_path)
    with pytest.raises(UserError, match=reason):
        evaluate(LoudnessCTC(), Manifest.open(path), config(path, decoding=DecodingOptions(**options)))  # type: ignore[arg-type]
