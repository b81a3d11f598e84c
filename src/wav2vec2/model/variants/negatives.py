"""Distractors from elsewhere than the utterance's own masked frames (appendix F of the paper, and options of its code).

Draws are functions of (seed, step, row) and do not depend on other rows, with one exception: distractors from other
utterances come from those of the same forward pass, and therefore change with how an update is cut into micro-batches
and dealt to processes.

Legend: B utterances, T frames, M masked frames (padded), n draws, G codebooks.
"""

import torch
from torch import Tensor

from wav2vec2.model.randomness import Draw, Purpose


def draw_anywhere(lengths: Tensor, places: Tensor, number: int, draw: Draw) -> Tensor:
    """(B, M, n) places among the utterance's ``lengths`` (B,) frames, uniform, never the frame's own (B, M)."""
    words = draw.words(Purpose.NEGATIVES, places.shape[1], number)
    draws = (words * (lengths - 1).clamp_min(1)[:, None, None]) >> 32
    return draws + (draws >= places[:, :, None])


def draw_from_batch(counts: Tensor, most: int, number: int, draw: Draw) -> Tensor:
    """(B, M, n) columns of the B * M masked frames: uniform among the ``counts`` (B,) of all other utterances.

    Where no other utterance has a masked frame, among the other frames of the same one.
    """
    words = draw.words(Purpose.BATCH_NEGATIVES, most, number)
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


def draw_codes(most: int, number: int, groups: int, entries: int, draw: Draw) -> Tensor:
    """(B, M, n, G) entries, uniform and independent in every codebook."""
    return (draw.words(Purpose.CODEBOOK_NEGATIVES, most, number, groups) * entries) >> 32
