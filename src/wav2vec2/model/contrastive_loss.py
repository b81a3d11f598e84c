"""Contrastive loss (section 3.2, equation 3): pick the true quantized latent among K distractors.

The K distractors of a masked frame are drawn with replacement from the other masked frames of its utterance. Their
vectors are never gathered: one matrix product gives the similarity of every context vector to every candidate. The
logit of a candidate that was drawn c times enters the sum once, with log c added, which gives the same sum.

Legend: B utterances, M masked frames (padded), n distractors, J candidates, D channels, G codebooks.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from wav2vec2.model.precision import full_precision
from wav2vec2.model.randomness import Draw, Purpose


def draw_negatives(counts: Tensor, most: int, number: int, draw: Draw) -> Tensor:
    """(B, M, n) ranks among the same utterance's ``counts`` (B,) masked frames, uniform, never the frame itself."""
    own = torch.arange(most, device=counts.device)[:, None]
    others = (counts - 1).clamp_min(1)[:, None, None]
    ranks = (draw.words(Purpose.NEGATIVES, most, number) * others) >> 32
    return ranks + (ranks >= own)


@dataclass(frozen=True)
class Pool:
    """Candidates for distractors, and those that each masked frame drew.

    ``candidates`` are vectors (J, D) shared by all frames, or (B, J, D) shared by the frames of an utterance; ``codes``
    (..., J, G) are their codebook entries, and ``draws`` (B, M, n) the indices of those drawn. Without ``draws`` each
    frame has candidates of its own, (B, M, J, D), and draws each of them once.
    """

    candidates: Tensor
    codes: Tensor
    draws: Tensor | None = None

    def logits(self, context: Tensor, temperature: float) -> Tensor:
        """(B, M, J) cosine similarities to context vectors (B, M, D) of length 1, divided by the temperature."""
        candidates = _unit(self.candidates)
        if self.draws is None:
            return torch.einsum("bmd,bmjd->bmj", context, candidates) / temperature
        return context @ candidates.transpose(-1, -2) / temperature

    def log_counts(self, codes: Tensor, logits: Tensor) -> Tensor:
        """(B, M, J) log of how often each candidate was drawn: -inf if never, or if it equals the frame's own target,
        whose entries are ``codes`` (B, M, G).
        """
        if self.draws is None:
            equal, counts = (self.codes == codes[:, :, None]).all(-1), torch.ones_like(logits)
        else:
            equal = (self.codes[..., None, :, :] == codes[:, :, None]).all(-1)
            ones = torch.ones((), dtype=logits.dtype, device=logits.device).expand(self.draws.shape)
            counts = torch.zeros_like(logits).scatter_add_(2, self.draws.clamp_max(logits.shape[2] - 1), ones)
        return torch.where(equal, -torch.inf, counts.log())


@dataclass(frozen=True)
class Contrast:
    """``loss`` in nats, summed over valid frames; ``correct`` counts those whose true target has the highest logit."""

    loss: Tensor
    correct: Tensor


def contrast(
    context: Tensor, targets: Tensor, codes: Tensor, pools: Sequence[Pool], valid: Tensor, temperature: float
) -> Contrast:
    """Equation 3 over context vectors and their targets (B, M, D), with the distractors of one or more pools.

    ``codes`` (B, M, G) are the targets' codebook entries; a distractor with the same entries does not count. ``valid``
    (B, M) marks the frames that enter the sum. Computed in float32 or float64, also where autocast would not.
    """
    with full_precision(context):
        return _contrast(_unit(context), targets, codes, pools, valid, temperature)


def _contrast(
    context: Tensor, targets: Tensor, codes: Tensor, pools: Sequence[Pool], valid: Tensor, temperature: float
) -> Contrast:
    positive = (context * _unit(targets)).sum(-1) / temperature
    terms, best = [positive[..., None]], []
    for pool in pools:
        logits = pool.logits(context, temperature)
        log_counts = pool.log_counts(codes, logits)
        terms.append(logits + log_counts)
        # the number of draws matters to the sum, but not to the comparison of logits
        best.append(torch.where(log_counts > -torch.inf, logits.detach(), -torch.inf).amax(2))
    loss = torch.cat(terms, dim=2).logsumexp(2) - positive
    correct = (positive.detach() > torch.stack(best).amax(0)) & valid
    return Contrast(torch.where(valid, loss, 0).sum(), correct.sum())


def _unit(vectors: Tensor) -> Tensor:
    """Vectors scaled to length 1, in float32 or float64."""
    return F.normalize(vectors if vectors.dtype == torch.float64 else vectors.float(), dim=-1, eps=1e-8)
