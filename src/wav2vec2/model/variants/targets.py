"""What masked frames have to find, where it is not the proposed quantizer's codeword (Table 4 of the paper).

Every kind has ``groups`` and ``entries`` of its codes (0 without a codebook) and ``project``; a target that other
frames may share has codes, so that a distractor equal to the true target is found out by them.

Legend: B utterances, M masked frames, C feature channels, G codebooks, V entries each.
"""

import torch
from torch import Tensor, nn

from wav2vec2.model.architecture import Architecture
from wav2vec2.model.quantizer import Codebooks, Quantized, Quantizer, entries_of, gated_unit, redraw_linear
from wav2vec2.model.randomness import Draw


class ContinuousTargets(nn.Module):
    """Features (B, M, C), projected by one layer or by two (``target_mlp``; the paper does not tell its width)."""

    groups = entries = 0

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        size, final = architecture.feature_size, architecture.final_size
        self.project: nn.Linear | nn.Sequential = nn.Linear(size, final)
        if architecture.variant.target_mlp:
            self.project = nn.Sequential(nn.Linear(size, size), nn.GELU(), nn.Linear(size, final))
        self.glu = gated_unit(architecture)

    def forward(self, features: Tensor, frames: Tensor, draw: Draw, temperature: float | Tensor) -> Quantized:
        """Project; utterance and place stand for a frame's code: no two frames are equal."""
        none = features.new_zeros(*frames.shape, 0, 0)
        own = torch.stack([draw.rows[:, None].expand_as(frames), frames], dim=-1)
        return Quantized(self.glu(self.project(features)), own, none)


class SharedQuantizer(nn.Module):
    """The projection of codewords that the input quantizer's codebooks give."""

    def __init__(self, architecture: Architecture, codebooks: Codebooks) -> None:
        super().__init__()
        self.groups, self.entries = codebooks.groups, codebooks.entries
        self._codebooks = (codebooks,)  # not a submodule: its parameters belong to the encoder
        self.project = nn.Linear(architecture.codevector_size, architecture.final_size)
        self.glu = gated_unit(architecture)

    def forward(self, features: Tensor, frames: Tensor, draw: Draw, temperature: float | Tensor) -> Quantized:
        """Choose entries by noise of their own, and project them."""
        choice = self._codebooks[0].choose(features, frames, draw, temperature)
        return Quantized(self.glu(self.project(choice.vectors)), choice.codes, choice.probabilities)

    def embed(self, codes: Tensor) -> Tensor:
        """Entries of codes (..., G), projected: (..., final)."""
        return self.glu(self.project(entries_of(self._codebooks[0].codevectors, codes)))  # type: ignore[no-any-return]


class FixedUnits(nn.Module):
    """Embeddings of units that an earlier step fixed: one table for each of G kinds of unit, side by side."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.groups, self.entries = architecture.codebook_groups, architecture.codebook_entries
        size = architecture.codevector_size // self.groups
        self.codevectors = nn.Parameter(torch.empty(1, self.groups * self.entries, size))
        self.project = nn.Linear(architecture.codevector_size, architecture.final_size)
        self.glu = gated_unit(architecture)
        self.redraw()

    @torch.no_grad()
    def redraw(self) -> None:
        """Fresh embeddings, U(0, 1) as codebook entries are, and projection."""
        nn.init.uniform_(self.codevectors)
        redraw_linear(self.project, self.glu)

    def forward(self, units: Tensor, frames: Tensor) -> Quantized:
        """Embed the units (B, T, G) of the frames at these places (B, M)."""
        codes = units.gather(1, frames[..., None].expand(*frames.shape, self.groups))
        none = self.codevectors.new_zeros(()).expand(*codes.shape, self.entries)
        return Quantized(self.embed(codes), codes, none)

    def embed(self, codes: Tensor) -> Tensor:
        """Embeddings of codes (..., G), projected: (..., final)."""
        return self.glu(self.project(entries_of(self.codevectors, codes)))  # type: ignore[no-any-return]


TargetModule = Quantizer | SharedQuantizer | ContinuousTargets | FixedUnits


def build_targets(architecture: Architecture, input_codebooks: Codebooks | None) -> TargetModule:
    """The kind of target that the architecture's variant names."""
    variant = architecture.variant
    if variant.targets == "continuous":
        return ContinuousTargets(architecture)
    if variant.targets == "fixed":
        return FixedUnits(architecture)
    if variant.input_quantizer == "shared" and input_codebooks is not None:
        return SharedQuantizer(architecture, input_codebooks)
    return Quantizer(architecture)
