"""Dropout by a counter-based hash.

On a CPU, drawing a mask from a generator costs more than the layer that it regularises, and the mask has to be kept for
the backward pass. Here a mask is a hash of (seed, step, row, place in the network, position): four passes of integer
arithmetic, with 16 bits for each element. It is computed again in the backward pass instead of stored, and an utterance
gets the same mask in any batch.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from wav2vec2.model.layout import Packed
from wav2vec2.model.randomness import Draw, Purpose, hash_int

_SCRAMBLE = -1640531527  # odd, close to 2**32 over the golden ratio: spreads consecutive counters


class DropoutKeys:
    """Keys of the dropout masks of one forward pass, numbered by the order of the dropouts in the network."""

    def __init__(self, draw: Draw, layout: Packed) -> None:
        self.layout = layout
        self._seed, self._step, self._rows = draw.seed, int(draw.step), draw.rows.tolist()
        self.place = 0

    def next_place(self) -> list[int]:
        """A 32-bit key for each utterance, for the next place."""
        self.place += 1
        return [hash_int(self._seed, int(Purpose.DROPOUT), self._step, row, self.place) for row in self._rows]


def keep_mask(out: Tensor, key: int, p: float) -> Tensor:
    """Fill ``out`` (float, contiguous) with 1 where an element is kept and 0 where it is dropped, and return it.

    The probability is rounded to a multiple of 2**-16; ``keep_scale`` allows for the rounding.
    """
    words = torch.arange((out.numel() + 1) // 2, dtype=torch.int32).mul_(_SCRAMBLE).add_(_signed(key))
    shifted = torch.empty_like(words)
    for shift, multiplier in ((16, 0x21F0AAAD), (15, 0x735A2D97)):
        # int32 shifts copy the sign bit; without it the top bit would cancel itself
        torch.bitwise_right_shift(words, shift, out=shifted).bitwise_and_(0xFFFFFFFF >> shift)
        words.bitwise_xor_(shifted).mul_(multiplier)
    halves = words.view(torch.int16)[: out.numel()].view(out.shape)
    return torch.ge(halves, _threshold(p) - 0x8000, out=out)


def keep_scale(p: float) -> float:
    """Factor on the kept elements that preserves the expectation."""
    return 1.0 / (1.0 - _threshold(p) / 0x10000)


def _threshold(p: float) -> int:
    return round(p * 0x10000)


def _signed(word: int) -> int:
    return word - (1 << 32) if word >= (1 << 31) else word


def _packed_mask(like: Tensor, keys: list[int], layout: Packed, p: float) -> Tensor:
    mask = torch.empty_like(like, memory_format=torch.contiguous_format)
    for rows, key in zip(layout.slices, keys, strict=True):
        keep_mask(mask[rows], key, p)
    return mask


class _HashDropout(torch.autograd.Function):
    """x -> x * mask * scale on packed frames."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, keys: list[int], layout: Packed, p: float) -> Tensor:
        ctx.keys, ctx.layout, ctx.p = keys, layout, p
        return _packed_mask(x, keys, layout, p).mul_(x).mul_(keep_scale(p))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        mask = _packed_mask(grad, ctx.keys, ctx.layout, ctx.p)
        return mask.mul_(grad).mul_(keep_scale(ctx.p)), None, None, None


class _HashDropoutAdd(torch.autograd.Function):
    """(residual, x) -> residual + x * mask * scale on packed frames, in one pass."""

    @staticmethod
    def forward(ctx: Any, residual: Tensor, x: Tensor, keys: list[int], layout: Packed, p: float) -> Tensor:
        ctx.keys, ctx.layout, ctx.p = keys, layout, p
        return torch.addcmul(residual, x, _packed_mask(x, keys, layout, p), value=keep_scale(p))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        mask = _packed_mask(grad, ctx.keys, ctx.layout, ctx.p)
        return grad, mask.mul_(grad).mul_(keep_scale(ctx.p)), None, None, None


def dropout(x: Tensor, p: float, keys: DropoutKeys | None) -> Tensor:
    """Dropout of frames in either layout; without ``keys``, torch's generator draws (accelerators, compiled code)."""
    if p == 0.0:
        return x
    if keys is None:
        return F.dropout(x, p)
    return _HashDropout.apply(x, keys.next_place(), keys.layout, p)  # type: ignore[no-any-return,no-untyped-call]


def dropout_add(residual: Tensor, x: Tensor, p: float, keys: DropoutKeys | None) -> Tensor:
    """``residual + dropout(x)`` (section 2's residual connections)."""
    if p == 0.0:
        return residual + x
    if keys is None:
        return residual + F.dropout(x, p)
    return _HashDropoutAdd.apply(residual, x, keys.next_place(), keys.layout, p)  # type: ignore[no-any-return,no-untyped-call]
