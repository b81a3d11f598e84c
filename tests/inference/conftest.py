from pathlib import Path

import pytest
from tests.inference.spoken_symbols import TEXTS, VOCABULARY, LoudnessCTC, spoken, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Recordings of ``TEXTS``, and a file that is none."""
    for number, text in enumerate(TEXTS):
        write(tmp_path / "audio" / f"{number}.wav", spoken(text))
    (tmp_path / "audio" / "notes.txt").write_text("no audio")
    return tmp_path / "audio"


@pytest.fixture
def model_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A folder that stands for the model that hears loudness."""
    VOCABULARY.save(tmp_path / "model")
    monkeypatch.setattr("wav2vec2.checkpoints.load.load", lambda source, language: LoudnessCTC())
    return str(tmp_path / "model")
