"""One Transformer block, post-LN (BASE) or pre-LN (LV-60k family, language models); a causal one can be run token by
token.

Legend: frames are (N, d) packed or (B, T, d) padded.
"""

from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wav2vec2.model.attention import SelfAttention
from wav2vec2.model.cpu.dropout import DropoutKeys, dropout, dropout_add
from wav2vec2.model.cpu.gelu import gelu, gelu_backward
from wav2vec2.model.layout import Layout


class BlockSizes(Protocol):
    """What a block reads of an architecture, of speech or of text."""

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
    """Probabilities of the three places where a block drops."""

    @property
    def dropout(self) -> float: ...  # noqa: D102
    @property
    def attention_dropout(self) -> float: ...  # noqa: D102
    @property
    def activation_dropout(self) -> float: ...  # noqa: D102


class TransformerLayer(nn.Module):
    """Attention and feed-forward, each with dropout, residual and layer norm."""

    def __init__(
        self, architecture: BlockSizes, regularization: BlockDropout, *, causal: bool = False, adapter_size: int = 0
    ) -> None:
        super().__init__()
        size, eps = architecture.hidden_size, architecture.layer_norm_eps
        self.norm_first = architecture.layer_norm_first
        self.dropout, self.activation_dropout = regularization.dropout, regularization.activation_dropout
        self.attention = SelfAttention(size, architecture.heads, regularization.attention_dropout, causal=causal)
        self.attention_norm = nn.LayerNorm(size, eps)
        self.ffn_in = nn.Linear(size, architecture.ffn_size)
        self.ffn_out = nn.Linear(architecture.ffn_size, size)
        self.ffn_norm = nn.LayerNorm(size, eps)
        self.adapter = LanguageAdapter(size, adapter_size) if adapter_size else None
        self.apply(_bert_init)

    def forward(self, x: Tensor, layout: Layout, keys: DropoutKeys | None) -> Tensor:
        """Frames in, frames out."""
        x = self._blocks(x, layout, keys)
        return x if self.adapter is None else x + self.adapter(x)

    def _blocks(self, x: Tensor, layout: Layout, keys: DropoutKeys | None) -> Tensor:
        p = self.dropout if self.training else 0.0
        if self.norm_first:
            x = dropout_add(x, self.attention(self.attention_norm(x), layout, keys), p, keys)
            return dropout_add(x, self._feed_forward(self.ffn_norm(x), keys), p, keys)
        x = self.attention_norm(dropout_add(x, self.attention(x, layout, keys), p, keys))
        return self.ffn_norm(dropout_add(x, self._feed_forward(x, keys), p, keys))  # type: ignore[no-any-return]

    def extend(self, x: Tensor, past: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        """One new token of each of N sequences, without dropout; see ``SelfAttention.extend``."""
        attended, own = self.attention.extend(self.attention_norm(x) if self.norm_first else x, past, visible)
        if self.norm_first:
            x = x + attended
            return x + self._feed_forward(self.ffn_norm(x), None), own
        x = self.attention_norm(x + attended)
        return self.ffn_norm(x + self._feed_forward(x, None)), own

    def _feed_forward(self, x: Tensor, keys: DropoutKeys | None) -> Tensor:
        p = self.activation_dropout if self.training else 0.0
        if x.dim() == 2 and p == 0.0:
            weights = (self.ffn_in.weight, self.ffn_in.bias, self.ffn_out.weight, self.ffn_out.bias)
            return FeedForward.apply(x, *weights)  # type: ignore[no-any-return,no-untyped-call]
        return self.ffn_out(dropout(F.gelu(self.ffn_in(x)), p, keys))  # type: ignore[no-any-return]


class LanguageAdapter(nn.Module):
    """Residual bottleneck of MMS models: layer norm, down to a few channels, ReLU, up again."""

    def __init__(self, size: int, bottleneck: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(size)
        self.down = nn.Linear(size, bottleneck)
        self.up = nn.Linear(bottleneck, size)

    def forward(self, x: Tensor) -> Tensor:
        """Frames in, what is to be added to them out."""
        return self.up(F.relu(self.down(self.norm(x))))  # type: ignore[no-any-return]


class FeedForward(torch.autograd.Function):
    """Linear, GELU, Linear on (N, d), keeping only the pre-activation: the widest tensor of the block is kept once."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w_in: Tensor, b_in: Tensor, w_out: Tensor, b_out: Tensor) -> Tensor:
        hidden = torch.addmm(b_in, x, w_in.t())
        ctx.save_for_backward(x, w_in, w_out, hidden)
        return torch.addmm(b_out, gelu(hidden), w_out.t())

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, w_in, w_out, hidden = ctx.saved_tensors
        grad = grads[0].contiguous()
        grad_w_out = grad.t() @ gelu(hidden)
        grad_hidden = gelu_backward(grad @ w_out, hidden)
        grad_x = grad_hidden @ w_in if ctx.needs_input_grad[0] else None
        return grad_x, grad_hidden.t() @ x, grad_hidden.sum(0), grad_w_out, grad.sum(0)


def _bert_init(module: nn.Module) -> None:
    """N(0, 0.02) weights, zero biases in the blocks' linear layers; norms keep 1 and 0."""
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.02)
        nn.init.zeros_(module.bias)
