from pathlib import Path

import pytest
from tests.report.run_logs import finetuning_records, pretraining_records, write_run

from wav2vec2.cli import main
from wav2vec2.report.run_log import read_run
from wav2vec2.report.runs import summary


def test_one_page_for_runs_of_both_kinds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # few panels, because drawing them takes longest
    kept = ("kind", "update", "contrastive", "chance", "accuracy", "gradient_norm_heads")
    records = [{key: value for key, value in record.items() if key in kept} for record in pretraining_records()]
    first = write_run(tmp_path / "first", records, "seed = 1\n")
    second = write_run(tmp_path / "second", records, "seed = 2\n")
    third = write_run(tmp_path / "third", finetuning_records())
    assert main(["report", str(first), str(second), str(third), "--out", str(tmp_path / "page")]) == 0
    out = capsys.readouterr()
    assert out.err == ""
    assert out.out.split() == [str(tmp_path / "page" / name) for name in ("report.html", "report.md")]
    markdown = (tmp_path / "page" / "report.md").read_text()
    assert markdown.index("## Pre-training") < markdown.index("| seed | 1 | 2 |") < markdown.index("## Fine-tuning")
    for name in ("pre_training_curves", "pre_training_gradients", "pre_training_reference", "fine_tuning_curves"):
        assert f"]({name}.png)" in markdown
        assert (tmp_path / "page" / f"{name}.png").stat().st_size > 10_000


def test_the_table_says_what_the_runs_reached(tmp_path: Path) -> None:
    pretraining = read_run(write_run(tmp_path / "p", pretraining_records()))
    header, (row,), _ = summary([pretraining])
    cells = dict(zip(header, row, strict=True))
    assert cells["loss, nats"] == "4.4"
    assert cells["chance, nats"] == "4.615"
    assert cells["accuracy, %"] == "5"
    assert cells["codes in use, %"] == "50"  # not validated: from the last training line
    assert cells["perplexity of the codebooks"] == "5 + 6 of 2 x 8"
    assert cells["gradient norm, quantizer"] == "4"
    assert cells["ended"] == "done"
    header, (row,), _ = summary([read_run(write_run(tmp_path / "f", finetuning_records()))])
    cells = dict(zip(header, row, strict=True))
    assert (cells["WER, %"], cells["CER, %"], cells["best at update"]) == ("80", "60", "5")
    assert cells["ended"] == "running or killed"


@pytest.mark.parametrize("content", [None, "", '{"kind": "train", "update": 1, "loss'])
def test_bad_runs_give_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None) -> None:
    (tmp_path / "run").mkdir()
    if content is not None:
        (tmp_path / "run" / "log.jsonl").write_text(content)
    assert main(["report", str(tmp_path / "run"), "--out", str(tmp_path / "page")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert str(tmp_path / "run") in error
    assert not (tmp_path / "page").exists()


def test_a_cut_last_line_is_told_and_the_rest_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "run", [{"kind": "train", "update": 1, "per_label": 3.0}])
    with (run / "log.jsonl").open("a") as log:
        log.write('{"kind": "tr')
    assert main(["report", str(run), "--out", str(tmp_path / "page")]) == 0
    error = capsys.readouterr().err
    assert error == f"{run / 'log.jsonl'}: the last line is incomplete and was skipped\n"
