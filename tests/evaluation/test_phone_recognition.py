"""Phone recognition from a TIMIT-layout tree to a phone error rate: prepare, fine-tune, evaluate."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.data.corpora.timit_tree import timit_tree, write_utterance
from tests.inference.spoken_symbols import LoudnessCTC, spoken

from wav2vec2.cli import main
from wav2vec2.config import load_recipe
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.prepare.command import run as prepare
from wav2vec2.data.prepare.published import PrepareTimit
from wav2vec2.evaluation.evaluate import EvaluateConfig, evaluate
from wav2vec2.evaluation.scores import report_text
from wav2vec2.inference.frame_outputs import ComputeOptions
from wav2vec2.text.error_rate import ErrorCounts
from wav2vec2.text.vocabulary import Vocabulary
from wav2vec2.train.finetune.config import FinetuneConfig

RECIPE = Path(__file__).parents[2] / "recipes" / "finetune_timit.toml"
TINY = [
    "--init",
    "scratch",
    "--model.architecture",
    "tiny",
    "--model.conv-channels",
    "8",
    "8",
    "8",
    "8",
    "8",
    "8",
    "8",
    "--model.hidden-size",
    "16",
    "--model.layers",
    "2",
    "--model.ffn-size",
    "32",
    "--model.heads",
    "2",
    "--model.pos-conv-kernel",
    "8",
    "--model.pos-conv-groups",
    "2",
    "--model.codebook-entries",
    "8",
    "--model.codevector-size",
    "8",
    "--model.final-size",
    "8",
    "--masking.channel-span",
    "4",
    "--batch.seconds",
    "4",
    "--batch.micro-seconds",
    "4",
    "--batch.workers",
    "0",
    "--train.updates",
    "4",
    "--train.lr",
    "1e-2",
    "--train.threads",
    "1",
    "--train.device",
    "cpu",
    "--train.precision",
    "fp32",
    "--log.every",
    "2",
    "--log.validate-every",
    "2",
    "--log.save-every",
    "4",
    "--log.no-tensorboard",
]


def least_edits(reference: list[str], hypothesis: list[str]) -> int:
    """Levenshtein's distance by its definition."""
    row = list(range(len(hypothesis) + 1))
    for i, left in enumerate(reference, start=1):
        before, row[0] = row[0], i
        for j, right in enumerate(hypothesis, start=1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (left != right))
    return row[-1]


def test_the_phone_error_rate_of_a_worked_example(tmp_path: Path) -> None:
    """Folded by hand to Lee and Hon's 39 phones, 11 in the reference:

    reference   sil ae sil b ih sil t sh n sil sil          (h# q ae bcl b ix tcl t zh en pau h#)
    hypothesis  sil ae sil b ih     t sh n sil sil d        (h# ae bcl b ih t sh en h# epi d)

    One deletion and one insertion: 2 / 11 = 18.18 %. Unfolded, of 12: q and tcl deleted, ix, zh, pau and h# replaced, d
    inserted: 7 / 12.
    """
    reference, said = "h# q ae bcl b ix tcl t zh en pau h#", "h# ae bcl b ih t sh en h# epi d"
    vocabulary = Vocabulary.from_transcripts([reference, said], unit="whitespace")
    folder = tmp_path / "timit" / "TEST" / "DR1" / "FELC0"
    folder.mkdir(parents=True)
    write_utterance(folder, "SI100", reference, audio=spoken(said, vocabulary))
    path = prepare(PrepareTimit(root=tmp_path / "timit", labels="61", out=tmp_path / "data", workers=1))
    manifest = Manifest.open(path, "test")
    assert manifest.utterance(0).text == reference

    config = EvaluateConfig(model="model", manifest=str(path), compute=ComputeOptions(device="cpu"))
    folded = evaluate(LoudnessCTC(vocabulary), manifest, config)
    assert (folded.main, folded.wer.counts) == ("per", ErrorCounts(0, 1, 1, 11))
    assert report_text(folded).splitlines()[1].startswith("PER  18.18 %")
    assert "both sides folded to 39 phones" in report_text(folded)
    assert not folded.unknown  # what the model can write is judged before folding
    kept = evaluate(LoudnessCTC(vocabulary), manifest, replace(config, phones="keep"))
    assert (kept.wer.counts.errors, kept.wer.counts.reference, kept.folded) == (7, 12, False)


def test_a_model_of_39_phones_has_nothing_to_fold(tmp_path: Path) -> None:
    path = prepare(PrepareTimit(root=timit_tree(tmp_path / "timit"), out=tmp_path / "data", workers=1))
    manifest = Manifest.open(path, "test+dev")
    texts = manifest.column("text").to_pylist()
    vocabulary = Vocabulary.from_transcripts(texts, unit="whitespace")
    report = evaluate(LoudnessCTC(vocabulary), manifest, EvaluateConfig("model", str(path)))
    assert (report.main, report.folded, report.wer.counts.reference) == (
        "per",
        False,
        sum(len(t.split()) for t in texts),
    )


@pytest.mark.parametrize("labels", ["39", "61"])
def test_prepare_finetune_and_evaluate(tmp_path: Path, labels: str, capsys: pytest.CaptureFixture[str]) -> None:
    timit_tree(tmp_path / "timit")
    data, run = tmp_path / "data", tmp_path / "run"
    assert (
        main(["prepare", "timit", str(tmp_path / "timit"), "--labels", labels, "--out", str(data), "--workers", "1"])
        == 0
    )
    assert main(["finetune", str(RECIPE), "--data.manifest", str(data), "--output", str(run), *TINY]) == 0
    out, table = tmp_path / "report.json", tmp_path / "hypotheses.tsv"
    shown = ["--split", "dev+test", "--out", str(out), "--hypotheses", str(table), "--device", "cpu"]
    assert main(["evaluate", str(run / "model"), str(data), *shown]) == 0
    report = json.loads(out.read_text())
    with table.open(newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t"))
    pairs = [(row["reference"].split(), row["hypothesis"].split()) for row in rows]
    assert report["main"] == "per"
    assert report["per"]["rate"] == sum(least_edits(*pair) for pair in pairs) / sum(len(left) for left, _ in pairs)
    assert {"sil"} <= {phone for left, _ in pairs for phone in left}
    assert not {"h#", "q", "ix", "ax-h"} & {phone for pair in pairs for side in pair for phone in side}
    assert report["folded"] == (labels == "61")
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert any("per" in entry for entry in log)
    assert "PER" in capsys.readouterr().out
    symbols = json.loads((run / "model" / "vocab.json").read_text())
    assert ("h#" in symbols) == (labels == "61")


def test_the_recipe_has_the_numbers_of_the_paper() -> None:
    config = load_recipe(RECIPE, FinetuneConfig)
    assert (config.masking.time_start, config.masking.channel_start, config.train.updates) == (0.065, 0.012, 40_000)
    assert (config.freeze.updates, config.text.symbols, config.masking.channel_span) == (10_000, "whitespace", 64)
    assert (config.data.split, config.data.validation_split) == ("train", "dev")
