"""The CTC model in a form that torch.export can trace: padded batches (model/layout.py), with constant parts folded.

Two things differ from the model in training and give the same results:

- The feature encoder uses whole-tensor operations, for which runtimes have fast kernels, and group norm is folded into
  the first convolution: mean and variance of w * x follow from the mean and covariance of the input windows. They are
  taken over each utterance's own frames, so padding changes nothing.
- Weight normalisation is multiplied out.

Legend: B utterances, S samples, T frames, C channels, k kernel, s stride, V symbols.
"""

import copy
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wav2vec2.model.architecture import Architecture
from wav2vec2.model.context_network import PositionalConvolution
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.model.feature_encoder import ConvLayer, FeatureEncoder, convolved_lengths
from wav2vec2.model.layout import Layout, Padded


class TraceableCTC(nn.Module):
    """(waveforms (B, S), lengths (B,)) -> logits or log-probabilities (B, T, V), frame lengths (B,).

    A float32 copy of ``model`` in evaluation mode. S must be at least the receptive field. Frames beyond the end of an
    utterance are zero.
    """

    def __init__(self, model: Wav2Vec2ForCTC, *, log_softmax: bool = False) -> None:
        super().__init__()
        model = copy.deepcopy(model).float().cpu().eval()
        model.encoder.packed = False
        stack = TraceableFeatureEncoder(model.encoder.feature_encoder)
        model.encoder.feature_encoder = stack  # type: ignore[assignment]
        positions = model.encoder.context.pos_conv
        if type(positions) is PositionalConvolution:
            model.encoder.context.pos_conv = FoldedPositionalConvolution(positions)
        self.model = model.requires_grad_(False)
        self.log_softmax = log_softmax

    def forward(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        encoder = self.model.encoder
        features = encoder.features(waveforms, lengths, None)
        logits = self.model.head(encoder.context_vectors(features, None, None))
        if self.log_softmax:
            logits = logits.log_softmax(-1)
        frame_lengths = self.model.frame_lengths(lengths)
        assert isinstance(features.layout, Padded)
        return torch.where(features.layout.valid[:, :, None], logits, 0.0), frame_lengths


class FoldedPositionalConvolution(nn.Module):
    """`PositionalConvolution` on padded frames, with its weight norm multiplied out."""

    def __init__(self, source: PositionalConvolution) -> None:
        super().__init__()
        self.groups = source.groups
        self.weight = nn.Parameter(source.weight.detach().clone())
        self.bias = source.bias

    def forward(self, x: Tensor, layout: Padded) -> Tensor:
        """Convolve x (B, T, C); frames beyond the end of an utterance count as zeros."""
        kernel = self.weight.shape[2]
        x = torch.where(layout.valid[:, :, None], x, 0.0).transpose(1, 2)
        # With K // 2 zeros on both sides, an even kernel would give one frame too many: so one zero fewer on the right.
        x = F.pad(x, (kernel // 2, kernel - 1 - kernel // 2))
        return F.gelu(F.conv1d(x, self.weight, self.bias, groups=self.groups).transpose(1, 2))


class TraceableFeatureEncoder(nn.Module):
    """`FeatureEncoder` on padded waveforms, without branches that depend on lengths."""

    def __init__(self, source: FeatureEncoder) -> None:
        super().__init__()
        self.architecture: Architecture = source.architecture
        a = self.architecture
        first, *others = cast(list[ConvLayer], list(source.layers))
        self.first = FoldedGroupNorm(first, a) if a.conv_norm == "group" else _plain(first, a, 0)
        self.others = nn.ModuleList(_plain(layer, a, i + 1) for i, layer in enumerate(others))

    def frame_lengths(self, lengths: Tensor) -> Tensor:
        """Samples (B,) to frames (B,); 0 below the receptive field."""
        for kernel, stride in zip(self.architecture.conv_kernels, self.architecture.conv_strides, strict=True):
            lengths = convolved_lengths(lengths, kernel, stride)
        return lengths

    def forward(
        self, waveforms: Tensor, lengths: Tensor, packed: bool, gradient_scale: float = 1.0, *, full: bool = False
    ) -> tuple[Tensor, Layout]:
        """As `FeatureEncoder.forward` with ``packed`` False; S must be at least the receptive field."""
        x = self.first(waveforms, lengths)
        for layer in self.others:
            x = layer(x)
        return x.transpose(1, 2), Padded(self.frame_lengths(lengths), x.shape[2])


class FoldedGroupNorm(nn.Module):
    """First convolution and group norm of the group family, then GELU: (B, S) -> (B, C, T)."""

    def __init__(self, layer: ConvLayer, architecture: Architecture) -> None:
        super().__init__()
        self.kernel, self.stride = architecture.conv_kernels[0], architecture.conv_strides[0]
        self.eps = architecture.layer_norm_eps
        # In float64, because a filter that suppresses most of the speech has a variance far below that of the windows.
        assert layer.norm is not None
        self.weight: Tensor
        self.gain: Tensor
        self.shift: Tensor
        self.windows: Tensor
        self.register_buffer("weight", layer.conv.weight.detach()[:, 0].double())
        self.register_buffer("gain", layer.norm.weight.detach().double())
        self.register_buffer("shift", layer.norm.bias.detach().double())
        self.register_buffer("windows", torch.eye(self.kernel)[:, None])

    def forward(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        """Convolution, norm and GELU; a bias of the convolution would cancel in the norm."""
        windows = F.conv1d(waveforms[:, None], self.windows, stride=self.stride)  # (B, k, T)
        frames = convolved_lengths(lengths, self.kernel, self.stride)[:, None, None]
        valid = torch.arange(windows.shape[2]) < frames
        count = frames.clamp_min(1).double()
        wide = torch.where(valid, windows, 0.0).double()
        mean = wide.sum(2, keepdim=True) / count
        centred = torch.where(valid, wide - mean, 0.0)
        covariance = centred @ centred.transpose(1, 2) / count
        variance = ((self.weight @ covariance) * self.weight).sum(2)
        scale = self.gain * (variance + self.eps).rsqrt()
        offset = self.shift - (self.weight @ mean)[:, :, 0] * scale
        folded = (self.weight * scale[:, :, None]).float()
        return F.gelu(folded @ windows + offset.float()[:, :, None])


class PlainConvolution(nn.Module):
    """Convolution, layer norm if the family has one, GELU: (B, C, T) -> (B, C', T')."""

    def __init__(self, layer: ConvLayer, stride: int, norm: nn.LayerNorm | None, eps: float) -> None:
        super().__init__()
        self.weight, self.bias = layer.conv.weight, layer.conv.bias
        self.stride, self.norm, self.eps = stride, norm, eps

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Apply to x (B, C, T), or to waveforms (B, S)."""
        x = x[:, None] if x.dim() == 2 else x
        x = F.conv1d(x, self.weight, self.bias, stride=self.stride)
        if self.norm is None:
            return F.gelu(x)
        x = F.layer_norm(x.transpose(1, 2), x.shape[1:2], self.norm.weight, self.norm.bias, self.eps)
        return F.gelu(x).transpose(1, 2)


def _plain(layer: ConvLayer, architecture: Architecture, index: int) -> PlainConvolution:
    norm = layer.norm if architecture.conv_norm == "layer" else None
    return PlainConvolution(layer, architecture.conv_strides[index], norm, architecture.layer_norm_eps)
