"""Self-attention with dropout over packed frames, which keeps nothing of size T x T for the backward pass.

Probabilities are computed for a few heads at a time, in blocks that fit the cache. The backward pass computes them
again, dropout mask included.

Legend: N packed frames, T frames of an utterance, H heads, D channels of a head, d = H * D.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from wav2vec2.model.cpu.dropout import keep_mask, keep_scale
from wav2vec2.model.cpu.half import half_products, in_half, multiply
from wav2vec2.model.layout import Packed

BLOCK_ELEMENTS = 1 << 20
"""Number of attention probabilities in one block."""


class DropoutAttention(torch.autograd.Function):
    """dropout(softmax(q k^T / sqrt(D))) v for each head of each utterance; all (N, d).

    ``keys`` are the utterances' dropout keys. ``causal``: no frame attends to a later one.
    """

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, heads: int, layout: Packed, keys: list[int], p: float, causal: bool
    ) -> Tensor:
        ctx.half = in_half()
        out = torch.empty_like(q)
        for block in _blocks(heads, layout, keys, causal):
            probabilities = block.probabilities(q, k)
            mask = block.mask(probabilities, p)
            block.store(out, multiply(probabilities.mul_(mask), block.view(v)).mul_(keep_scale(p)))
        ctx.save_for_backward(q, k, v)
        ctx.heads, ctx.layout, ctx.keys, ctx.p, ctx.causal = heads, layout, keys, p, causal
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        with half_products(ctx.half):
            return *DropoutAttention._gradients(ctx, grads[0]), None, None, None, None, None

    @staticmethod
    def _gradients(ctx: Any, grad_out: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = ctx.saved_tensors
        grad_q, grad_k, grad_v = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
        scale = (q.shape[1] // ctx.heads) ** -0.5
        for block in _blocks(ctx.heads, ctx.layout, ctx.keys, ctx.causal):
            probabilities = block.probabilities(q, k)
            mask = block.mask(probabilities, ctx.p)
            grad = block.view(grad_out) * keep_scale(ctx.p)
            grad_probabilities = multiply(grad, block.view(v).transpose(1, 2)).mul_(mask)
            block.store(grad_v, multiply(mask.mul_(probabilities).transpose(1, 2), grad))
            grad_scores = torch.ops.aten._softmax_backward_data(
                grad_probabilities, probabilities, 2, probabilities.dtype
            ).mul_(scale)
            block.store(grad_q, multiply(grad_scores, block.view(k)))
            block.store(grad_k, multiply(grad_scores.transpose(1, 2), block.view(q)))
        return grad_q, grad_k, grad_v


class _Block:
    """Some heads of one utterance."""

    def __init__(self, rows: slice, heads: slice, all_heads: int, key: int, causal: bool) -> None:
        self.rows, self.heads, self.all_heads, self.key, self.causal = rows, heads, all_heads, key, causal

    def view(self, x: Tensor) -> Tensor:
        """(N, d) -> (heads of the block, T, D)."""
        return x[self.rows].unflatten(1, (self.all_heads, -1))[:, self.heads].transpose(0, 1)  # type: ignore[no-any-return]

    def store(self, target: Tensor, value: Tensor) -> None:
        """Write (heads, T, D) into its place in (N, d)."""
        self.view(target).copy_(value)

    def probabilities(self, q: Tensor, k: Tensor) -> Tensor:
        """(heads, T, T) softmax over keys; its argument is not rounded to half precision."""
        queries = self.view(q)
        scores = torch.bmm(queries * queries.shape[2] ** -0.5, self.view(k).transpose(1, 2))
        if self.causal:
            later = torch.ones(scores.shape[1:], dtype=torch.bool, device=scores.device).triu_(1)
            scores.masked_fill_(later, -torch.inf)
        return torch.softmax(scores, 2)

    def mask(self, like: Tensor, p: float) -> Tensor:
        """(heads, T, T) of 1 (kept) and 0 (dropped)."""
        mask = torch.empty_like(like)
        return keep_mask(mask, (self.key + 0x85EBCA6B * self.heads.start) & 0xFFFFFFFF, p)


def _blocks(heads: int, layout: Packed, keys: list[int], causal: bool) -> Iterator[_Block]:
    for rows, length, key in zip(layout.slices, layout.lengths, keys, strict=True):
        together = max(1, BLOCK_ELEMENTS // max(1, length * length))
        for first in range(0, heads if length else 0, together):
            yield _Block(rows, slice(first, min(first + together, heads)), heads, key, causal)
