from pathlib import Path

import pytest
from tests.experiment.made_up_speech_tree import write_tree
from tests.run_here import run_here


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A made-up corpus with label lists; experiments run their commands in this process."""
    monkeypatch.setattr("wav2vec2.pipeline.engine.run_command", run_here)
    root = write_tree(tmp_path / "tree")
    for name in ("10min", "10h"):
        (root / f"labels-{name}.txt").write_text((root / "labels-1h.txt").read_text())
    return root


@pytest.fixture
def unseen_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are made and not painted, which takes half of a small experiment's time; one test has them painted."""
    monkeypatch.setattr("wav2vec2.report.page.drawn", lambda figure, kind: b"<svg/>" if kind == "svg" else b"")
