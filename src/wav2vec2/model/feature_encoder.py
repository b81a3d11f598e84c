"""Feature encoder (section 2, "Feature encoder"): raw audio to one vector every 20 ms.

Seven temporal convolutions with GELU. The group family normalises after the first convolution over time, per channel;
the layer family after every convolution over channels. Time norms only ever see an utterance's own frames: padding
changes nothing.

Legend: B utterances, S samples, T frames, C channels, N frames of all utterances.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wav2vec2.model.architecture import Architecture
from wav2vec2.model.cpu.conv_stack import ConvStack, StackShape
from wav2vec2.model.layout import Layout, Packed, Padded


class ConvLayer(nn.Module):
    """Parameters of one block: convolution and, where the family has one, its norm."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, bias: bool, norm: bool) -> None:
        super().__init__()
        self.conv = nn.Conv1d(in_channels, out_channels, kernel, stride=stride, bias=bias)
        nn.init.kaiming_normal_(self.conv.weight)
        # gain and shift of the group norm and of the layer norm have the same shape; the class only holds them
        self.norm = nn.LayerNorm(out_channels) if norm else None


class FeatureEncoder(nn.Module):
    """Waveforms (B, S) -> features (N, C) or (B, T, C), before the layer norm that follows."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        group = architecture.conv_norm == "group"
        channels = (1, *architecture.conv_channels)
        self.layers = nn.ModuleList(
            ConvLayer(channels[i], channels[i + 1], kernel, stride, architecture.conv_bias, norm=not group or i == 0)
            for i, (kernel, stride) in enumerate(zip(architecture.conv_kernels, architecture.conv_strides, strict=True))
        )

    def forward(self, waveforms: Tensor, lengths: Tensor, packed: bool) -> tuple[Tensor, Layout]:
        """Return the features and their layout; ``lengths`` (B,) are in samples."""
        if packed:
            return self._packed(waveforms, lengths.tolist())
        return self._padded(waveforms, lengths)

    def frame_lengths(self, lengths: Tensor) -> Tensor:
        """(B,) samples -> (B,) frames; 0 below the receptive field of 400 samples."""
        for kernel, stride in zip(self.architecture.conv_kernels, self.architecture.conv_strides, strict=True):
            lengths = torch.where(lengths >= kernel, (lengths - kernel) // stride + 1, 0)
        return lengths

    def _packed(self, waveforms: Tensor, lengths: list[int]) -> tuple[Tensor, Packed]:
        a = self.architecture
        shape = StackShape(a.conv_kernels, a.conv_strides, a.conv_norm == "group", a.layer_norm_eps)
        parameters: list[Any] = []
        for layer in self.layers:
            assert isinstance(layer, ConvLayer)
            norm = layer.norm
            pair = (None, None) if norm is None else (norm.weight, norm.bias)
            parameters += [layer.conv.weight, layer.conv.bias, *pair]
        features = ConvStack.apply(waveforms, lengths, shape, *parameters)  # type: ignore[no-untyped-call]
        return features, Packed(tuple(a.frame_length(length) for length in lengths))

    def _padded(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Padded]:
        group = self.architecture.conv_norm == "group"
        eps = self.architecture.layer_norm_eps
        # one frame at least, so that batches of too short recordings keep a defined shape
        x = F.pad(waveforms, (0, max(0, self.architecture.receptive_field - waveforms.shape[1])))[:, None]
        for index, layer in enumerate(self.layers):
            assert isinstance(layer, ConvLayer)
            x = layer.conv(x)
            if layer.norm is not None and group:
                kernel, stride = self.architecture.conv_kernels[index], self.architecture.conv_strides[index]
                frames = torch.where(lengths >= kernel, (lengths - kernel) // stride + 1, 0)
                x = masked_group_norm(x, frames, layer.norm.weight, layer.norm.bias, eps)
            elif layer.norm is not None:
                x = F.layer_norm(x.transpose(1, 2), x.shape[1:2], layer.norm.weight, layer.norm.bias, eps)
                x = x.transpose(1, 2)
            x = F.gelu(x)
        layout = Padded(self.frame_lengths(lengths), x.shape[2])
        return x.transpose(1, 2), layout


def masked_group_norm(x: Tensor, lengths: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Group norm with one group a channel over the first ``lengths`` frames of x (B, C, T), in float32 at least."""
    wide = x if x.dtype == torch.float64 else x.float()
    valid = (torch.arange(x.shape[2], device=x.device) < lengths[:, None])[:, None]
    count = lengths.clamp_min(1)[:, None, None]
    mean = torch.where(valid, wide, 0).sum(2, keepdim=True) / count
    variance = torch.where(valid, (wide - mean).square(), 0).sum(2, keepdim=True) / count
    normed = (wide - mean) * (variance + eps).rsqrt()
    return (normed * weight[:, None] + bias[:, None]).to(x.dtype)


class ScaleGradient(torch.autograd.Function):
    """Identity whose gradient is multiplied by ``scale`` (section 4.2: the feature encoder learns at a tenth)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0] * ctx.scale, None
