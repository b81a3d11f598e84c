"""Products in bfloat16 on a CPU: what PyTorch's own bfloat16 product gives, everything else in float32."""

from dataclasses import replace

import pytest
import torch
from tests.model.conftest import make_model
from tests.small_models import DETERMINISTIC, FAMILIES, noise
from torch import nn

from wav2vec2.model.architecture import Regularization
from wav2vec2.model.cpu import half
from wav2vec2.model.pretraining import PretrainingOutput
from wav2vec2.model.randomness import Draw


def as_bfloat16(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return a.bfloat16() @ b.bfloat16()


def test_rounded_operands_give_what_the_product_of_bfloat16_gives() -> None:
    """Up to the order of the float32 sum, which now and then turns the last rounding."""
    torch.manual_seed(0)
    a, b, into = torch.randn(40, 64), torch.randn(64, 24), torch.ones(40, 24)
    expected = as_bfloat16(a, b).float()
    with half.half_products():
        found = half.multiply(a, b)
        half.add_product(into, a, b)
        batches = half.multiply(a[None], b[None])
    assert (found != expected).float().mean() < 0.01
    torch.testing.assert_close(found, expected, rtol=2**-7, atol=1e-6)
    assert torch.equal(into, 1 + found)
    assert torch.equal(batches[0], found)
    assert torch.equal(half.multiply(a, b), a @ b)


def test_a_linear_layer_keeps_bias_and_sums_in_float32() -> None:
    torch.manual_seed(0)
    layer, x, weights = nn.Linear(16, 8), torch.randn(12, 16, requires_grad=True), torch.randn(12, 8)
    with half.half_products():
        out = half.linear(layer, x)
    grads = torch.autograd.grad((out * weights).sum(), [x, layer.weight, layer.bias])
    expected = [as_bfloat16(weights, layer.weight).float(), as_bfloat16(weights.t(), x).float(), weights.sum(0)]
    torch.testing.assert_close(out, as_bfloat16(x, layer.weight.t()).float() + layer.bias, rtol=2**-7, atol=1e-6)
    torch.testing.assert_close(list(grads), expected, rtol=2**-7, atol=1e-5)


def loss_and_gradients(family: str, regularization: Regularization, autocast: bool) -> tuple[float, torch.Tensor, bool]:
    model = make_model(FAMILIES[family], regularization, torch.float32).train()
    waveforms, lengths = noise(16_000, 9_000)
    packed = []
    model.encoder.feature_encoder.register_forward_hook(lambda _, __, out: packed.append(out[0].dim() == 2))
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        output: PretrainingOutput = model(waveforms, lengths, draw=Draw(1, 3, torch.arange(2)))
        assert not half.in_half()
    loss = output.contrastive_sum / output.masked + 10 * output.penalty_sum / output.penalty_count
    loss.backward()
    return loss.item(), torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]), all(packed)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_a_training_step_under_autocast_uses_the_packed_kernels(family: str, dropout: float) -> None:
    drops = replace(DETERMINISTIC, dropout=dropout, attention_dropout=dropout, activation_dropout=dropout)
    loss, gradient, _ = loss_and_gradients(family, drops, autocast=False)
    found, rounded, packed = loss_and_gradients(family, drops, autocast=True)
    assert packed
    assert found != loss
    assert found == pytest.approx(loss, rel=1e-2)
    # 0.988 and more; autocast on padded frames gives 0.989 and more
    assert torch.nn.functional.cosine_similarity(gradient, rounded, dim=0) > 0.98
    assert rounded.dtype == torch.float32
