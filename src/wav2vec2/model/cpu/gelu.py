"""GELU on packed frames in pieces of few different sizes.

PyTorch's fast CPU kernel builds, and keeps, one primitive for every shape that it meets; ragged batches never show
the same shape twice, and the kept ones scatter over the heap until nothing can be given back (1 GB after 200 updates
of a tiny model). Pieces of powers of two meet the same few primitives for ever, and stay in the cache.
"""

from typing import Any

import torch
from torch import Tensor

LARGEST_PIECE = 1 << 18
SMALLEST_PIECE = 1 << 10


def _pieces(elements: int) -> list[int]:
    sizes = [LARGEST_PIECE] * (elements // LARGEST_PIECE)
    rest, size = elements % LARGEST_PIECE, LARGEST_PIECE // 2
    while rest:
        if size < SMALLEST_PIECE:
            return [*sizes, rest]
        if rest >= size:
            sizes.append(size)
            rest -= size
        size //= 2
    return sizes


def gelu_into(out: Tensor, x: Tensor) -> Tensor:
    """Write GELU(x) (exact, by erf) into ``out``, both contiguous and of one shape; ``out`` may be ``x``."""
    sizes = _pieces(x.numel())
    for target, piece in zip(out.view(-1).split(sizes), x.view(-1).split(sizes), strict=True):
        torch.ops.aten.gelu.out(piece, out=target)
    return out


def gelu(x: Tensor) -> Tensor:
    """GELU of a contiguous tensor, outside of autograd."""
    return gelu_into(torch.empty_like(x), x)


def gelu_backward(grad: Tensor, x: Tensor) -> Tensor:
    """Gradient of GELU at x, given that of its value."""
    grad = grad.contiguous()
    out, sizes = torch.empty_like(x), _pieces(x.numel())
    views = (t.view(-1).split(sizes) for t in (out, grad, x))
    for target, grad_piece, piece in zip(*views, strict=True):
        torch.ops.aten.gelu_backward.grad_input(grad_piece, piece, grad_input=target)
    return out


class Gelu(torch.autograd.Function):
    """GELU of packed frames within autograd."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.contiguous()
        ctx.save_for_backward(x)
        return gelu(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return gelu_backward(grads[0], *ctx.saved_tensors)
