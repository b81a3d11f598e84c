import json
from pathlib import Path

import pytest
from tests.report.run_logs import finetuning_records, pretraining_records

from wav2vec2.cli import main

RECIPE = "[batch]\nseconds = 3600.0\n\n[train]\nupdates = 16700\n"


def run_folder(folder: Path, records: list[dict], recipe: str = RECIPE) -> Path:
    folder.mkdir()
    (folder / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    if recipe:
        (folder / "config.toml").write_text(recipe)
    return folder


def test_a_run_and_what_a_day_of_its_machine_buys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_folder(tmp_path / "mine", pretraining_records())
    assert main(["report", "budget", str(run)]) == 0
    said = capsys.readouterr().out
    assert "mine: 40.0 h heard of 16,700.0 planned: so about 72 % for this run, were it BASE" in said
    assert "9 s of speech a second" in said
    assert "24 h of the machine: 216 h heard: fewer than 4,200 h" in said
    assert "16,700 h heard (BASE: 72 % WER): 77 days of the machine" in said  # 16,700 / 9 / 24
    assert "400,000" not in said
    assert "622,222 h heard at most  accuracy 0.629" in said  # 400,000 updates of 5,600 s


def test_without_a_run_a_budget_is_that_of_two_cores_or_of_a_rate(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "budget"]) == 0
    assert "two CPU cores, BASE: 4.95 s of speech a second" in capsys.readouterr().out
    assert main(["report", "budget", "--rate", "4000", "--hours", "10"]) == 0
    assert "10 h of the machine: 40,000 h heard: so about " in capsys.readouterr().out


def test_what_is_no_budget_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, reason in (
        (["--hours", "0"], "--hours 0: must be a number above 0"),
        ([str(run_folder(tmp_path / "tuned", finetuning_records()))], "is a run of fine-tuning"),
        ([str(run_folder(tmp_path / "bare", pretraining_records(), ""))], "lacks its config.toml"),
        ([str(tmp_path / "absent")], "does not exist"),
    ):
        assert main(["report", "budget", *arguments]) == 2
        err = capsys.readouterr().err
        assert reason in err
        assert len(err.splitlines()) == 1
