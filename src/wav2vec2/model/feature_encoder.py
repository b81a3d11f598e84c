"""Feature encoder (section 2, "Feature encoder"): raw audio to one latent vector every 20 ms.

Seven temporal convolutions, each followed by a GELU. The group-norm family (BASE) normalises once, after the first
convolution: each channel over time. The layer-norm family (LV-60k) normalises after every convolution, over channels.
The norm over time uses an utterance's own frames only, so padding changes nothing.

Legend: B utterances, S samples, T frames, C channels, N frames of all utterances.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wav2vec2.model.architecture import Architecture
from wav2vec2.model.cpu.conv_stack import ConvStack
from wav2vec2.model.cuda.conv_rows import conv_rows
from wav2vec2.model.layout import Layout, Packed, Padded
from wav2vec2.model.window_moments import WindowMoments


class ConvLayer(nn.Module):
    """Parameters of one layer: a convolution and, where the family has one, its norm."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, bias: bool, norm: bool) -> None:
        super().__init__()
        self.conv = nn.Conv1d(in_channels, out_channels, kernel, stride=stride, bias=bias)
        nn.init.kaiming_normal_(self.conv.weight)
        # holds the gain and shift of either norm: their shapes are the same
        self.norm = nn.LayerNorm(out_channels) if norm else None


