"""A step as a GPU computes it, on a CPU: padded frames, the feature encoder's rows, autocast, a half stream."""

from dataclasses import replace

import pytest
import torch
from tests.model.conftest import make_model
from tests.small_models import DETERMINISTIC, FAMILIES, noise
from torch import Tensor

from wav2vec2.model.randomness import Draw
from wav2vec2.train.parallel import blocks


def step(family: str, *, on_gpu: bool, half: bool = False) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss and gradients of all parameters."""
    regularization = replace(DETERMINISTIC, feature_grad_mult=0.1)
    dtype = torch.float32 if half else torch.float64
    model = make_model(FAMILIES[family], regularization, torch.float32).to(dtype).train()
    model.encoder.packed, model.encoder.feature_encoder.rows = not on_gpu, on_gpu
    for block in blocks(model):
        block.residual = torch.bfloat16 if half else None
    waveforms, lengths = noise(16_000, 12_345, 900, padding=7.0)
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        output = model(waveforms.to(dtype), lengths, draw=Draw(1, 3, torch.arange(3)))
    loss = output.contrastive_sum / output.masked + 10 * output.penalty_sum / output.penalty_count
    loss.backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return loss.detach().double(), {name: gradient.double() for name, gradient in gradients.items()}


@pytest.mark.parametrize("family", FAMILIES)
def test_it_gives_what_the_packed_kernels_give(family: str) -> None:
    torch.testing.assert_close(step(family, on_gpu=True), step(family, on_gpu=False), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("family", FAMILIES)
def test_in_half_precision_the_loss_is_nearly_that(family: str) -> None:
    loss, gradients = step(family, on_gpu=False)
    found, others = step(family, on_gpu=True, half=True)
    assert found.item() == pytest.approx(loss.item(), rel=1e-2)
    flat = [torch.cat([parts[name].flatten() for name in gradients]) for parts in (gradients, others)]
    assert torch.nn.functional.cosine_similarity(*flat, dim=0) > 0.97
