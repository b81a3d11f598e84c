"""Quantized inputs (Table 4): codebook entries enter the context network instead of features.

The codebooks are of the same kind as those of the targets. Fine-tuning of a recogniser chooses the best entries,
without noise: the gradient reaches the entries, but not the choice.

Legend: C feature channels, G codebooks, c channels of an entry.
"""

import torch
from torch import Tensor

from wav2vec2.model.architecture import Architecture
from wav2vec2.model.layout import Layout
from wav2vec2.model.quantizer import Codebooks, Quantized
from wav2vec2.model.randomness import Draw, Purpose


class InputQuantizer(Codebooks):
    """Frames (C channels) -> entries (G * c channels), in the same layout."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        self.reset_parameters()

    def forward(
        self,
        features: Tensor,
        layout: Layout,
        draw: Draw | None = None,
        temperature: float | Tensor | None = None,
    ) -> tuple[Tensor, Quantized]:
        """Return the entries in the layout, and the choice as (B, T, ...); see ``Codebooks.choose``."""
        padded = layout.pad(features)
        batch, frames = padded.shape[:2]
        places = torch.arange(frames, device=padded.device).expand(batch, -1)
        if draw is None:
            draw, temperature = Draw.first(batch, padded.device), None
        choice = self.choose(padded, places, draw, temperature, Purpose.INPUT_GUMBEL)
        return layout.pack(choice.vectors.to(features.dtype)), choice
