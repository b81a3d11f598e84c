"""Transformer block (section 2, "Contextualized representations with Transformers").

Multi-head self-attention and a feed-forward network, each with dropout, a residual connection and a layer norm; post-LN
(BASE) or pre-LN (the LV-60k family, language models). A causal block, for the language model of section 4.4, can also
be run one token at a time.

Legend: frames are (N, d) packed or (B, T, d) padded; B utterances, T frames, N packed frames, H heads, D channels of a
head, d = H * D.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wav2vec2.model.cpu.attention import DropoutAttention
from wav2vec2.model.cpu.dropout import DropoutKeys, dropout, dropout_add
from wav2vec2.model.cpu.gelu import FeedForward
from wav2vec2.model.cpu.half import affine, linear
from wav2vec2.model.layout import Layout, Packed, Padded
from wav2vec2.model.precision import WideLayerNorm
from wav2vec2.model.variants.layers import LanguageAdapter


class SelfAttention(nn.Module):
    """Frames (.., d) -> (.., d): softmax(Q K^T / sqrt(D)) V for each head, within each utterance."""

    def __init__(self, size: int, heads: int, dropout: float, *, causal: bool = False) -> None:
        super().__init__()
        self.heads, self.dropout, self.causal = heads, dropout, causal
        self.query = nn.Linear(size, size)
        self.key = nn.Linear(size, size)
        self.value = nn.Linear(size, size)
        self.out = nn.Linear(size, size)

    def forward(self, x: Tensor, layout: Layout, keys: DropoutKeys | None) -> Tensor:
        """Attend; ``keys`` are the dropout keys of packed training, else None."""
        q, k, v = self._projections(x)
        p = self.dropout if self.training else 0.0
        if isinstance(layout, Padded):
            mixed = self._padded(q, k, v, layout, p)
        elif p and keys is not None:
            place = keys.next_place()
            mixed = DropoutAttention.apply(q, k, v, self.heads, layout, place, p, self.causal)  # type: ignore[no-untyped-call]
        else:
            mixed = self._packed(q, k, v, layout)
        return linear(self.out, mixed) if mixed.dim() == 2 else self.out(mixed)

    def _projections(self, x: Tensor) -> Sequence[Tensor]:
        """Queries, keys and values: in training by one product, which pays for joining the weights; else by three."""
        linears = (self.query, self.key, self.value)
        if not self.training or not _plain(*linears):
            return [linear(part, x) if x.dim() == 2 else part(x) for part in linears]
        weight, bias = torch.cat([part.weight for part in linears]), torch.cat([part.bias for part in linears])
        return (affine if x.dim() == 2 else F.linear)(x, weight, bias).chunk(3, dim=-1)

    def _padded(self, q: Tensor, k: Tensor, v: Tensor, layout: Padded, p: float) -> Tensor:
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (q, k, v))
        if self.causal:  # padding follows all tokens, so no token attends to it
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=p)
            return mixed.transpose(1, 2).flatten(2)
        if layout.full:
            mixed = F.scaled_dot_product_attention(q, k, v, dropout_p=p)
            return mixed.transpose(1, 2).flatten(2)
        # an utterance without frames attends to frame 0 of its padding: its result is defined, and never read
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
        """Add one token to each of N sequences: x (N, d) -> (N, d), and the token's own key and value (N, 2, d).

        past: (N, T, 2, d) keys and values of the earlier tokens; visible: (N, T) bool, False where there is no token.
        """
        own = torch.stack([self.key(x), self.value(x)], dim=1)
        k, v = torch.cat([past, own[:, None]], dim=1).unflatten(-1, (self.heads, -1)).permute(2, 0, 3, 1, 4)
        q = self.query(x).unflatten(-1, (self.heads, -1))[:, :, None]
        seen = F.pad(visible, (0, 1), value=True)[:, None, None]
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        return self.out(mixed.flatten(1)), own


class BlockSizes(Protocol):
    """The sizes that a block needs; both speech models and language models have them."""

    @property
    def hidden_size(self) -> int: ...  # noqa: D102
    @property
    def ffn_size(self) -> int: ...  # noqa: D102
    @property
    def heads(self) -> int: ...  # noqa: D102
    @property
    def layer_norm_first(self) -> bool: ...  # noqa: D102
    @property
    def layer_norm_eps(self) -> float: ...  # noqa: D102


class BlockDropout(Protocol):
    """Dropout probabilities of a block: for the outputs of attention and feed-forward network, for attention
    probabilities, and after the GELU.
    """

    @property
    def dropout(self) -> float: ...  # noqa: D102
    @property
    def attention_dropout(self) -> float: ...  # noqa: D102
    @property
    def activation_dropout(self) -> float: ...  # noqa: D102


class TransformerLayer(nn.Module):
    """One Transformer block: frames -> frames, in either layout."""

    def __init__(
        self, sizes: BlockSizes, regularization: BlockDropout, *, causal: bool = False, adapter_size: int = 0
    ) -> None:
        super().__init__()
        size, eps = sizes.hidden_size, sizes.layer_norm_eps
        self.norm_first = sizes.layer_norm_first
        self.dropout, self.activation_dropout = regularization.dropout, regularization.activation_dropout
        self.attention = SelfAttention(size, sizes.heads, regularization.attention_dropout, causal=causal)
        self.attention_norm = WideLayerNorm(size, eps)
        self.ffn_in = nn.Linear(size, sizes.ffn_size)
        self.ffn_out = nn.Linear(sizes.ffn_size, size)
        self.ffn_norm = WideLayerNorm(size, eps)
        self.adapter = LanguageAdapter(size, adapter_size) if adapter_size else None
        self.residual: torch.dtype | None = None
        """Type of the residual stream: what goes from block to block. None leaves it as it comes."""
        self.apply(_bert_init)

    def forward(self, x: Tensor, layout: Layout, keys: DropoutKeys | None) -> Tensor:
        """Run the block; ``keys`` are the dropout keys of packed training, else None."""
        x = self._blocks(self._stream(x), layout, keys)
        return x if self.adapter is None else self._stream(x + self.adapter(x))

    def _blocks(self, x: Tensor, layout: Layout, keys: DropoutKeys | None) -> Tensor:
        p = self.dropout if self.training else 0.0
        if self.norm_first:
            x = self._stream(dropout_add(x, self.attention(self.attention_norm(x), layout, keys), p, keys))
            return self._stream(dropout_add(x, self._feed_forward(self.ffn_norm(x), keys), p, keys))
        x = self._stream(dropout_add(x, self.attention(x, layout, keys), p, keys))
        x = self._stream(self.attention_norm(x))
        x = self._stream(dropout_add(x, self._feed_forward(x, keys), p, keys))
        return self._stream(self.ffn_norm(x))

    def _stream(self, x: Tensor) -> Tensor:
        """The residual stream in its type; the CPU kernels compute in float32, and get its digits only."""
        if self.residual is None or x.dtype == self.residual:
            return x
        return x.to(self.residual) if x.dim() == 3 else x.to(self.residual).to(x.dtype)

    def extend(self, x: Tensor, past: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        """Add one token to each of N sequences, without dropout; see ``SelfAttention.extend``."""
        attended, own = self.attention.extend(self.attention_norm(x) if self.norm_first else x, past, visible)
        if self.norm_first:
            x = x + attended
            return x + self._feed_forward(self.ffn_norm(x), None), own
        x = self.attention_norm(x + attended)
        return self.ffn_norm(x + self._feed_forward(x, None)), own

    def _feed_forward(self, x: Tensor, keys: DropoutKeys | None) -> Tensor:
        p = self.activation_dropout if self.training else 0.0
        if x.dim() == 2 and p == 0.0 and _plain(self.ffn_in, self.ffn_out):
            weights = (self.ffn_in.weight, self.ffn_in.bias, self.ffn_out.weight, self.ffn_out.bias)
            return FeedForward.apply(x, *weights)  # type: ignore[no-any-return,no-untyped-call]
        if x.dim() == 2:
            return linear(self.ffn_out, dropout(F.gelu(linear(self.ffn_in, x)), p, keys))
        return self.ffn_out(dropout(F.gelu(self.ffn_in(x)), p, keys))  # type: ignore[no-any-return]


def _plain(*linears: nn.Module) -> bool:
    """Whether these are what they were built as: fine-tuning may have put more around a linear layer (LoRA)."""
    return all(isinstance(module, nn.Linear) for module in linears)


def _bert_init(module: nn.Module) -> None:
    """Initialise as BERT does: linear weights N(0, 0.02), biases 0. Norms keep gain 1 and shift 0."""
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.02)
        nn.init.zeros_(module.bias)
