"""scripts/memory.py: torch's tracker on tensors that do not exist, against what a real step allocates."""

from dataclasses import replace

import pytest
import torch
from scripts import memory

from wav2vec2.model.variants.pretraining import pretraining_model
from wav2vec2.train.options import ParallelConfig
from wav2vec2.train.pretrain.command import PretrainConfig

pytestmark = pytest.mark.slow


def test_tracked_memory_is_what_a_step_allocates() -> None:
    found = memory.measure("tiny", 1, 2.0)
    assert found["tracked"] == pytest.approx(found["allocated"], rel=0.15)


def test_each_process_holds_its_part_of_the_state() -> None:
    config = PretrainConfig(parallel=ParallelConfig("fsdp", recompute=True))
    model = replace(config.model, architecture="tiny", layers=2)
    config = replace(config, model=model, train=replace(config.train, precision="bf16"))
    with torch.device("meta"):
        whole = pretraining_model(model.build(), config.regularization, config.masking)
    parameters = sum(p.numel() for p in whole.parameters())
    # weights and two moments in float32, and those gradients that are there at the peak
    assert 12 * parameters / 4 <= memory.tracked(config, 1.0, 1, 4).state <= 1.05 * 16 * parameters / 4
