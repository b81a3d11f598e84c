"""The network of the Transformer language model (section 4.4): causal blocks between adaptive input and softmax.

The blocks are those of the speech model, with layer normalisation first. Each sentence is modelled by itself; the mark
``</s>`` stands before its first word and after its last. Positions are sinusoids (Vaswani et al. 2017), so that
sentences may have any length.

Legend: B sentences, T tokens, N packed or new tokens, d width, V vocabulary, F = sum of the bands' widths, K bands.
"""

import math
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wav2vec2.config import option
from wav2vec2.model.cpu import half
from wav2vec2.model.cpu.dropout import DropoutKeys, dropout
from wav2vec2.model.layout import Layout, Packed, Padded
from wav2vec2.model.randomness import Draw
from wav2vec2.model.transformer import TransformerLayer


@dataclass(frozen=True)
class LanguageModelSizes:
    """Sizes of the network; the defaults are the paper's (Synnaeve et al. 2020, with 220 thousand words).

    Raises:
        ValueError: the sizes contradict each other.
    """

    hidden_size: int = 1280
    """Width of the network: numbers that stand for a word in it."""
    layers: int = 20
    """Number of Transformer blocks."""
    ffn_size: int = 6144
    """Width of the feed-forward network in each block."""
    heads: int = 16
    """Number of attention heads in each block; it divides hidden_size."""
    cutoffs: tuple[int, ...] = (60_000, 160_000)
    """Numbers of words, sorted by falling frequency, at which bands of narrower vectors begin; empty: all have full
    width."""
    cutoff_factor: int = 4
    """Ratio of the width of a band's vectors to that of the next band's."""
    layer_norm_first: bool = True
    """Norms before attention and feed-forward network, which trains more easily, instead of after them."""
    layer_norm_eps: float = option(1e-5, above=0.0)
    """Added to the variance in every norm."""

    def __post_init__(self) -> None:
        if min(self.hidden_size, self.layers, self.ffn_size, self.heads, self.cutoff_factor) < 1:
            raise ValueError("hidden_size, layers, ffn_size, heads and cutoff_factor must be at least 1")
        if self.hidden_size % self.heads or self.hidden_size % 2:
            raise ValueError("hidden_size must be even and a multiple of heads")
        if any(cut < 1 for cut in self.cutoffs) or list(self.cutoffs) != sorted(set(self.cutoffs)):
            raise ValueError("cutoffs must rise")


@dataclass(frozen=True)
class LanguageModelDropout:
    """Dropout probabilities at the input and in every block."""

    dropout: float = option(0.1, low=0.0, below=1.0)
    """Share of the numbers between blocks that is set to zero."""
    attention_dropout: float = option(0.1, low=0.0, below=1.0)
    """The same for the attention weights."""
    activation_dropout: float = option(0.1, low=0.0, below=1.0)
    """The same inside the feed-forward networks."""


