"""Span masking of latent frames (section 3.1, appendix A), and of channels while fine-tuning (appendix B).

A proportion p of a row's positions is drawn without replacement as starts. Each start masks the positions of its span,
and spans may overlap. The mask of a row is a function of (seed, step, row) and the row's length, whatever else is in
the batch. The draws use integers only, so that all devices agree.

No row is ever masked completely. A row too short for full spans gets shorter ones, of min(span, max(1, length // 3))
positions, and at most (length - 1) // span of them.

Legend: B utterances (rows), T frames (positions), M masked frames (padded), C channels.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from wav2vec2.model.architecture import Masking
from wav2vec2.model.layout import Layout
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
    # the place breaks ties between equal hashes, so that all scores differ
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
    """(B,) number of spans, rounded by random ``words`` (B,) in fixed-point arithmetic, so that all devices agree."""
    counts = (lengths * round(proportion * (1 << 24)) + (words >> 8)) >> 24
    most = ((lengths - 1).clamp_min(0)) // spans
    return torch.minimum(counts.clamp_min(min_spans), most)


def most_masked(frames: int, start_proportion: float, span: int, min_spans: int) -> int:
    """Upper bound on the number of masked positions among ``frames``: a fixed shape for compiled code."""
    counts = max(int(start_proportion * frames) + 1, min_spans)
    return max(1, min(frames - 1, counts * span))


@dataclass(frozen=True)
class MaskedFrames:
    """The masked frames that enter the loss.

    ``places`` (B, M) are their positions in the utterance, ``flat`` (B, M) those among all frames of the layout;
    ``valid`` (B, M) is False for padding. ``counts`` (B,) are the numbers of masked frames, ``lengths`` (B,) of all.
    """

    places: Tensor
    flat: Tensor
    valid: Tensor
    counts: Tensor
    lengths: Tensor
    layout: Layout


def masked_frames(
    masks: Tensor, lengths: Tensor, layout: Layout, masking: Masking, most: int | None = None
) -> MaskedFrames:
    """The frames that ``masks`` (B, T) select, in order, of utterances of ``lengths`` (B,) frames.

    ``most`` is the most of one utterance, where the host knows it: an accelerator then need not be asked.
    """
    counts = counts_in_loss(masks)
    frames = masks.shape[1]
    if most is not None:
        most = max(1, most)
    elif not torch.compiler.is_compiling():
        most = max(1, int(counts.max()))
    elif masking.varied:
        most = frames
    else:
        most = most_masked(frames, masking.time_start, masking.time_span, masking.min_spans)
    most = min(most, frames)
    places = (~masks).long().sort(dim=1, stable=True).indices[:, :most]
    valid = torch.arange(most, device=masks.device) < counts[:, None]
    flat = places + layout.row_starts(places.device)[:, None]
    return MaskedFrames(places, torch.where(valid, flat, 0), valid, counts, lengths, layout)


def counts_in_loss(masks: Tensor) -> Tensor:
    """(B,) masked frames of each row that enter the loss; a single one has no distractors and is left out."""
    counts = masks.sum(1)
    return torch.where(counts > 1, counts, 0)


def take(frames: Tensor, flat: Tensor) -> Tensor:
    """Frames of either layout at flattened places (B, M) -> (B, M, C)."""
    taken = frames.flatten(0, -2).index_select(0, flat.flatten())
    return taken.view(*flat.shape, frames.shape[-1])
