"""--table shows what a folder holds without the data of the run; the lines of docs/experiments.md make plans."""

import re
import shlex
from pathlib import Path

import pytest

from wav2vec2 import cli
from wav2vec2.experiment.cell import Cell, UtteranceErrors
from wav2vec2.text.error_rate import ErrorCounts

PAGE = Path(__file__).resolve().parents[2] / "docs/experiments.md"


def cell(name: str, **row: str) -> Cell:
    errors = UtteranceErrors("a", "s", "test", ErrorCounts(1, 0, 0, 4), ErrorCounts(1, 0, 0, 10))
    return Cell(name, "greedy", "no LM", dict(row), (errors,))


@pytest.mark.parametrize(
    ("experiment", "made"),
    [
        ("low-label", cell("1h-pretrained-s1", tier="1h", arm="pretrained", seed="1")),
        ("ablation", cell("baseline-s1", variant="baseline", seed="1")),
        ("table1", cell("1h-base", tier="1h", model="base")),
        ("timit", cell("timit-s1", seed="1")),
    ],
)
def test_a_table_needs_only_the_folder(experiment, made, tmp_path, capsys):
    words = ["experiment", experiment, "--table", "--out", str(tmp_path)]
    assert cli.main(words) == 2
    assert "holds no results yet; name the folder of a run with --out" in capsys.readouterr().err
    made.write(tmp_path / "results")
    assert cli.main(words) == 0
    shown = capsys.readouterr().out
    assert "25.0" in shown
    assert "1 results of" in shown
    assert not (tmp_path / "report.html").exists()


def test_the_lines_of_the_page_make_plans(tree, tmp_path, monkeypatch, capsys):
    (tmp_path / "text.txt").write_text("red box\n")
    (tmp_path / "LibriSpeech").symlink_to(tree)
    monkeypatch.chdir(tmp_path)
    lines = re.findall(r"^    wav2vec2 (experiment .+?)(?: +#.*)?$", PAGE.read_text(encoding="utf-8"), re.M)
    assert len(lines) >= 5
    for line in lines:
        words = shlex.split(line)
        table = "--table" in words
        assert cli.main([*words, *(() if table else ("--dry-run",))]) == (2 if table else 0), line
        if not table and "--help" not in words:
            assert "wav2vec2 finetune" in capsys.readouterr().out
