"""Multi-head self-attention over the frames of each utterance (section 2; the Transformer of BERT), or, causal, over
the tokens before each one (the language model of section 4.4).

On eager CPU each utterance attends within its own packed frames. With attention dropout the probabilities are made head
by head in cache-sized blocks and made again in the backward pass, mask included, so that nothing of size T x T is
stored. A causal model also attends from one new token to keys and values kept from the tokens before it.

Legend: N packed frames, B utterances, T frames, H heads, D channels of a head, d = H * D.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wav2vec2.model.cpu.dropout import DropoutKeys, keep_mask, keep_scale
from wav2vec2.model.layout import Layout, Packed, Padded

BLOCK_ELEMENTS = 1 << 20
"""Attention probabilities worked on at a time."""


class SelfAttention(nn.Module):
    """x (frames, d) -> (frames, d)."""

    def __init__(self, size: int, heads: int, dropout: float, *, causal: bool = False) -> None:
        super().__init__()
        self.heads, self.dropout, self.causal = heads, dropout, causal
        self.query = nn.Linear(size, size)
        self.key = nn.Linear(size, size)
        self.value = nn.Linear(size, size)
        self.out = nn.Linear(size, size)

    def forward(self, x: Tensor, layout: Layout, keys: DropoutKeys | None) -> Tensor:
        """``keys`` names this pass's dropout in packed training; None elsewhere."""
        q, k, v = (linear(x) for linear in (self.query, self.key, self.value))
        p = self.dropout if self.training else 0.0
        if isinstance(layout, Padded):
            mixed = self._padded(q, k, v, layout, p)
        elif p and keys is not None:
            place = keys.next_place()
            mixed = DropoutAttention.apply(q, k, v, self.heads, layout, place, p, self.causal)  # type: ignore[no-untyped-call]
        else:
            mixed = self._packed(q, k, v, layout)
        return self.out(mixed)  # type: ignore[no-any-return]

    def _padded(self, q: Tensor, k: Tensor, v: Tensor, layout: Padded, p: float) -> Tensor:
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (q, k, v))
        if self.causal:  # padding stands behind all tokens, so no token sees it
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=p)
            return mixed.transpose(1, 2).flatten(2)
        # an utterance without any frame attends to frame 0 of its padding: defined, and never read
        visible = layout.valid | (torch.arange(layout.frames, device=q.device) == 0)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=visible[:, None, None], dropout_p=p)
        return mixed.transpose(1, 2).flatten(2)

    def _packed(self, q: Tensor, k: Tensor, v: Tensor, layout: Packed) -> Tensor:
        shape = (len(layout.lengths), layout.frames, self.heads, q.shape[1] // self.heads)
        if len(set(layout.lengths)) == 1:
            q, k, v = (t.view(shape).transpose(1, 2) for t in (q, k, v))
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
            return mixed.transpose(1, 2).reshape(-1, shape[2] * shape[3])
        parts = []
        for rows in layout.slices:
            queries, keys, values = (t[rows].unflatten(1, shape[2:]).transpose(0, 1)[None] for t in (q, k, v))
            mixed = F.scaled_dot_product_attention(queries, keys, values, is_causal=self.causal)
            parts.append(mixed[0].transpose(0, 1).flatten(1))
        return torch.cat(parts)

    def extend(self, x: Tensor, past: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        """One new token of each of N sequences: x (N, d) -> (N, d), and its own key and value (N, 2, d).

        past: (N, T, 2, d) keys and values of the tokens before it; visible: (N, T) bool, False where there is none.
        """
        own = torch.stack([self.key(x), self.value(x)], dim=1)
        k, v = torch.cat([past, own[:, None]], dim=1).unflatten(-1, (self.heads, -1)).permute(2, 0, 3, 1, 4)
        q = self.query(x).unflatten(-1, (self.heads, -1))[:, :, None]
        seen = F.pad(visible, (0, 1), value=True)[:, None, None]
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        return self.out(mixed.flatten(1)), own


class DropoutAttention(torch.autograd.Function):
    """softmax(q k^T / sqrt(D)) with dropped probabilities, times v; all (N, d)."""

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, heads: int, layout: Packed, keys: list[int], p: float, causal: bool
    ) -> Tensor:
        out = torch.empty_like(q)
        for block in _blocks(heads, layout, keys, causal):
            probabilities = block.probabilities(q, k)
            mask = block.mask(probabilities, p)
            block.store(out, torch.bmm(probabilities.mul_(mask), block.view(v)).mul_(keep_scale(p)))
        ctx.save_for_backward(q, k, v)
        ctx.heads, ctx.layout, ctx.keys, ctx.p, ctx.causal = heads, layout, keys, p, causal
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v = ctx.saved_tensors
        grad_q, grad_k, grad_v = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
        scale = (q.shape[1] // ctx.heads) ** -0.5
        for block in _blocks(ctx.heads, ctx.layout, ctx.keys, ctx.causal):
            probabilities = block.probabilities(q, k)
            mask = block.mask(probabilities, ctx.p)
            grad = block.view(grads[0]) * keep_scale(ctx.p)
            grad_probabilities = torch.bmm(grad, block.view(v).transpose(1, 2)).mul_(mask)
            block.store(grad_v, torch.bmm(mask.mul_(probabilities).transpose(1, 2), grad))
            grad_scores = torch.ops.aten._softmax_backward_data(
                grad_probabilities, probabilities, 2, probabilities.dtype
            ).mul_(scale)
            block.store(grad_q, torch.bmm(grad_scores, block.view(k)))
            block.store(grad_k, torch.bmm(grad_scores.transpose(1, 2), block.view(q)))
        return grad_q, grad_k, grad_v, None, None, None, None, None


class _Block:
    """Some heads of one utterance."""

    def __init__(self, rows: slice, heads: slice, all_heads: int, key: int, causal: bool) -> None:
        self.rows, self.heads, self.all_heads, self.key, self.causal = rows, heads, all_heads, key, causal

    def view(self, x: Tensor) -> Tensor:
        """(N, d) -> (heads of the block, T, D)."""
        return x[self.rows].unflatten(1, (self.all_heads, -1))[:, self.heads].transpose(0, 1)  # type: ignore[no-any-return]

    def store(self, target: Tensor, value: Tensor) -> None:
        """Write (heads, T, D) back into its place in (N, d)."""
        self.view(target).copy_(value)

    def probabilities(self, q: Tensor, k: Tensor) -> Tensor:
        """(heads, T, T) softmax over keys."""
        queries = self.view(q)
        scores = torch.bmm(queries * queries.shape[2] ** -0.5, self.view(k).transpose(1, 2))
        if self.causal:
            later = torch.ones(scores.shape[1:], dtype=torch.bool, device=scores.device).triu_(1)
            scores.masked_fill_(later, -torch.inf)
        return torch.softmax(scores, 2)

    def mask(self, like: Tensor, p: float) -> Tensor:
        """(heads, T, T) of 1 (kept) and 0."""
        mask = torch.empty_like(like)
        return keep_mask(mask, (self.key + 0x85EBCA6B * self.heads.start) & 0xFFFFFFFF, p)


def _blocks(heads: int, layout: Packed, keys: list[int], causal: bool) -> list[_Block]:
    blocks = []
    for rows, length, key in zip(layout.slices, layout.lengths, keys, strict=True):
        together = max(1, BLOCK_ELEMENTS // max(1, length * length))
        for first in range(0, heads if length else 0, together):
            blocks.append(_Block(rows, slice(first, min(first + together, heads)), heads, key, causal))
    return blocks