class FeatureEncoder(nn.Module):
    """Waveforms (B, S) -> latent frames (N, C) or (B, T, C)."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        group = architecture.conv_norm == "group"
        channels = (1, *architecture.conv_channels)
        self.layers = nn.ModuleList(
            ConvLayer(channels[i], channels[i + 1], kernel, stride, architecture.conv_bias, norm=not group or i == 0)
            for i, (kernel, stride) in enumerate(zip(architecture.conv_kernels, architecture.conv_strides, strict=True))
        )

        self.rows: bool | None = None
        """Whether padded batches are computed by ``cuda.conv_rows``. None: on a GPU, outside of torch.compile."""
        self.first_kernel: bool | None = None
        """Whether its first layer is a Triton kernel. None: on a GPU, where Triton is installed."""

    def forward(
        self,
        waveforms: Tensor,
        lengths: Tensor,
        packed: bool,
        gradient_scale: float = 1.0,
        *,
        full: bool = False,
        moments: Sequence[WindowMoments] | None = None,
    ) -> tuple[Tensor, Layout]:
        """Return the frames and their layout; ``lengths`` (B,) are in samples, ``full`` says that all are S.

        The gradient into the convolutions is multiplied by ``gradient_scale``; 0 freezes them. ``moments``, one for
        each utterance, give the group norm the statistics of more than the waveforms here: of a whole recording of
        which they are windows. Then there is no gradient. The layer-norm family has no use for them.
        """
        frozen = gradient_scale == 0.0 or moments is not None
        with torch.no_grad() if frozen else nullcontext():
            if packed:
                frames, layout = self._packed(waveforms, lengths, moments)
            else:
                frames, layout = self._padded(waveforms, lengths, full, moments)
        if not frozen and gradient_scale != 1.0:
            frames = ScaleGradient.apply(frames, gradient_scale)  # type: ignore[no-untyped-call]
        return frames, layout

    @property
    def parameter_list(self) -> list[Tensor | None]:
        """Kernel, bias, gain and shift of each layer, for the kernels that compute all layers.

        Detached where no gradients are recorded: a kernel keeps every layer's output for those that may need one.
        """
        parameters: list[Tensor | None] = []
        for layer in self.layers:
            assert isinstance(layer, ConvLayer)
            gain_and_shift = (None, None) if layer.norm is None else (layer.norm.weight, layer.norm.bias)
            parameters += [layer.conv.weight, layer.conv.bias, *gain_and_shift]
        if torch.is_grad_enabled():
            return parameters
        return [None if parameter is None else parameter.detach() for parameter in parameters]

    def frame_lengths(self, lengths: Tensor) -> Tensor:
        """(B,) samples -> (B,) frames; 0 below the receptive field."""
        for kernel, stride in zip(self.architecture.conv_kernels, self.architecture.conv_strides, strict=True):
            lengths = convolved_lengths(lengths, kernel, stride)
        return lengths

    def _padded(
        self, waveforms: Tensor, lengths: Tensor, full: bool, moments: Sequence[WindowMoments] | None
    ) -> tuple[Tensor, Layout]:
        group = self.architecture.conv_norm == "group"
        eps = self.architecture.layer_norm_eps
        # padded to at least one frame, so that a batch of very short recordings has a defined shape
        x = F.pad(waveforms, (0, max(0, self.architecture.receptive_field - waveforms.shape[1])))[:, None]
        if moments is None and self._use_rows(x):
            first = convolved_lengths(lengths, self.architecture.conv_kernels[0], self.architecture.conv_strides[0])
            x = conv_rows(x[:, 0], first, self.architecture, self.parameter_list, kernel=self.first_kernel)
            return x, Padded(self.frame_lengths(lengths), x.shape[1], full)
        for index, layer in enumerate(self.layers):
            assert isinstance(layer, ConvLayer)
            x = layer.conv(x)
            if layer.norm is not None and group and moments is not None:
                statistics = [one.channels(layer.conv.weight, layer.conv.bias) for one in moments]
                mean, variance = (torch.stack(values)[:, :, None] for values in zip(*statistics, strict=True))
                x = _normed(x, mean, variance, layer.norm.weight, layer.norm.bias, eps)
            elif layer.norm is not None and group:
                kernel, stride = self.architecture.conv_kernels[index], self.architecture.conv_strides[index]
                frames = None if full else convolved_lengths(lengths, kernel, stride)
                x = masked_group_norm(x, frames, layer.norm.weight, layer.norm.bias, eps)
            elif layer.norm is not None:
                x = F.layer_norm(x.transpose(1, 2), x.shape[1:2], layer.norm.weight, layer.norm.bias, eps)
                x = x.transpose(1, 2)
            x = F.gelu(x)
        return x.transpose(1, 2), Padded(self.frame_lengths(lengths), x.shape[2], full)

    def _use_rows(self, waveforms: Tensor) -> bool:
        if self.rows is not None:
            return self.rows
        return waveforms.device.type == "cuda" and not torch.compiler.is_compiling()

    def _packed(
        self, waveforms: Tensor, lengths: Tensor, moments: Sequence[WindowMoments] | None
    ) -> tuple[Tensor, Layout]:
        """The same as ``_padded``, computed by the CPU kernels."""
        samples, a = lengths.tolist(), self.architecture
        frames = ConvStack.apply(waveforms, samples, a, moments, *self.parameter_list)  # type: ignore[no-untyped-call]
        return frames, Packed(tuple(map(a.frame_length, samples)))


def convolved_lengths(lengths: Tensor, kernel: int, stride: int) -> Tensor:
    """(B,) lengths -> lengths after a convolution without padding, whose kernel is no shorter than its stride."""
    return (lengths - (kernel - stride)).clamp_min(0) // stride


def masked_group_norm(x: Tensor, lengths: Tensor | None, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Group norm, one group per channel, over the first ``lengths`` (B,) frames of x (B, C, T), or over all (None).

    Computed in float32 or float64.
    """
    wide = x if x.dtype == torch.float64 else x.float()
    if lengths is None:
        variance, mean = torch.var_mean(wide, 2, correction=0, keepdim=True)
        return ((wide - mean) * (variance + eps).rsqrt() * weight[:, None] + bias[:, None]).to(x.dtype)
    valid = (torch.arange(x.shape[2], device=x.device) < lengths[:, None])[:, None]
    count = lengths.clamp_min(1)[:, None, None]
    mean = torch.where(valid, wide, 0).sum(2, keepdim=True) / count
    variance = torch.where(valid, (wide - mean).square(), 0).sum(2, keepdim=True) / count
    normed = (wide - mean) * (variance + eps).rsqrt()
    return (normed * weight[:, None] + bias[:, None]).to(x.dtype)


def _normed(x: Tensor, mean: Tensor, variance: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Group norm of x (B, C, T) with given statistics (B, C, 1) in float64, as one gain and one shift a channel."""
    gain = (variance + eps).rsqrt() * weight[:, None]
    return (x * gain.to(x.dtype) + (bias[:, None] - mean * gain).to(x.dtype)).to(x.dtype)


class ScaleGradient(torch.autograd.Function):
    """Identity whose gradient is multiplied by ``scale``: 0.1 for the feature encoder of the released BASE."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0] * ctx.scale, None
