"""What fields that ``config.json`` leaves out mean: what transformers takes them for."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from wav2vec2.checkpoints.huggingface.config import ModelConfig, read_config
from wav2vec2.checkpoints.huggingface.directory import config_json
from wav2vec2.errors import UserError
from wav2vec2.model.architecture import Architecture, Masking, Regularization

BARE = {"model_type": "wav2vec2", "architectures": ["Wav2Vec2ForPreTraining"]}


def read(directory: Path, content: dict) -> ModelConfig:
    (directory / "config.json").write_text(json.dumps(content))
    return read_config(directory)


def test_what_is_left_out_has_transformers_own_default(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = read(tmp_path, transformers.Wav2Vec2Config().to_dict() | BARE)
    assert replace(theirs, origin="") == read(tmp_path, BARE)


def test_what_transformers_has_no_field_for_is_as_the_models_were_trained(tmp_path: Path) -> None:
    config = read(tmp_path, BARE)
    assert config.architecture.name == "base"
    assert config.regularization == Regularization(
        dropout=0.1,
        attention_dropout=0.1,
        activation_dropout=0.1,
        input_dropout=0.0,
        feature_dropout=0.0,
        final_dropout=0.1,
        layerdrop=0.1,
        feature_grad_mult=0.1,
        tau_start=2.0,
        tau_end=0.5,
        tau_decay=0.999995,
    )
    assert config.masking == Masking(0.005, 10, 2, 0.0, 10)
    assert (config.vocabulary_size, config.blank, config.origin) == (32, 0, "")


@pytest.mark.parametrize(
    ("stored", "epsilon"),
    [
        ({}, 1e-7),  # of transformers
        ({"normalize_input": True}, 1e-5),  # of ours, from before the epsilon was stored
        ({"normalize_input": True, "input_epsilon": 1e-7}, 1e-7),
        ({"normalize_input": True, "input_epsilon": 1e-5}, 1e-5),
    ],
)
def test_epsilon_of_the_input_is_that_of_the_origin(stored: dict, epsilon: float, tmp_path: Path) -> None:
    assert read(tmp_path, BARE | stored).architecture.input_epsilon == epsilon


@pytest.mark.parametrize("value", [0.0, 1.0, -1e-5, float("nan"), "small", None, [1e-5]])
def test_an_impossible_epsilon_is_one_line(value: object, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a field has an impossible value") as caught:
        read(tmp_path, BARE | {"input_epsilon": value})
    assert "\n" not in str(caught.value)


def test_layers_up_to_a_thousand(tmp_path: Path) -> None:
    assert read(tmp_path, BARE | {"num_hidden_layers": 1000}).architecture.layers == 1000
    with pytest.raises(UserError, match="1001 layers"):
        read(tmp_path, BARE | {"num_hidden_layers": 1001})


@pytest.mark.parametrize(
    ("masks", "masked"),
    [(Masking(0.0, channel_start=0.0), False), (Masking(), True), (Masking(0.0, channel_start=0.01), True)],
)
def test_what_is_written_of_a_model_without_a_head(masks: Masking, masked: bool) -> None:
    written = config_json(Architecture(), Regularization(), masks, kind="encoder")
    assert written["architectures"] == ["Wav2Vec2Model"]
    assert written["pad_token_id"] == 0  # transformers' own default
    assert "vocab_size" not in written
    assert written["apply_spec_augment"] is masked
    assert written["mask_feature_min_masks"] == 0
    assert written["dtype"] == "float32"
