"""The lines of docs/your_language.md, run in order on a made-up corpus with a small encoder of the hub's double."""

import re
import shlex
from pathlib import Path

import pytest
from scripts.made_up_language import write_language
from tests.hub_double import repositories
from tests.hub_double.in_process import turn_to
from tests.hub_double.server import HubDouble
from tests.run_here import run_here

from wav2vec2 import cli

PAGE = Path(__file__).resolve().parents[2] / "docs/your_language.md"
ENCODER = "facebook/wav2vec2-xls-r-300m"
QUICK = {
    "adapt recordings": "--updates 2 --trials 1 --workers 1 --threads 1 --device cpu --set *:batch.workers=0",
    "prepare": "--workers 1",
    "finetune": "--train.updates 2 --batch.seconds 20 --batch.workers 0 --train.threads 1 --log.no-tensorboard",
    "tune": "--trials 1 --workers 0",
    "evaluate": "--workers 0",
    "pseudo-label": "--workers 0",
}
"""What makes a line a matter of seconds."""


def lines() -> list[list[str]]:
    """The command lines of the page, without those about a corpus of Common Voice, which is not there."""
    found = re.findall(r"^    wav2vec2 (.+)$", PAGE.read_text(encoding="utf-8"), re.M)
    return [shlex.split(line) for line in found if "cv-corpus" not in line]


@pytest.mark.slow
def test_the_lines_of_the_tutorial_run(tmp_path, monkeypatch, capsys):
    write_language(tmp_path, "el", minutes=0.8, transcribed=0.55, speakers=6)
    monkeypatch.setattr("wav2vec2.pipeline.engine.run_command", run_here)
    monkeypatch.chdir(tmp_path)
    with HubDouble() as hub:
        hub.add(ENCODER, repositories.xls_r_300m(tmp_path / "published"))
        turn_to(hub, tmp_path / "cache", monkeypatch)
        for words in lines():
            quick = next((more for start, more in QUICK.items() if " ".join(words).startswith(start)), "")
            assert cli.main([*words, *quick.split()]) == 0, words
    said = capsys.readouterr().out
    assert len(lines()) == 13
    assert "kept " in said  # of the pseudo-labels
    assert {"model", "lm.arpa", "lexicon.txt", "README.md", "report"} <= {path.name for path in Path("mine").iterdir()}
    assert Path("pseudo.parquet").is_file()
