"""GELU on packed frames, alone and inside a feed-forward network.

PyTorch's fast CPU kernel builds, and keeps, one primitive for every shape that it meets. Ragged batches hardly ever
repeat a shape, and the kept primitives fragment the heap until no memory can be given back (1 GB after 200 updates of a
tiny model). Here GELU is computed in pieces whose sizes are powers of two: there are few primitives, and the pieces fit
the cache.

Legend: N frames, d channels.
"""

from typing import Any

import torch
from torch import Tensor

from wav2vec2.model.cpu.half import affine_values, half_products, in_half, multiply

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
    """Gradient with respect to x, from the gradient ``grad`` with respect to GELU(x)."""
    grad = grad.contiguous()
    out, sizes = torch.empty_like(x), _pieces(x.numel())
    views = (t.view(-1).split(sizes) for t in (out, grad, x))
    for target, grad_piece, piece in zip(*views, strict=True):
        torch.ops.aten.gelu_backward.grad_input(grad_piece, piece, grad_input=target)
    return out


class Gelu(torch.autograd.Function):
    """GELU within autograd."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.contiguous()
        ctx.save_for_backward(x)
        return gelu(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return gelu_backward(grads[0], *ctx.saved_tensors)


class FeedForward(torch.autograd.Function):
    """Linear, GELU, linear on (N, d).

    Of the two widest tensors only the GELU's input is kept for the backward pass; its output is computed again.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, w_in: Tensor, b_in: Tensor, w_out: Tensor, b_out: Tensor) -> Tensor:
        ctx.half = in_half()
        hidden = affine_values(x, w_in, b_in)
        ctx.save_for_backward(x, w_in, w_out, hidden)
        return affine_values(gelu(hidden), w_out, b_out)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, w_in, w_out, hidden = ctx.saved_tensors
        grad = grads[0].contiguous()
        with half_products(ctx.half):
            grad_w_out = multiply(grad.t(), gelu(hidden))
            grad_hidden = gelu_backward(multiply(grad, w_out), hidden)
            grad_x = multiply(grad_hidden, w_in) if ctx.needs_input_grad[0] else None
            grad_w_in = multiply(grad_hidden.t(), x)
        return grad_x, grad_w_in, grad_hidden.sum(0), grad_w_out, grad.sum(0)
