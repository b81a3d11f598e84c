"""Quantized inputs (Table 4 of the paper): the Transformer sees codebook entries instead of features.

Codebooks of the same kind as the targets' (fairseq: ``quantize_input``). While a recogniser is fine-tuned the best
entry is chosen, without noise: its gradient reaches the entries, not the choice.

Legend: B utterances, T frames of the longest, C feature channels, G codebooks, V entries each, c channels of an entry.
"""

import torch
from torch import Tensor

from wav2vec2.model.architecture import Architecture
from wav2vec2.model.layout import Layout
from wav2vec2.model.quantizer import Choice, Codebooks
from wav2vec2.model.randomness import Draw, Purpose


class InputQuantizer(Codebooks):
    """Features in either layout -> entries (G * c channels) in the same layout."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        self.redraw()

    def forward(
        self,
        features: Tensor,
        layout: Layout,
        draw: Draw | None = None,
        temperature: float | Tensor | None = None,
    ) -> tuple[Tensor, Choice]:
        """Entries in the layout, and the choice as (B, T, ...)."""
        padded = layout.pad(features)
        batch, frames = padded.shape[:2]
        places = torch.arange(frames, device=padded.device).expand(batch, -1)
        if draw is None:
            draw = Draw(0, 0, torch.arange(batch, device=padded.device))
        choice = self.choose(padded, places, draw, temperature, Purpose.INPUT_GUMBEL)
        return layout.pack(choice.vectors.to(features.dtype)), choice
