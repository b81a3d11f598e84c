"""What the options of precision set in a model, and what they tell the user."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.train.tiny_run import TINY, pretrain_config

from wav2vec2.errors import UserError
from wav2vec2.model.pretraining import Wav2Vec2ForPretraining
from wav2vec2.train.distributed import Ranks
from wav2vec2.train.objective import Run
from wav2vec2.train.options import refuse_impossible
from wav2vec2.train.parallel import blocks
from wav2vec2.train.precision import precision_on
from wav2vec2.train.pretrain.command import PretrainConfig
from wav2vec2.train.pretrain.objective import ContrastiveObjective, LossConfig
from wav2vec2.train.step import Step


def config_of(**train: Any) -> PretrainConfig:
    config = pretrain_config(Path("m"), Path("o"))
    return replace(config, train=replace(config.train, **train))


def step_of(**train: Any) -> Step[Any]:
    objective = ContrastiveObjective(Wav2Vec2ForPretraining(TINY.build()), LossConfig(), seed=9)
    return Step(Run.of(config_of(**train), ""), objective, "seconds", Ranks(0, 1, torch.device("cpu")))


@pytest.mark.parametrize("native", [True, False])
def test_a_processor_without_bf16_is_named(native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wav2vec2.model.cpu.half.native", lambda: native)
    assert step_of(precision="fp32").precision_line is None
    line = step_of(precision="bf16").precision_line
    assert (line is None) == native
    assert native or "slow on this processor, which has neither AVX512_BF16 nor AMX" in str(line)


def test_the_stream_of_blocks_has_the_chosen_type() -> None:
    found = [
        {block.residual for block in blocks(step_of(precision=precision, residual=residual).model)}
        for precision, residual in (("fp32", "float32"), ("bf16", "float32"), ("bf16", "bf16"))
    ]
    assert found == [{None}, {torch.float32}, {torch.bfloat16}]


@pytest.mark.parametrize("precision", ["fp32", "fp16", "fp64"])
def test_a_half_stream_needs_half_products(precision: str) -> None:
    with pytest.raises(UserError, match=r"train\.residual = bf16 needs train\.precision = bf16"):
        refuse_impossible(config_of(precision=precision, residual="bf16"))
    refuse_impossible(config_of(precision="bf16", residual="bf16"))


@pytest.mark.parametrize("wanted", [True, False])
def test_the_triton_kernel_can_be_turned_off(wanted: bool) -> None:
    model: Any = step_of(triton=wanted).model
    assert model.encoder.feature_encoder.first_kernel is (None if wanted else False)


def test_a_card_without_bf16_computes_in_fp16_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    card = torch.device("cuda", 0)
    for able in (True, False):
        monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation, able=able: able)
        found = precision_on(card, config_of(precision="bf16", residual="bf16").train)
        assert found.products == (torch.bfloat16 if able else torch.float16)
        assert found.residual == (torch.bfloat16 if able else torch.float32)
        assert found.scaled == (not able)
        assert ("this GPU does not compute in bf16" in (found.line or "")) == (not able)
