"""fairseq's own defaults, which its files may leave out, and the expression of its convolutions."""

from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from wav2vec2.audio.normalize import FAIRSEQ_EPSILON
from wav2vec2.checkpoints.fairseq.config import (
    architecture,
    finetuning_settings,
    masking,
    parse_conv_layers,
    pretraining_settings,
    regularization,
)
from wav2vec2.checkpoints.load import describe
from wav2vec2.model.architecture import ARCHITECTURES, Architecture, Masking, Regularization

BASE = Architecture(
    name="custom",  # unlike the published model, whose files say that final_dim is 256
    conv_channels=(512,) * 7,
    conv_kernels=(10, 3, 3, 3, 3, 2, 2),
    conv_strides=(5, 2, 2, 2, 2, 2, 2),
    conv_bias=False,
    conv_norm="group",
    normalize_input=False,
    input_epsilon=FAIRSEQ_EPSILON,
    hidden_size=768,
    layers=12,
    ffn_size=3072,
    heads=12,
    layer_norm_first=False,
    pos_conv_kernel=128,
    pos_conv_groups=16,
    pos_conv_depth=1,
    codebook_groups=2,
    codebook_entries=320,
    codevector_size=768,
    final_size=768,
    negatives=100,
    logit_temperature=0.1,
)


def test_a_pretrained_file_that_leaves_all_settings_out(tmp_path: Path) -> None:
    torch.save({"args": Namespace(), "model": {"mask_emb": torch.zeros(768)}}, tmp_path / "m.pt")
    found = describe(tmp_path / "m.pt")
    assert (found.kind, found.architecture) == ("pretraining", BASE)
    assert found.regularization == Regularization(
        dropout=0.1,
        attention_dropout=0.1,
        activation_dropout=0.0,
        input_dropout=0.0,
        feature_dropout=0.0,
        final_dropout=0.0,
        layerdrop=0.0,
        feature_grad_mult=1.0,
        tau_start=2.0,
        tau_end=0.5,
        tau_decay=0.999995,
    )
    assert found.masking == Masking(0.065, 10, 2, 0.0, 10)


def test_a_fine_tuned_file_that_leaves_all_settings_out(tmp_path: Path) -> None:
    pretraining = Namespace(dropout=0.3, encoder_layerdrop=0.3, mask_prob=0.9, feature_grad_mult=0.3, dropout_input=0.3)
    content = {"args": Namespace(w2v_args=pretraining), "model": {"w2v_encoder.proj.weight": torch.zeros(6, 768)}}
    torch.save(content, tmp_path / "m.pt")
    found = describe(tmp_path / "m.pt")
    assert (found.kind, found.vocabulary_size, found.architecture) == ("ctc", 6, BASE)
    assert found.regularization == Regularization(
        dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
        input_dropout=0.0,
        feature_dropout=0.0,
        final_dropout=0.0,
        layerdrop=0.0,
        feature_grad_mult=0.0,
        tau_start=2.0,
        tau_end=0.5,
        tau_decay=0.999995,
    )
    assert found.masking == Masking(0.05, 10, 2, 0.0, 10)


def test_without_masks_nothing_is_masked(tmp_path: Path) -> None:
    masks = {"mask_prob": 0.5, "mask_channel_prob": 0.5, "apply_mask": False}
    content = {"args": Namespace(**masks, w2v_args=Namespace())}
    torch.save({**content, "model": {"w2v_encoder.proj.weight": torch.zeros(6, 768)}}, tmp_path / "m.pt")
    assert describe(tmp_path / "m.pt").masking == Masking(0.0, 10, 2, 0.0, 10)


PRETRAINING = Regularization(0.01, 0.02, 0.03, 0.04, 0.05, 0.0, 0.07, 0.08, 3.0, 0.3, 0.999)
MASKS = [Masking(0.065, 10, 2, 0.0, 64), Masking(0.0, 10, 2, 0.004, 64), Masking(0.05, 8, 2, 0.008, 32)]


@pytest.mark.parametrize(
    "a",
    [ARCHITECTURES["base"], ARCHITECTURES["large_lv60k"], replace(BASE, codevector_size=24, pos_conv_depth=5)],
    ids=("base", "large", "other"),
)
@pytest.mark.parametrize("m", MASKS)
def test_settings_that_are_written_are_read(a: Architecture, m: Masking) -> None:
    written = pretraining_settings(a, PRETRAINING, m)
    assert architecture(written, normalize=a.normalize_input, epsilon=a.input_epsilon, ctc=False) == a
    assert regularization(written, None) == PRETRAINING
    assert masking(written) == m
    assert "conv_pos_batch_norm" not in written  # older fairseq refuses a setting that it does not know
    assert (written["activation_fn"], written["layer_type"], written["quantize_targets"]) == (
        "gelu",
        "transformer",
        True,
    )
    tuned = replace(PRETRAINING, final_dropout=0.06)
    finetuning = finetuning_settings(tuned, m, a.normalize_input)
    assert finetuning["apply_mask"] is True
    assert regularization(written, finetuning) == tuned
    assert masking(finetuning) == m
    assert finetuning_settings(tuned, Masking(0.0, channel_start=0.0), False)["apply_mask"] is False


@pytest.mark.parametrize("times", [1, 2, 100])
def test_a_layer_may_be_repeated_once_to_a_hundred_times(times: int) -> None:
    assert parse_conv_layers(f"[(512, 3, 2)] * {times}") == [(512, 3, 2)] * times


def test_the_smallest_convolution_is_one_of_each() -> None:
    assert parse_conv_layers("[(1, 1, 1)]") == [(1, 1, 1)]


@pytest.mark.parametrize("text", ["[(512, 3, 2)] * 0", "[(512, 3, 2)] * 101", "[(512, 3, 2)] * 99 + [(512, 2, 2)] * 2",
                                  "[(512, 0, 2)]", "[(512, 3, 2)] + [(512, 3)]", "[(512, 3.0, 2)]"])  # fmt: skip
def test_what_is_no_stack_of_up_to_a_hundred_layers_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="conv_feature_layers"):
        parse_conv_layers(text)
