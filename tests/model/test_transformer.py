"""A block's product for queries, keys and values, and its residual stream."""

import pytest
import torch
from tests.model.conftest import make_model
from tests.small_models import FAMILIES, noise
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from wav2vec2.model.layout import Layout, Packed, Padded
from wav2vec2.model.precision import WideLayerNorm
from wav2vec2.model.transformer import SelfAttention, TransformerLayer


class Products(TorchDispatchMode):
    """Counts matrix products."""

    count = 0

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        self.count += function in (torch.ops.aten.addmm.default, torch.ops.aten.mm.default)
        return function(*arguments, **(named or {}))


@pytest.mark.parametrize("layout", [Packed((7, 4)), Padded(torch.tensor([7, 4]), 7)], ids=["packed", "padded"])
def test_one_product_in_training_gives_what_three_give(layout: Layout) -> None:
    torch.manual_seed(0)
    attention = SelfAttention(8, 2, 0.0).double()
    x = torch.randn((11, 8) if isinstance(layout, Packed) else (2, 7, 8), dtype=torch.float64, requires_grad=True)
    found: list[list[Tensor]] = []
    counts = []
    for training in (True, False):
        with Products() as seen:
            out = attention.train(training)(x, layout, None)
        counts.append(seen.count)
        found.append([out, *torch.autograd.grad(out.square().sum(), [x, *attention.parameters()])])
    assert counts == [2, 4]
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-12)
    assert list(dict(attention.named_parameters()))[:4] == ["query.weight", "query.bias", "key.weight", "key.bias"]


def test_a_norm_computes_in_float32_and_returns_what_it_was_given() -> None:
    norm, x = WideLayerNorm(64), 3 + torch.randn(5, 64)
    half = x.bfloat16()
    assert torch.equal(norm(half), norm(half.float()).bfloat16())
    assert norm.bfloat16()(x).dtype == torch.float32
    wide = x.double()
    torch.testing.assert_close(norm.double()(wide), torch.nn.functional.layer_norm(wide, (64,)), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("stream", [torch.float32, torch.bfloat16])
def test_the_residual_stream_has_the_type_that_it_was_told(family: str, stream: torch.dtype) -> None:
    model = make_model(FAMILIES[family], dtype=torch.float32)
    model.encoder.packed = False
    seen = []
    for block in model.modules():
        if isinstance(block, TransformerLayer):
            block.residual = stream
            block.register_forward_hook(lambda _, __, out: seen.append(out.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        model.encode(*noise(9000, 8000))
    assert seen == [stream] * FAMILIES[family].layers


@pytest.mark.parametrize("family", FAMILIES)
def test_packed_blocks_keep_the_digits_of_a_half_stream(family: str) -> None:
    """In the packed layout the stream stays float32 in memory, with the digits that bfloat16 has."""
    model = make_model(FAMILIES[family], dtype=torch.float32)
    outputs = []
    for block in model.modules():
        if isinstance(block, TransformerLayer):
            block.residual = torch.bfloat16
            block.register_forward_hook(lambda _, __, out: outputs.append(out))
    model.encode(*noise(9000, 8000))
    assert all(out.dtype == torch.float32 and torch.equal(out, out.bfloat16().float()) for out in outputs)
