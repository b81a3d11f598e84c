"""Which card belongs to a checkpoint of fairseq2, and what is taken where it says nothing."""

from pathlib import Path

import pytest

from wav2vec2.checkpoints.fairseq2.config import masking, read_card, regularization
from wav2vec2.model.architecture import Masking, Regularization

SHARD = "run/checkpoints/step_7/model/pp_00/tp_00"


def test_a_card_lies_beside_its_file_or_above_the_step_of_a_shard(tmp_path: Path) -> None:
    folder = tmp_path / SHARD
    folder.mkdir(parents=True)
    beside_steps = tmp_path / "run/checkpoints/model.yaml"
    beside_steps.write_text("name: run\n")
    assert read_card(folder / "sdp_00.pt") == {"name": "run"}
    assert read_card(folder / "model.pt") == {}  # no shard: what lies far above is not about it
    (folder / "model.yaml").write_text("name: own\n")
    assert read_card(folder / "sdp_00.pt") == read_card(folder / "model.pt") == {"name": "own"}


def test_a_shard_without_a_run_around_it_has_no_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for place in ("sdp_00.pt", "tp_00/sdp_00.pt", "model/pp_00/tp_00/sdp_00.pt"):
        assert read_card(Path(place)) == {}


def test_what_no_card_says(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    assert regularization({}, path, ctc=False) == Regularization()
    assert regularization({}, path, ctc=True) == Regularization(
        dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.1,
        input_dropout=0.0,
        feature_dropout=0.0,
        final_dropout=0.0,
        layerdrop=0.1,
        feature_grad_mult=0.0,
    )
    for ctc in (False, True):
        assert masking({}, path, ctc, masked=True) == Masking(0.065, 10, 2, 0.0, 64)
        assert masking({}, path, ctc, masked=False) == Masking(0.0, 10, 2, 0.0, 64)
    off = {"model_config": {"use_masking": False}}
    assert masking(off, path, ctc=True, masked=True) == Masking(0.0, 10, 2, 0.0, 64)
    assert masking(off, path, ctc=False, masked=True) == Masking(0.065, 10, 2, 0.0, 64)
