"""Adaptive input and adaptive softmax over a large vocabulary, with tied tables (Baevski and Auli 2018; Grave et al.
2017): what the paper's word model (Synnaeve et al. 2020) reads and predicts with.

Tokens are sorted by falling frequency and cut into bands. Band 0, the frequent ones, has vectors of the model's width
d; band i has vectors of width d / factor^i. A token of band i > 0 is predicted as P(band i) P(token | band i). Input
and output share a band's vectors but not the projections between its width and d. Without cutoffs this is an ordinary
tied softmax.

Legend: N tokens, d width of the model, V vocabulary, F = sum of the bands' widths, K bands.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class AdaptiveVocabulary(nn.Module):
    """The first and the last layer of a language model.

    Args:
        size: V.
        width: d.
        cutoffs: rising token numbers at which a new band begins; empty: one band.
        factor: by which each band's vectors are narrower than those of the band before.
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
        """Token numbers of any shape -> (..., d), times sqrt(d)."""
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
        """-ln P(target | hidden), float32 or wider: hidden (N, d), targets (N,) -> (N,)."""
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
        """Logits of band 0's tokens and of the other bands: (N, tokens + K - 1)."""
        logits = F.linear(hidden, self.tables[0])
        return logits if self.bands is None else torch.cat([logits, self.bands(hidden)], dim=1)

    def prepare(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """What ``pick`` needs of (N, d) hidden states, once for all words asked of them: (N, F) and (N, K)."""
        head = _wide(self._head(hidden))
        normalizer = head.logsumexp(dim=1)
        features, offsets = [hidden], [-normalizer]
        for band in range(1, len(self.tables)):
            features.append(self.narrow[band - 1](hidden))
            within = _wide(F.linear(features[-1], self.tables[band])).logsumexp(dim=1)
            offsets.append(head[:, self.edges[1] + band - 1] - normalizer - within)
        return torch.cat(features, dim=1), torch.stack(offsets, dim=1)

    def pick(self, features: Tensor, offsets: Tensor, rows: Tensor, tokens: Tensor) -> Tensor:
        """Ln P(tokens[i] | state rows[i]) from ``prepare``'s (N, F) and (N, K): only the asked rows of the tables."""
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
