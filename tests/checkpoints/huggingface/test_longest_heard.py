from pathlib import Path

import pytest
from tests.small_models import FAMILIES, recognizer

import wav2vec2
from wav2vec2.checkpoints.info import rows
from wav2vec2.checkpoints.load import describe
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.text.vocabulary import Vocabulary


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    wav2vec2.save(recognizer(FAMILIES["group"], Vocabulary.from_transcripts(["A FOX"])), tmp_path / "model")
    return tmp_path / "model"


def test_the_longest_utterance_heard_is_kept_and_described(directory: Path, tmp_path: Path) -> None:
    model = wav2vec2.load(directory)
    assert isinstance(model, Wav2Vec2ForCTC)
    assert model.longest_heard is None
    model.longest_heard = 12.5
    wav2vec2.save(model, tmp_path / "again")
    again = wav2vec2.load(tmp_path / "again")
    assert isinstance(again, Wav2Vec2ForCTC)
    assert again.longest_heard == 12.5
    assert rows(describe(tmp_path / "again"))["heard"].startswith("utterances of up to 12.5 s")
    assert "heard" not in rows(describe(directory))
