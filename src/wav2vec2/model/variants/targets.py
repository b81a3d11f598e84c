"""Other targets of the contrastive task than quantized ones: continuous features (Table 4), and fixed units.

Like ``Quantizer``, each kind of target has ``groups`` and ``entries`` (0 without codebooks), the sizes of its codes. A
distractor with the same codes as the true target does not count.

Legend: B utterances, T frames, M masked frames, C feature channels, G codebooks or kinds of unit, V entries each.
"""

import torch
from torch import Tensor, nn

from wav2vec2.model.architecture import Architecture
from wav2vec2.model.feature_encoder import FeatureEncoder
from wav2vec2.model.quantizer import Codebooks, Quantized, Quantizer, entries_of
from wav2vec2.model.randomness import Draw
from wav2vec2.model.variants.layers import gated_unit, reset_linear


class ContinuousTargets(nn.Module):
    """Features (B, M, C), projected by one layer, or by two (``target_mlp``; the paper does not give its width)."""

    groups = entries = 0

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        size, final = architecture.feature_size, architecture.final_size
        self.project: nn.Linear | nn.Sequential = nn.Linear(size, final)
        if architecture.variant.target_mlp:
            self.project = nn.Sequential(nn.Linear(size, size), nn.GELU(), nn.Linear(size, final))
        self.glu = gated_unit(final, architecture.variant.target_glu)

    def forward(self, features: Tensor, places: Tensor, draw: Draw, temperature: float | Tensor) -> Quantized:
        """Project; a frame's utterance and place are its codes, so that no two frames are equal."""
        none = features.new_zeros(*places.shape, 0, 0)
        own = torch.stack([draw.rows[:, None].expand_as(places), places], dim=-1)
        return Quantized(self.glu(self.project(features)), own, none)


class FixedUnits(nn.Module):
    """Embeddings of units that were fixed in an earlier step: a table for each of G kinds of unit, side by side."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.groups, self.entries = architecture.codebook_groups, architecture.codebook_entries
        size = architecture.codevector_size // self.groups
        self.codevectors = nn.Parameter(torch.empty(1, self.groups * self.entries, size))
        self.project = nn.Linear(architecture.codevector_size, architecture.final_size)
        self.glu = gated_unit(architecture.final_size, architecture.variant.target_glu)
        nn.init.uniform_(self.codevectors)  # the same as for codebook entries
        reset_linear(self.project, self.glu)

    def forward(self, units: Tensor, places: Tensor) -> Quantized:
        """Embed the units (B, T, G) of the frames at ``places`` (B, M)."""
        codes = units.gather(1, places[..., None].expand(*places.shape, self.groups))
        none = self.codevectors.new_zeros(()).expand(*codes.shape, self.entries)
        return Quantized(self.embed(codes), codes, none)

    def embed(self, codes: Tensor) -> Tensor:
        """Embeddings of codes (..., G), projected: (..., final)."""
        return self.glu(self.project(entries_of(self.codevectors, codes)))  # type: ignore[no-any-return]


class TargetEncoder(nn.Module):
    """A second feature encoder, whose outputs are the targets ("separate encoders"): the same convolutions and layer
    norm as the inputs', with weights of their own.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.feature_encoder = FeatureEncoder(architecture)
        self.feature_norm = nn.LayerNorm(architecture.feature_size, architecture.layer_norm_eps)

    def forward(
        self, waveforms: Tensor, lengths: Tensor, packed: bool, gradient_scale: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """Features before and after the norm, in the layout of the inputs'."""
        raw, _ = self.feature_encoder(waveforms, lengths, packed, gradient_scale)
        return raw, self.feature_norm(raw)


Targets = Quantizer | ContinuousTargets | FixedUnits


def build_targets(architecture: Architecture, input_codebooks: Codebooks | None) -> Targets:
    """The targets that the architecture's variant names."""
    variant = architecture.variant
    if variant.targets == "continuous":
        return ContinuousTargets(architecture)
    if variant.targets == "fixed":
        return FixedUnits(architecture)
    return Quantizer(architecture, input_codebooks if variant.input_quantizer == "shared" else None)