class TransformerNetwork(nn.Module):
    """Computes hidden states, losses and scores from token numbers."""

    def __init__(self, sizes: LanguageModelSizes, vocabulary: int, drop: LanguageModelDropout | None = None) -> None:
        super().__init__()
        self.sizes, self.drop = sizes, drop or LanguageModelDropout()
        self.vocabulary = AdaptiveVocabulary(vocabulary, sizes.hidden_size, sizes.cutoffs, sizes.cutoff_factor)
        self.layers = nn.ModuleList(TransformerLayer(sizes, self.drop, causal=True) for _ in range(sizes.layers))
        self.norm = nn.LayerNorm(sizes.hidden_size, sizes.layer_norm_eps)

    def hidden(self, tokens: Tensor, lengths: Tensor, draw: Draw | None = None) -> Tensor:
        """Return the hidden states (sum of lengths, d) of tokens (B, T), of which ``lengths`` (B,) are not padding.

        ``draw`` determines the dropout of a training step on a CPU.
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

    def forward(self, tokens: Tensor, lengths: Tensor, draw: Draw | None = None) -> Tensor:
        """Return -ln P of each predicted token, sentence by sentence, (sum of lengths,).

        Args:
            tokens: (B, T + 1), beginning with the mark.
            lengths: (B,) number of predicted tokens, the mark at the end included.
            draw: as in ``hidden``.
        """
        on_cpu = tokens.device.type == "cpu" and half.asked_for()
        with half.in_place_of_autocast() if on_cpu else nullcontext():
            return self._losses(tokens, lengths, draw)

    def _losses(self, tokens: Tensor, lengths: Tensor, draw: Draw | None) -> Tensor:
        hidden = self.hidden(tokens[:, :-1], lengths, draw)
        valid = torch.arange(tokens.shape[1] - 1, device=tokens.device) < lengths[:, None]
        return self.vocabulary.loss(hidden, tokens[:, 1:][valid])

    def extend(self, tokens: Tensor, places: Tensor, past: Iterable[Tensor], visible: Tensor) -> tuple[Tensor, Tensor]:
        """Continue each of N sequences by a token.

        Args:
            tokens: (N,) numbers of the new tokens.
            places: (N,) their positions.
            past: keys and values of the tokens before, in any order, for each layer (N, T, 2, d).
            visible: (N, T) bool, whether each of these tokens exists.

        Returns:
            The hidden states of the new tokens (N, d), and their keys and values (layers, N, 2, d).
        """
        x = self.vocabulary.embed(tokens)
        x = x + sinusoids(places, self.sizes.hidden_size).to(x.dtype)
        kept = []
        for layer, before in zip(self.layers, past, strict=True):
            x, own = layer.extend(x, before, visible)  # type: ignore[operator]
            kept.append(own)
        return self.norm(x), torch.stack(kept)


def sinusoids(places: Tensor, width: int) -> Tensor:
    """Encode positions (N,) as (N, width): sines, then cosines, with wavelengths from 2 pi to 10000 * 2 pi."""
    rates = torch.exp(torch.arange(width // 2, device=places.device) * (-math.log(10_000) / max(1, width // 2 - 1)))
    angles = places[:, None].float() * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class AdaptiveVocabulary(nn.Module):
    """Adaptive input and adaptive softmax over a large vocabulary, with shared tables: the first and the last layer.

    See Baevski and Auli (2018) and Grave et al. (2017); the paper's word model (Synnaeve et al. 2020) uses it. Tokens
    are sorted by falling frequency and divided into bands. Band 0, of frequent tokens, has vectors of the network's
    width d, band i vectors of width d / factor^i. A token of band i > 0 has the probability P(band i) P(token | band
    i). Input and output share a band's vectors, but not the projections between its width and d. Without cutoffs this
    is an ordinary softmax whose table is shared with the input.

    Args:
        size: V.
        width: d.
        cutoffs: increasing token numbers at which bands begin; empty: one band.
        factor: ratio of the width of a band's vectors to that of the next band's.
    """

    def __init__(self, size: int, width: int, cutoffs: tuple[int, ...] = (), factor: int = 4) -> None:
        super().__init__()
        self.edges = [0, *(cut for cut in cutoffs if cut < size), size]
        widths = [max(1, width // factor**band) for band in range(len(self.edges) - 1)]
        self.columns = [slice(sum(widths[:band]), sum(widths[: band + 1])) for band in range(len(widths))]
        self.scale = math.sqrt(width)
        spans = [high - low for low, high in pairwise(self.edges)]
        self.tables = nn.ParameterList(
            nn.init.normal_(torch.empty(span, narrow), 0.0, narrow**-0.5)
            for span, narrow in zip(spans, widths, strict=True)
        )
        several = len(widths) > 1
        self.widen = nn.ModuleList(_projection(narrow, width) for narrow in (widths if several else []))
        self.narrow = nn.ModuleList(_projection(width, narrow) for narrow in widths[1:])
        self.bands = _projection(width, len(widths) - 1) if several else None

    def __len__(self) -> int:
        return self.edges[-1]

    def embed(self, tokens: Tensor) -> Tensor:
        """Return the vectors (..., d), multiplied by sqrt(d), of token numbers of any shape."""
        if len(self.tables) == 1:
            return F.embedding(tokens, self.tables[0]) * self.scale
        flat = tokens.reshape(-1)
        width = self.columns[0].stop  # of band 0, the model's own
        out: Tensor = self.tables[0].new_zeros(len(flat), width)
        for band, (low, high) in enumerate(pairwise(self.edges)):
            where = ((flat >= low) & (flat < high)).nonzero()[:, 0]
            vectors = self.widen[band](F.embedding(flat[where] - low, self.tables[band]))
            out = out.index_copy(0, where, vectors.to(out.dtype))
        scaled: Tensor = out.view(*tokens.shape, width) * self.scale
        return scaled

    def loss(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Return -ln P(target | hidden), (N,), in float32 or wider, for hidden (N, d) and targets (N,)."""
        head = targets
        for band in range(1, len(self.tables)):
            head = torch.where(targets >= self.edges[band], self.edges[1] + band - 1, head)
        out = F.cross_entropy(_wide(self._head(hidden)), head, reduction="none")
        for band in range(1, len(self.tables)):
            where = ((targets >= self.edges[band]) & (targets < self.edges[band + 1])).nonzero()[:, 0]
            logits = F.linear(self.narrow[band - 1](hidden[where]), self.tables[band])
            within = F.cross_entropy(_wide(logits), targets[where] - self.edges[band], reduction="none")
            out = out.index_add(0, where, within)
        return out

    def _head(self, hidden: Tensor) -> Tensor:
        """Return the logits of the tokens of band 0 and of the other bands as wholes: (N, tokens + K - 1)."""
        logits = F.linear(hidden, self.tables[0])
        return logits if self.bands is None else torch.cat([logits, self.bands(hidden)], dim=1)

    def prepare(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (N, F) and offsets (N, K) of hidden states (N, d), from which ``pick`` scores any tokens."""
        head = _wide(self._head(hidden))
        normalizer = head.logsumexp(dim=1)
        features, offsets = [hidden], [-normalizer]
        for band in range(1, len(self.tables)):
            features.append(self.narrow[band - 1](hidden))
            within = _wide(F.linear(features[-1], self.tables[band])).logsumexp(dim=1)
            offsets.append(head[:, self.edges[1] + band - 1] - normalizer - within)
        return torch.cat(features, dim=1), torch.stack(offsets, dim=1)

    def pick(self, features: Tensor, offsets: Tensor, rows: Tensor, tokens: Tensor) -> Tensor:
        """Return ln P(tokens[i] | state rows[i]) from what ``prepare`` returned; reads only these tokens' vectors."""
        out = offsets.new_empty(len(tokens))
        for band, (low, high) in enumerate(pairwise(self.edges)):
            where = ((tokens >= low) & (tokens < high)).nonzero()[:, 0]
            vectors = self.tables[band][tokens[where] - low]
            states = features[:, self.columns[band]][rows[where]]
            out[where] = _wide((states * vectors).sum(1)) + offsets[rows[where], band]
        return out


def _projection(inputs: int, outputs: int) -> nn.Linear:
    linear = nn.Linear(inputs, outputs, bias=False)
    nn.init.xavier_uniform_(linear.weight)
    return linear


def _wide(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()
