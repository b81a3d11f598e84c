"""Distractors from elsewhere than the utterance's own masked frames (appendix F of the paper, and options of its code).

Three kinds, each a pool of candidates and a log count of how often each was drawn, as in ``contrastive_loss.py``; the
partition sum runs over the positive and all pools. Draws are hashes of (seed, step, row) and do not depend on other
rows, with one exception: distractors from other utterances come from those of the same forward pass, and therefore
change with how an update is cut into micro-batches and dealt to processes.

Legend: B utterances, T frames, M masked frames (padded), n draws, J candidates, D channels, G codebooks.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from wav2vec2.model.contrastive_loss import Contrast
from wav2vec2.model.randomness import Purpose, hash_tensor


@dataclass(frozen=True)
class Key:
    """Coordinates of the draws; ``rows`` (B,) are places in the global batch."""

    seed: int
    step: int | Tensor
    rows: Tensor

    def words(self, purpose: Purpose, most: int, number: int) -> Tensor:
        """(B, M, n) words of 32 bits."""
        ranks = torch.arange(most, device=self.rows.device)[:, None]
        counters = ranks * number + torch.arange(number, device=self.rows.device)
        return hash_tensor(self.seed, purpose, self.step, self.rows[:, None, None], counters)


def draw_anywhere(lengths: Tensor, places: Tensor, number: int, key: Key) -> Tensor:
    """(B, M, n) places among the utterance's ``lengths`` (B,) frames, uniform, never the frame's own (B, M)."""
    words = key.words(Purpose.NEGATIVES, places.shape[1], number)
    draws = (words * (lengths - 1).clamp_min(1)[:, None, None]) >> 32
    return draws + (draws >= places[:, :, None])


def draw_from_batch(counts: Tensor, most: int, number: int, key: Key) -> Tensor:
    """(B, M, n) columns of the B * M masked frames: uniform among the ``counts`` (B,) of all other utterances.

    Where no other utterance has a masked frame, among the other frames of the same one.
    """
    words = key.words(Purpose.BATCH_NEGATIVES, most, number)
    own = counts[:, None, None]
    first = (counts.cumsum(0) - counts)[:, None, None]
    elsewhere = counts.sum() - own
    others = (words * elsewhere) >> 32
    others = torch.where(others >= first, others + own, others)  # numbers among all real masked frames
    real = torch.arange(most, device=counts.device) < counts[:, None]
    columns = (~real).flatten().long().sort(stable=True).indices  # of real frames, in order, then of padding
    ranks = torch.arange(most, device=counts.device)[:, None]
    same = (words * (own - 1).clamp_min(1)) >> 32
    same = same + (same >= ranks) + torch.arange(len(counts), device=counts.device)[:, None, None] * most
    return torch.where(elsewhere > 0, columns[others.clamp_max(len(columns) - 1)], same.clamp_max(len(columns) - 1))


def draw_codes(most: int, number: int, groups: int, entries: int, key: Key) -> Tensor:
    """(B, M, n, G) entries, uniform and independent in every codebook."""
    words = key.words(Purpose.CODEBOOK_NEGATIVES, most, number * groups)
    return ((words * entries) >> 32).view(*words.shape[:2], number, groups)


@dataclass
class Pool:
    """``logits`` (B, M, J) and ``log_counts`` (B, M, J) of one kind of distractor; -inf for what does not count."""

    logits: Tensor
    log_counts: Tensor


@dataclass
class Judge:
    """The masked frames' side of the task: context vectors, what is to be found (B, M, D), and its codes (B, M, G)."""

    context: Tensor
    targets: Tensor
    codes: Tensor
    temperature: float

    def __post_init__(self) -> None:
        """Normalise both to length 1, in float32 at least."""
        self.context, self.targets = unit(self.context), unit(self.targets)

    def pool(self, candidates: Tensor, codes: Tensor, draws: Tensor) -> Pool:
        """Distractors ``draws`` (B, M, n) among candidates (J, D), or (B, J, D), of the given codes (.., J, G)."""
        logits = self.context @ unit(candidates).transpose(-1, -2) / self.temperature
        return Pool(logits, _log_counts(self.codes, codes if codes.dim() == 3 else codes[None], draws, logits))

    def codebook_pool(self, embed: Callable[[Tensor], Tensor], codes: Tensor) -> Pool:
        """Distractors of codes (B, M, n, G), each drawn once."""
        logits = torch.einsum("bmd,bmnd->bmn", self.context, unit(embed(codes))) / self.temperature
        equal = (codes == self.codes[:, :, None]).all(-1)
        return Pool(logits, torch.where(equal, -torch.inf, torch.zeros_like(logits)))

    def contrast(self, pools: list[Pool], valid: Tensor) -> Contrast:
        """Equation 3 with the pools' distractors; ``valid`` (B, M) are the frames that enter the sum."""
        positive = (self.context * self.targets).sum(-1) / self.temperature
        terms = [positive[..., None], *(pool.logits + pool.log_counts for pool in pools)]
        loss = torch.cat(terms, dim=2).logsumexp(2) - positive
        seen = [torch.where(p.log_counts > -torch.inf, p.logits.detach(), -torch.inf).amax(2) for p in pools]
        correct = (positive.detach() > torch.stack(seen).amax(0)) & valid
        return Contrast(torch.where(valid, loss, 0).sum(), correct.sum(), pools[0].logits)


@torch.no_grad()
def _log_counts(own: Tensor, codes: Tensor, draws: Tensor, like: Tensor) -> Tensor:
    """(B, M, J) log of how often each candidate was drawn, -inf where never or where it has the frame's own codes."""
    counts = torch.zeros_like(like)
    ones = torch.ones((), dtype=like.dtype, device=like.device).expand(draws.shape)
    counts.scatter_add_(2, draws.clamp_max(like.shape[2] - 1), ones)
    equal = (own[:, :, None] == codes[:, None]).all(-1)
    return torch.where(equal, -torch.inf, counts.log())


def unit(vectors: Tensor) -> Tensor:
    """Vectors of length 1 in float32 at least."""
    return F.normalize(vectors if vectors.dtype == torch.float64 else vectors.float(), dim=-1, eps=1e-8)
