"""Where the frames that enter the loss lie.

Legend: B utterances, T frames, M masked frames (padded), C channels.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from wav2vec2.model.architecture import Masking
from wav2vec2.model.layout import Layout
from wav2vec2.model.masking import most_masked


@dataclass(frozen=True)
class MaskedFrames:
    """``places`` (B, M) in their utterance, ``flat`` (B, M) among all frames of the layout, ``valid`` (B, M) those that
    are real; ``counts`` (B,) masked and ``lengths`` (B,) all frames of an utterance.
    """

    places: Tensor
    flat: Tensor
    valid: Tensor
    counts: Tensor
    lengths: Tensor
    layout: Layout


def masked_frames(masks: Tensor, lengths: Tensor, layout: Layout, masking: Masking) -> MaskedFrames:
    """The frames, in order, of masks (B, T) over utterances of ``lengths`` (B,) frames."""
    counts = usable(masks.sum(1))
    frames = masks.shape[1]
    if not torch.compiler.is_compiling():
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


def usable(counts: Tensor) -> Tensor:
    """A row with a single masked frame has no distractors: it does not enter the loss."""
    return torch.where(counts > 1, counts, 0)


def take(frames: Tensor, flat: Tensor) -> Tensor:
    """Frames of either layout at flattened places (B, M) -> (B, M, C)."""
    taken = frames.flatten(0, -2).index_select(0, flat.flatten())
    return taken.view(*flat.shape, frames.shape[-1])


def at(frames: Tensor, places: Tensor) -> Tensor:
    """Frames (B, T, ...) at places (B, M) -> (B, M, ...)."""
    return frames[torch.arange(len(places), device=places.device)[:, None], places]
