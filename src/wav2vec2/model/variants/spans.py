"""Masks of appendix A beside those of section 3.1: spans of random length, and spans that do not overlap.

As in ``model/masking.py``, a mask is a function of (seed, step, row), computed in integers. Lengths are drawn from a
table of cumulative probabilities that is computed once on the CPU, so that all devices agree. Spans that do not overlap
are placed uniformly among all possible placements: a random subset divides the rest of the row into gaps (stars and
bars).

A span is at most a third of its row. No row is ever masked completely: spans that do not overlap are together shorter
than the row, and if overlapping spans cover all of it, one frame stays visible.

Legend: B utterances (rows), T frames (positions), K the most spans in a row, R possible lengths.
"""

import math
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from wav2vec2.model.architecture import Masking
from wav2vec2.model.masking import start_counts
from wav2vec2.model.randomness import Draw, Purpose

_WORDS = 1 << 32


def varied_span_masks(lengths: Tensor, positions: int, masking: Masking, draw: Draw) -> Tensor:
    """Masks (B, T) with the span lengths and the overlap that ``masking`` asks for, never beyond ``lengths`` (B,)."""
    proportion, ones = masking.time_start, torch.ones_like(lengths)
    most = max(1, min(positions, max(int(proportion * positions) + 1, masking.min_spans)))
    counts = start_counts(lengths, ones, proportion, masking.min_spans, draw.words(Purpose.SPAN_COUNT)).clamp_max(most)
    spans = _draw_lengths(masking, most, (lengths // 3).clamp_min(1), draw)
    if masking.overlap:
        return _overlapping(lengths, positions, counts, spans, draw)
    return _apart(lengths, positions, counts, spans, masking.min_space, draw)


def _overlapping(lengths: Tensor, positions: int, counts: Tensor, spans: Tensor, draw: Draw) -> Tensor:
    """(B, T) masks of ``counts`` (B,) spans of lengths (B, K), which may overlap."""
    most, device = spans.shape[1], lengths.device
    counts = torch.minimum(counts, (lengths - (lengths // 3).clamp_min(1)).clamp_min(0))
    used = torch.arange(most, device=device) < counts[:, None]
    least = torch.where(used, spans, positions + 1).amin(1)
    starts = _chosen(counts, (lengths - least + 1).clamp_min(0), positions, most, draw)
    masks = _cover(starts, spans, used, lengths, positions)
    beyond = torch.full((1, 1), positions, device=device)  # no start has this counter
    shown = draw.words_at(Purpose.SPAN_START, beyond)[:, 0] % lengths.clamp_min(1)
    whole = masks.sum(1) >= lengths
    return masks & ~(whole[:, None] & (torch.arange(positions, device=device) == shown[:, None]))


def _apart(lengths: Tensor, positions: int, counts: Tensor, spans: Tensor, space: int, draw: Draw) -> Tensor:
    """(B, T) masks of at most ``counts`` (B,) spans of lengths (B, K), at least ``space`` frames apart."""
    most = spans.shape[1]
    order = torch.arange(most, device=lengths.device)
    used = (spans.cumsum(1) + space * order < lengths[:, None]) & (order < counts[:, None])
    counts, spans = used.sum(1), torch.where(used, spans, 0)
    free = lengths - spans.sum(1) - space * (counts - 1).clamp_min(0)
    places = _chosen(counts, free + counts, positions, most, draw)
    starts = places - order + (spans.cumsum(1) - spans) + space * order
    return _cover(starts, spans, used, lengths, positions)


def _cover(starts: Tensor, spans: Tensor, used: Tensor, lengths: Tensor, positions: int) -> Tensor:
    """(B, T) the frames that spans (B, K) cover, cut at the ends of the rows."""
    steps = torch.zeros(len(lengths), positions + 1, dtype=torch.long, device=lengths.device)
    ends = torch.minimum(starts + spans, lengths[:, None])
    steps.scatter_add_(1, torch.where(used, starts, positions).clamp(0, positions), used.long())
    steps.scatter_add_(1, torch.where(used, ends, positions).clamp(0, positions), -used.long())
    return steps.cumsum(1)[:, :positions] > 0


def _chosen(counts: Tensor, choices: Tensor, positions: int, most: int, draw: Draw) -> Tensor:
    """(B, K) ``counts`` (B,) distinct places below ``choices`` (B,), ascending; undefined beyond the count."""
    places = torch.arange(positions, device=counts.device)
    scores = draw.words(Purpose.SPAN_START, positions) * (1 << 20) + places
    scores = torch.where(places < choices[:, None], scores, torch.iinfo(torch.int64).max)
    best = scores.sort(1).indices[:, :most]
    best = torch.where(torch.arange(most, device=counts.device) < counts[:, None], best, positions)
    return best.sort(1).values


def _draw_lengths(masking: Masking, most: int, longest: Tensor, draw: Draw) -> Tensor:
    """(B, K) lengths of spans, between 1 and ``longest`` (B,)."""
    order = torch.arange(most, device=longest.device)
    if masking.span_lengths == "static":
        return torch.minimum(torch.full_like(order, masking.time_span), longest[:, None])
    words = draw.words(Purpose.SPAN_LENGTH, most)
    table = length_table(masking.span_lengths, masking.time_span, masking.span_spread)
    thresholds = torch.tensor(table, dtype=torch.int64, device=longest.device)
    drawn = torch.searchsorted(thresholds, words, right=True) + 1
    return torch.minimum(drawn, longest[:, None])


@lru_cache
def length_table(distribution: str, span: int, spread: float) -> tuple[int, ...]:
    """(R - 1) ascending 32-bit thresholds: a word that reaches k of them means a span of k + 1 frames.

    Lengths are rounded to the nearest frame, and lengths below 1 become 1. The upper tail is cut where its probability
    falls below 2**-32.
    """
    limit = max(2 * span, span + 20 * math.ceil(max(spread, math.sqrt(span)))) + 1
    below: Callable[[int], float] = {  # P(length <= k)
        "uniform": lambda k: _uniform_share(k, max(1, round(spread)), 2 * span),
        "normal": lambda k: 0.5 * (1 + math.erf((k + 0.5 - span) / (spread * math.sqrt(2)))),
        "poisson": lambda k: sum(math.exp(j * math.log(span) - span - math.lgamma(j + 1)) for j in range(k + 1)),
    }[distribution]
    thresholds = [round(below(k) * _WORDS) for k in range(1, limit)]
    return tuple(threshold for threshold in thresholds if threshold < _WORDS)


def _uniform_share(k: int, low: int, high: int) -> float:
    return min(1.0, max(0.0, (k - low + 1) / (high - low + 1)))


def edge_frames(masks: Tensor, lengths: Tensor, reach: int) -> Tensor:
    """(B, T) masked frames with an unmasked frame of the same utterance at most ``reach`` away (appendix F)."""
    frames = masks.shape[1]
    places = torch.arange(frames, device=masks.device)
    visible = ~masks & (places < lengths[:, None])
    before = torch.cat([torch.zeros_like(lengths)[:, None], visible.long().cumsum(1)], dim=1)
    upper = (places + reach + 1).clamp_max(frames)
    lower = (places - reach).clamp_min(0)
    return masks & (before[:, upper] > before[:, lower])
