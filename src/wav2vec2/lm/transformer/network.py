"""The causal Transformer of section 4.4: blocks of the speech model (pre-LN) between adaptive input and softmax.

Sentences are modelled one by one; the mark ``</s>`` stands before the first word and after the last. Positions are
sinusoids (Vaswani et al. 2017), so no sentence is too long.

Legend: B sentences, T tokens, N packed or new tokens, d width.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wav2vec2.config import option
from wav2vec2.lm.transformer.adaptive_vocabulary import AdaptiveVocabulary
from wav2vec2.model.cpu.dropout import DropoutKeys, dropout
from wav2vec2.model.layout import Layout, Packed, Padded
from wav2vec2.model.randomness import Draw
from wav2vec2.model.transformer import TransformerLayer


@dataclass(frozen=True)
class LanguageModelSizes:
    """Sizes of the network; the defaults are the paper's (Synnaeve et al. 2020, on 220 thousand words).

    Raises ValueError when they contradict each other.
    """

    hidden_size: int = 1280
    layers: int = 20
    ffn_size: int = 6144
    heads: int = 16
    cutoffs: tuple[int, ...] = (60_000, 160_000)
    """Numbers of words, frequent first, at which narrower vectors begin; empty: all have full width."""
    cutoff_factor: int = 4
    """By which the vectors of each band are narrower than those of the one before."""
    layer_norm_first: bool = True
    layer_norm_eps: float = option(1e-5, above=0.0)

    def __post_init__(self) -> None:
        if min(self.hidden_size, self.layers, self.ffn_size, self.heads, self.cutoff_factor) < 1:
            raise ValueError("hidden_size, layers, ffn_size, heads and cutoff_factor must be at least 1")
        if self.hidden_size % self.heads or self.hidden_size % 2:
            raise ValueError("hidden_size must be even and a multiple of heads")
        if any(cut < 1 for cut in self.cutoffs) or list(self.cutoffs) != sorted(set(self.cutoffs)):
            raise ValueError("cutoffs must rise")


@dataclass(frozen=True)
class LanguageModelDropout:
    """Probabilities, at the input and in every block."""

    dropout: float = option(0.1, low=0.0, below=1.0)
    attention_dropout: float = option(0.1, low=0.0, below=1.0)
    activation_dropout: float = option(0.1, low=0.0, below=1.0)


class TransformerNetwork(nn.Module):
    """Token numbers to hidden states, and to losses."""

    def __init__(self, sizes: LanguageModelSizes, vocabulary: int, drop: LanguageModelDropout | None = None) -> None:
        super().__init__()
        self.sizes, self.drop = sizes, drop or LanguageModelDropout()
        self.vocabulary = AdaptiveVocabulary(vocabulary, sizes.hidden_size, sizes.cutoffs, sizes.cutoff_factor)
        self.layers = nn.ModuleList(TransformerLayer(sizes, self.drop, causal=True) for _ in range(sizes.layers))
        self.norm = nn.LayerNorm(sizes.hidden_size, sizes.layer_norm_eps)

    def forward(self, tokens: Tensor, lengths: Tensor, draw: Draw | None = None) -> Tensor:
        """(B, T) tokens, of which ``lengths`` (B,) are real -> hidden states of the real ones, (sum of lengths, d).

        ``draw`` names the dropout of a training step on a CPU.
        """
        layout = self._layout(tokens, lengths)
        keys = None
        if draw is not None and self.training and isinstance(layout, Packed):
            keys = DropoutKeys(draw, layout)
        places = sinusoids(torch.arange(tokens.shape[1], device=tokens.device), self.sizes.hidden_size)
        x = self.vocabulary.embed(layout.pack(tokens))
        x = x + layout.pack(places.to(x.dtype).expand(len(tokens), -1, -1))
        x = dropout(x, self.drop.dropout if self.training else 0.0, keys)
        for layer in self.layers:
            x = layer(x, layout, keys)
        return self.norm(x if isinstance(layout, Packed) else x[layout.valid])  # type: ignore[no-any-return]

    def _layout(self, tokens: Tensor, lengths: Tensor) -> Layout:
        if tokens.device.type == "cpu":
            return Packed(tuple(lengths.tolist()))
        return Padded(lengths, tokens.shape[1])

    def losses(self, tokens: Tensor, lengths: Tensor, draw: Draw | None = None) -> Tensor:
        """-ln P of each predicted token, sentence after sentence, (sum of lengths,).

        tokens: (B, T + 1) with the first mark; lengths: (B,) predicted tokens; draw: as ``forward``.
        """
        hidden = self.forward(tokens[:, :-1], lengths, draw)
        valid = torch.arange(tokens.shape[1] - 1, device=tokens.device) < lengths[:, None]
        return self.vocabulary.loss(hidden, tokens[:, 1:][valid])

    def extend(self, tokens: Tensor, places: Tensor, past: Iterable[Tensor], visible: Tensor) -> tuple[Tensor, Tensor]:
        """One new token of each of N sequences -> hidden states (N, d), and keys and values (layers, N, 2, d).

        tokens, places: (N,) numbers and positions; past: for each layer (N, T, 2, d) of the tokens before, in any
        order; visible: (N, T) bool.
        """
        x = self.vocabulary.embed(tokens)
        x = x + sinusoids(places, self.sizes.hidden_size).to(x.dtype)
        kept = []
        for layer, before in zip(self.layers, past, strict=True):
            x, own = layer.extend(x, before, visible)  # type: ignore[operator]
            kept.append(own)
        return self.norm(x), torch.stack(kept)


def sinusoids(places: Tensor, width: int) -> Tensor:
    """(N,) positions -> (N, width): sines, then cosines, of wavelengths from 2 pi to 10000 * 2 pi."""
    rates = torch.exp(torch.arange(width // 2, device=places.device) * (-math.log(10_000) / max(1, width // 2 - 1)))
    angles = places[:, None].float() * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)
