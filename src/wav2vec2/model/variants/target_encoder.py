"""A second feature encoder whose outputs are the targets (Table 4 of the paper, "separate encoders")."""

from contextlib import nullcontext

import torch
from torch import Tensor, nn

from wav2vec2.model.architecture import Architecture
from wav2vec2.model.feature_encoder import FeatureEncoder, ScaleGradient


class TargetEncoder(nn.Module):
    """The same convolutions and layer norm as the inputs', with weights of their own."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.feature_encoder = FeatureEncoder(architecture)
        self.feature_norm = nn.LayerNorm(architecture.feature_size, architecture.layer_norm_eps)

    def forward(self, waveforms: Tensor, lengths: Tensor, packed: bool, scale: float) -> tuple[Tensor, Tensor]:
        """Features before and after the norm, in the layout of the inputs'; ``scale`` of the gradient, 0 freezes."""
        frozen = self.training and scale == 0.0
        with torch.no_grad() if frozen else nullcontext():
            raw, _ = self.feature_encoder(waveforms, lengths, packed)
        if self.training and scale not in (0.0, 1.0):
            raw = ScaleGradient.apply(raw, scale)  # type: ignore[no-untyped-call]
        return raw, self.feature_norm(raw)
