"""Contrastive task (section 3.2, equation 3): find the true quantised latent among K distractors of the same utterance.

The K distractors of a frame are K draws with replacement from the utterance's other masked frames. Their vectors are
never gathered: one matrix product gives all cosine similarities of an utterance's masked frames, a small matrix of
counts says how often each was drawn, and a logit drawn n times enters the partition sum with + log n. The sum is the
same.

Legend: B utterances, M masked frames (padded), n negatives, D channels.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from wav2vec2.model.randomness import Purpose, hash_tensor


def draw_negatives(counts: Tensor, most: int, number: int, *, seed: int, step: int | Tensor, rows: Tensor) -> Tensor:
    """(B, M, n) ranks among the same utterance's ``counts`` (B,) masked frames, uniform, never the frame itself."""
    own = torch.arange(most, device=counts.device)[:, None]
    counters = own * number + torch.arange(number, device=counts.device)
    words = hash_tensor(seed, Purpose.NEGATIVES, step, rows[:, None, None], counters)
    others = (counts - 1).clamp_min(1)[:, None, None]
    draws = (words * others) >> 32
    return draws + (draws >= own)


@dataclass
class Contrast:
    """``loss`` (nats, summed over valid frames), ``correct`` (how often the true latent has the highest logit) and
    ``similarity`` (B, M, M), the logits of every pair.
    """

    loss: Tensor
    correct: Tensor
    similarity: Tensor


def contrast(
    context: Tensor, targets: Tensor, codes: Tensor, negatives: Tensor, valid: Tensor, temperature: float
) -> Contrast:
    """Equation 3 over context vectors and quantised targets (B, M, D).

    ``codes`` (B, M, G) find distractors equal to the true target: they do not count. ``valid`` (B, M) are the frames
    that enter the sum.
    """
    context = F.normalize(context if context.dtype == torch.float64 else context.float(), dim=-1, eps=1e-8)
    targets = F.normalize(targets if targets.dtype == torch.float64 else targets.float(), dim=-1, eps=1e-8)
    similarity = torch.bmm(context, targets.transpose(1, 2)) / temperature
    weights = _log_counts(codes, negatives, similarity.dtype)
    positive = similarity.diagonal(dim1=1, dim2=2)
    loss = (similarity + weights).logsumexp(2) - positive
    # how often a distractor was drawn weighs in the sum, not in which of them is the best
    others = torch.where(weights > -torch.inf, similarity.detach(), -torch.inf)
    best_other = others.diagonal_scatter(torch.full_like(positive, -torch.inf), dim1=1, dim2=2)
    correct = (positive.detach() > best_other.amax(2)) & valid
    return Contrast(torch.where(valid, loss, 0).sum(), correct.sum(), similarity)


@torch.no_grad()
def _log_counts(codes: Tensor, negatives: Tensor, dtype: torch.dtype) -> Tensor:
    """(B, M, M) log of how often column j is drawn for row i; 0 for the positive, -inf for what is not or may not be
    drawn.
    """
    batch, most, _ = negatives.shape
    counts = torch.zeros(batch, most, most, dtype=dtype, device=codes.device)
    ones = torch.ones((), dtype=dtype, device=codes.device).expand(negatives.shape)
    counts.scatter_add_(2, negatives.clamp_max(most - 1), ones)
    equal = (codes[:, :, None] == codes[:, None]).all(-1)
    weights = torch.where(equal, -torch.inf, counts.log())
    return weights.diagonal_scatter(weights.new_zeros(batch, most), dim1=1, dim2=2)


def gather_logits(similarity: Tensor, negatives: Tensor, codes: Tensor) -> Tensor:
    """Logits in the paper's layout, (B, M, 1 + n), the positive first, distractors equal to it at -inf; for
    inspection.
    """
    equal = (codes[:, :, None] == codes[:, None]).all(-1).gather(2, negatives)
    drawn = torch.where(equal, -torch.inf, similarity.gather(2, negatives))
    return torch.cat([similarity.diagonal(dim1=1, dim2=2)[..., None], drawn], dim=2)
