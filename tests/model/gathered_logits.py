"""Equation 3 in the paper's layout: the distractors gathered one by one. The oracle of the contrastive loss."""

import torch
from torch import Tensor


def gathered_logits(context: Tensor, targets: Tensor, codes: Tensor, negatives: Tensor, temperature: float) -> Tensor:
    """(B, M, 1 + n) similarities, the true target first; distractors equal to it at -inf."""
    batch = torch.arange(len(codes))[:, None, None]
    candidates = torch.cat([targets[:, :, None], targets[batch, negatives]], dim=2)
    logits = torch.cosine_similarity(context[:, :, None], candidates, dim=-1) / temperature
    equal = (codes[batch, negatives] == codes[:, :, None]).all(-1)
    return torch.cat([logits[..., :1], logits[..., 1:].masked_fill(equal, -torch.inf)], dim=2)
