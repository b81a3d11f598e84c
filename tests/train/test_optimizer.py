import math
from dataclasses import replace

import pytest
import torch
from tests.train.tiny_run import TINY
from torch import nn

from wav2vec2.model.architecture import Regularization
from wav2vec2.model.pretraining import Wav2Vec2ForPretraining
from wav2vec2.train import optimizer
from wav2vec2.train.options import TrainConfig
from wav2vec2.train.pretrain.command import LossConfig, PretrainConfig, scaled_regularization


def test_base_learning_rate_rises_for_32k_updates_and_falls_to_zero_at_400k() -> None:
    factor = optimizer.schedule(TrainConfig(updates=400_000, warmup_share=0.08))
    assert factor(0) == 0
    assert 5e-4 * factor(1_600) == pytest.approx(5e-4 * 1_600 / 32_000)
    assert factor(32_000) == 1
    assert factor(216_000) == pytest.approx(0.5)
    assert factor(400_000) == 0


def test_tri_stage_of_20k_updates_has_the_papers_stages() -> None:
    config = TrainConfig(updates=20_000, schedule="tri-stage", warmup_share=0.1, hold_share=0.4)
    factor = optimizer.schedule(config)
    assert factor(0) == pytest.approx(0.01)
    assert factor(1_000) == pytest.approx(0.505)
    assert factor(2_000) == factor(9_999) == 1
    assert factor(15_000) == pytest.approx(math.sqrt(0.05))
    assert factor(20_000) == pytest.approx(0.05)
    linear = optimizer.schedule(replace(config, decay="linear"))
    assert linear(15_000) == pytest.approx(0.525)
    assert linear(20_000) == pytest.approx(0.05)


def test_temperature_anchors_and_its_scaling_by_the_length_of_the_run() -> None:
    published = Regularization()
    assert published.temperature(277_258) == pytest.approx(0.5, abs=1e-6)
    assert published.temperature(277_259) == 0.5
    assert published.temperature(250_000) == pytest.approx(0.573, abs=1e-3)
    config = PretrainConfig(loss=LossConfig(tau_floor_share=0.6), train=TrainConfig(updates=5_500))
    scaled = scaled_regularization(config)
    assert scaled.tau_decay == pytest.approx(0.99958, abs=1e-5)
    assert scaled.temperature(3_301) == 0.5 < scaled.temperature(3_299)


def test_the_square_root_rule_acts_only_when_asked_and_is_announced() -> None:
    assert optimizer.peak_lr(TrainConfig(lr=5e-4), 60) == (5e-4, None)
    lr, line = optimizer.peak_lr(TrainConfig(lr=5e-4, scale_lr=True), 1_440)
    assert lr == pytest.approx(2.5e-4)
    assert line is not None
    assert "0.00025" in line


def test_weight_decay_leaves_biases_norms_mask_gains_and_codebooks_out() -> None:
    model = Wav2Vec2ForPretraining(TINY.build())
    spared = {name for name, p in model.named_parameters() if not optimizer.is_decayed(name, p)}
    weights = {name for name, _ in model.named_parameters()} - spared
    assert "quantizer.codevectors" in spared
    assert "encoder.mask_embedding" in spared
    assert all(name in spared for name, _ in model.named_parameters() if name.endswith("bias"))
    assert all(name in spared for name, _ in model.named_parameters() if "norm" in name and "conv" not in name)
    assert "quantizer.logits.weight" in weights
    named = list(model.named_parameters())
    chosen, line = optimizer.build_optimizer(named, TrainConfig())
    assert f"{len(weights)} tensors" in line
    assert [group["weight_decay"] for group in chosen.param_groups] == [0.01, 0.0]
    everything, line = optimizer.build_optimizer(named, TrainConfig(decay_all=True))
    assert len(everything.param_groups) == 1
    assert f"all {len(named)} tensors" in line


def test_prepared_moments_change_nothing() -> None:
    torch.manual_seed(0)
    ours, theirs = nn.Linear(4, 3), nn.Linear(4, 3)
    theirs.load_state_dict(ours.state_dict())
    config = TrainConfig(weight_decay=0.0)
    mine, _ = optimizer.build_optimizer(ours.named_parameters(), config)
    optimizer.set_lr(mine, 0.1)
    plain = torch.optim.AdamW(theirs.parameters(), lr=0.1, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.0, fused=True)
    for _ in range(5):
        x = torch.randn(2, 4)
        for model, steps in ((ours, mine), (theirs, plain)):
            steps.zero_grad()
            model(x).square().sum().backward()
            steps.step()
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


@pytest.mark.parametrize(("limit", "divisor"), [(1.0, 5.0), (5.0, 1.0), (6.0, 1.0), (0.0, 1.0)])
def test_clipping_scales_the_whole_gradient(limit: float, divisor: float) -> None:
    clipped, plain = nn.Linear(2, 1, bias=False), nn.Linear(2, 1, bias=False)
    plain.load_state_dict(clipped.state_dict())
    for layer, scale in ((clipped, 1.0), (plain, divisor)):
        steps, _ = optimizer.build_optimizer(layer.named_parameters(), TrainConfig(eps=1.0))
        optimizer.set_lr(steps, 0.1)
        layer.weight.grad = torch.tensor([[3.0, 4.0]]) / scale
        optimizer.step_if_finite(steps, torch.tensor(5.0), limit if layer is clipped else 0.0, torch.ones(()))
    torch.testing.assert_close(clipped.weight, plain.weight, rtol=1e-6, atol=0)


def test_a_step_whose_gradient_is_not_finite_changes_nothing() -> None:
    layer = nn.Linear(2, 1, bias=False)
    before = layer.weight.detach().clone()
    steps, _ = optimizer.build_optimizer(layer.named_parameters(), TrainConfig())
    optimizer.set_lr(steps, 0.1)
    for norm in (torch.inf, torch.nan):
        layer.weight.grad = torch.tensor([[3.0, norm]])
        optimizer.step_if_finite(steps, torch.tensor(norm), 1.0, torch.ones(()))
    assert torch.equal(layer.weight, before)
    assert [float(value.abs().max()) for value in steps.state[layer.weight].values()] == [0.0, 0.0, 0.0]


def test_gradient_norms_by_part_add_up_to_the_whole() -> None:
    model = Wav2Vec2ForPretraining(TINY.build())
    parameters = dict(model.named_parameters())
    for number, parameter in enumerate(parameters.values(), 1):
        parameter.grad = torch.full_like(parameter, 1e-3 * number)
    norms = optimizer.gradient_norms_by_part(model)
    assert list(norms) == [f"gradient_norm_{p}" for p in ("context_network", "feature_encoder", "quantizer", "heads")]
    assert math.hypot(*norms.values()) == pytest.approx(float(optimizer.gradient_norm(parameters.values())))
    quantizer = [parameter.grad for name, parameter in parameters.items() if "quantizer" in name]
    expected = math.sqrt(sum(float((gradient**2).sum()) for gradient in quantizer))
    assert norms["gradient_norm_quantizer"] == pytest.approx(expected)


def test_frozen_parts_have_no_norm_and_other_models_no_parts() -> None:
    model = Wav2Vec2ForPretraining(TINY.build())
    model.context_projection.weight.grad = torch.ones_like(model.context_projection.weight)
    assert list(optimizer.gradient_norms_by_part(model)) == ["gradient_norm_heads"]
    assert optimizer.gradient_norms_by_part(nn.Linear(2, 2)) == {}
