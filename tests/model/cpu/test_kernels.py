"""Every kernel for eager CPU against its plain form: values, and gradients of all inputs."""

import copy
import weakref
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import pytest
import torch
from tests.small_models import FAMILIES, noise, perturbed
from torch import Tensor
from torch.nn import functional as F

from wav2vec2.model.context_network import PositionalConvolution
from wav2vec2.model.cpu import attention, conv_stack
from wav2vec2.model.cpu.attention import DropoutAttention
from wav2vec2.model.cpu.dropout import DropoutKeys, dropout, dropout_add, keep_mask, keep_scale
from wav2vec2.model.cpu.gelu import LARGEST_PIECE, FeedForward, Gelu
from wav2vec2.model.cpu.overlap_save import OverlapSave
from wav2vec2.model.feature_encoder import FeatureEncoder
from wav2vec2.model.layout import Packed
from wav2vec2.model.randomness import Draw


def numbers(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()


def assert_equal(fast: Callable[..., Tensor], plain: Callable[..., Tensor], inputs: Sequence[Tensor]) -> None:
    """Same value, and same gradient of a random function of it."""
    results = []
    for form in (fast, plain):
        value = form(*inputs)
        weights = torch.randn(value.shape, generator=torch.Generator().manual_seed(9), dtype=value.dtype)
        results.append((value, torch.autograd.grad((value * weights).sum(), list(inputs))))
    torch.testing.assert_close(results[0], results[1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("family", FAMILIES)
def test_conv_stack(family: str) -> None:
    torch.manual_seed(0)
    encoder = perturbed(FeatureEncoder(FAMILIES[family]).double(), 0.1)
    waveforms, lengths = noise(9000, 100, 12_345, 400, dtype=torch.float64, padding=7.0)
    names, parameters = zip(*encoder.named_parameters(), strict=True)

    def run(packed: bool, *values: Tensor) -> Tensor:
        given = dict(zip(names, values, strict=True))
        frames, layout = torch.func.functional_call(encoder, given, (waveforms, lengths, packed))
        return torch.cat([row[:n] for row, n in zip(layout.pad(frames), encoder.frame_lengths(lengths), strict=True)])

    assert_equal(lambda *values: run(True, *values), lambda *values: run(False, *values), parameters)


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_layers_of_earlier_utterances_are_kept_for_a_backward_pass_only(
    mode: Callable[[], AbstractContextManager[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    forward, made, alive = conv_stack._Utterance.forward, list[weakref.ref[Tensor]](), list[int]()

    def watched(utterance: conv_stack._Utterance, out: Tensor, *, keep: bool) -> list[Tensor]:
        alive.append(sum(one() is not None for one in made))
        kept = forward(utterance, out, keep=keep)
        made.extend(map(weakref.ref, kept))
        return kept

    monkeypatch.setattr(conv_stack._Utterance, "forward", watched)
    encoder = FeatureEncoder(FAMILIES["group"])
    with mode():
        frames, _ = encoder(*noise(4000, 3000, 2000), True)
    layers = len(encoder.layers) - 1
    assert len(made) == 3 * (layers if frames.requires_grad else 1)
    assert alive == ([0, layers, 2 * layers] if frames.requires_grad else [0, 1, 1])


@pytest.mark.parametrize("kernel", [1, 7, 16, 128])
def test_overlap_save(kernel: int) -> None:
    layout = Packed((700, 0, 3, 129))
    x, weight = numbers(sum(layout.lengths), 12), numbers(12, 3, kernel, seed=1)

    def plain(x: Tensor, weight: Tensor) -> Tensor:
        parts = []
        for rows, length in zip(layout.slices, layout.lengths, strict=True):
            if length:
                y = F.conv1d(x[rows].T[None], weight, padding=kernel // 2, groups=4)
                parts.append(y[0, :, :length].T)
        return torch.cat(parts)

    assert_equal(lambda x, weight: OverlapSave.apply(x, weight, 4, layout), plain, (x, weight))


def test_the_kept_spectrum_of_the_positional_convolution_follows_its_weight() -> None:
    module, layout = PositionalConvolution(12, 16, 4), Packed((40, 3))
    x = numbers(43, 12).detach().float()
    for change in (None, module.weight_v, module.weight_g, None):
        if change is not None:
            with torch.no_grad():
                change.mul_(1.5 + torch.arange(change.shape[-1]))
        expected = module(x, layout).detach()
        with torch.inference_mode():
            assert torch.equal(module(x, layout), expected)
    twin = copy.deepcopy(module)
    with torch.no_grad():
        twin.weight_g.zero_()
    with torch.inference_mode():
        assert torch.equal(twin(x, layout), twin.bias.expand(43, 12) * 0)


@pytest.mark.parametrize("elements", [1, 1000, 1023, 5000, LARGEST_PIECE + 1500])
def test_gelu(elements: int) -> None:
    assert_equal(Gelu.apply, F.gelu, [numbers(elements)])


def test_feed_forward() -> None:
    inputs = numbers(11, 6), numbers(20, 6, seed=1), numbers(20, seed=2), numbers(6, 20, seed=3), numbers(6, seed=4)
    assert_equal(FeedForward.apply, lambda x, w, b, v, c: F.linear(F.gelu(F.linear(x, w, b)), v, c), inputs)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("heads_together", [True, False])
def test_attention_with_dropout(causal: bool, heads_together: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    layout, keys, heads, p = Packed((5, 0, 3)), [11, 12, 13], 2, 0.3
    monkeypatch.setattr(attention, "BLOCK_ELEMENTS", 1 << 20 if heads_together else 1)

    def mask(key: int, length: int) -> Tensor:
        empty = torch.empty(heads, length, length, dtype=torch.float64)
        if heads_together:
            return keep_mask(empty, key, p)
        for head, part in enumerate(empty):
            keep_mask(part, (key + 0x85EBCA6B * head) & 0xFFFFFFFF, p)
        return empty

    def plain(*inputs: Tensor) -> Tensor:
        parts = []
        for rows, length, key in zip(layout.slices, layout.lengths, keys, strict=True):
            q, k, v = (t[rows].unflatten(1, (heads, 3)).transpose(0, 1) for t in inputs)
            scores = q @ k.transpose(1, 2) / 3**0.5
            if causal:
                scores = scores.masked_fill(~torch.ones(length, length).tril().bool(), -torch.inf)
            mixed = (scores.softmax(2) * mask(key, length) * keep_scale(p)) @ v
            parts.append(mixed.transpose(0, 1).flatten(1))
        return torch.cat(parts)

    inputs = numbers(8, 6), numbers(8, 6, seed=1), numbers(8, 6, seed=2)
    assert_equal(lambda q, k, v: DropoutAttention.apply(q, k, v, heads, layout, keys, p, causal), plain, inputs)


@pytest.mark.parametrize("p", [0.1, 0.9])
def test_hashed_dropout(p: float) -> None:
    layout, draw = Packed((5, 3)), Draw(1, 2, torch.tensor([4, 9]))
    x, residual = numbers(8, 6), numbers(8, 6, seed=1)
    keys = DropoutKeys(draw, layout).next_place()
    mask = torch.cat(
        [keep_mask(torch.empty(n, 6, dtype=torch.float64), key, p) for n, key in zip((5, 3), keys, strict=True)]
    )
    assert 0 < mask.sum() < mask.numel()
    assert_equal(lambda x: dropout(x, p, DropoutKeys(draw, layout)), lambda x: x * mask * keep_scale(p), [x])
    assert_equal(
        lambda residual, x: dropout_add(residual, x, p, DropoutKeys(draw, layout)),
        lambda residual, x: residual + x * mask * keep_scale(p),
        (residual, x),
    )


def test_hashed_dropout_keeps_the_right_share_without_correlation() -> None:
    first, second = (keep_mask(torch.empty(500, 401), key, 0.1) for key in (12345, 12346))
    assert abs(first.mean().item() - 1 / keep_scale(0.1)) < 0.002
    table = torch.stack([first.flatten(), second.flatten(), first.flatten().roll(1), first.flatten().roll(401)])
    assert (torch.corrcoef(table) - torch.eye(4)).abs().max() < 0.01


def test_dropout_keys_differ_in_every_coordinate() -> None:
    layout = Packed((1, 1))

    def keys(seed: int = 1, step: int = 2, rows: tuple[int, int] = (4, 9), place: int = 1) -> list[int]:
        named = DropoutKeys(Draw(seed, step, torch.tensor(rows)), layout)
        return [named.next_place() for _ in range(place)][-1]

    different = [*keys(), *keys(seed=2), *keys(step=3), *keys(place=2)]
    assert len(set(different)) == 8
    assert keys(rows=(9, 4)) == keys()[::-1]


def test_the_heads_of_long_utterances_are_divided_as_ever() -> None:
    """The masks of dropout depend on it: a resumed run goes on with the masks that it began with."""
    blocks = attention._blocks(12, Packed((295, 296, 1500)), [1, 2, 3], causal=False)
    heads = [(block.key, block.heads.start, block.heads.stop) for block in blocks]
    assert heads[:3] == [(1, 0, 12), (2, 0, 11), (2, 11, 12)]
    assert heads[3:] == [(3, head, head + 1) for head in range(12)]
