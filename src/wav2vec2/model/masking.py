"""Span masking in latent space (section 3.1, appendix A) and over channels (fine-tuning, appendix B).

A proportion p of a row's positions are drawn without replacement as starts; each start masks the following positions of
its span; spans may overlap. Every row gets whole spans for its own length, whatever else is in the batch, as a function
of (seed, step, row): vectorised, on the device, in integers only, so that all devices agree.

Rows too short for full spans are masked with shorter ones, so that no row is ever masked whole and every length has a
result: spans of min(span, max(1, length // 3)), at most (length - 1) // span of them.

Legend: B rows, T positions.
"""

import torch
from torch import Tensor

from wav2vec2.model.randomness import Draw, Purpose


def span_masks(
    lengths: Tensor,
    positions: int,
    start_proportion: float,
    span: int,
    min_spans: int,
    draw: Draw,
    purposes: tuple[Purpose, Purpose] = (Purpose.SPAN_COUNT, Purpose.SPAN_START),
) -> Tensor:
    """Masks (B, T), True where masked, never beyond ``lengths`` (B,).

    The number of starts is p * length, rounded up or down at random so that its expectation is exact.
    """
    device = lengths.device
    spans = (lengths // 3).clamp(1, span)
    counts = start_counts(lengths, spans, start_proportion, min_spans, draw.words(purposes[0]))
    places = torch.arange(positions, device=device)
    # unique by construction: equal hashes are ordered by place
    scores = draw.words(purposes[1], positions) * (1 << 20) + places
    startable = places <= (lengths - spans)[:, None]
    scores = torch.where(startable, scores, torch.iinfo(torch.int64).max)
    chosen = (counts - 1).clamp(0, max(positions - 1, 0))[:, None]
    limits = scores.sort(1).values.gather(1, chosen) if positions else scores
    starts = (scores <= limits) & startable & (counts > 0)[:, None]
    before = torch.cat([torch.zeros_like(counts)[:, None], starts.long().cumsum(1)], dim=1)
    earlier = (places[None] + 1 - spans[:, None]).clamp_min(0)
    masked = before[:, 1:] > before.gather(1, earlier)
    return masked & (places < lengths[:, None])


def start_counts(lengths: Tensor, spans: Tensor, proportion: float, min_spans: int, words: Tensor) -> Tensor:
    """(B,) number of spans, rounded by random ``words`` (B,), in fixed-point arithmetic: every device rounds alike."""
    counts = (lengths * round(proportion * (1 << 24)) + (words >> 8)) >> 24
    most = ((lengths - 1).clamp_min(0)) // spans
    return torch.minimum(counts.clamp_min(min_spans), most)


def most_masked(frames: int, start_proportion: float, span: int, min_spans: int) -> int:
    """Upper bound of masked positions among ``frames``: a fixed shape for compiled code."""
    counts = max(int(start_proportion * frames) + 1, min_spans)
    return max(1, min(frames - 1, counts * span))
