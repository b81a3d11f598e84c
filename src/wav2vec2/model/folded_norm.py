"""The group norm after the first convolution, folded into that convolution.

Mean and variance of every channel follow from the moments of the convolution's input windows, so that the norm is a
change of the kernel and an offset: the widest activation of the network need not be stored to be normalised.

Legend: k kernel, C channels, ... utterances or nothing.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from wav2vec2.model.conv_weights import LayerWeights
from wav2vec2.model.window_moments import WindowMoments


@dataclass(frozen=True)
class FoldedNorm:
    """norm(conv(x)) as one affine map of a window of x, followed by a one."""

    kernel: Tensor
    """(..., k + 1, C): the map, its offset last, in the type of the layer's weights."""
    layer: LayerWeights
    mean: Tensor
    """(..., k) float64: mean window."""
    covariance: Tensor
    """(..., k, k) float64: covariance of the windows."""
    rstd: Tensor
    """(..., C) float64: one over the standard deviation of each channel."""

    @classmethod
    def of(cls, layer: LayerWeights, moments: WindowMoments, eps: float) -> "FoldedNorm":
        """Fold the norm of a layer whose input windows have these moments."""
        assert layer.gain is not None
        assert layer.shift is not None
        matrix, mean, covariance = layer.matrix.double(), moments.mean, moments.covariance
        variance = (matrix * (covariance @ matrix)).sum(-2).clamp_min(0)
        rstd = (variance + eps).rsqrt()
        scale = layer.gain.double() * rstd
        offset = layer.shift.double() - (mean @ matrix) * scale
        kernel = torch.cat([matrix * scale[..., None, :], offset[..., None, :]], dim=-2)
        return cls(kernel.to(layer.matrix.dtype), layer, mean, covariance, rstd)

    def add_gradients(self, grad: Tensor, sums: LayerWeights) -> None:
        """Add the gradients of the layer's parameters, from that of the folded kernel (..., k + 1, C)."""
        assert self.layer.gain is not None
        assert sums.gain is not None
        assert sums.shift is not None
        matrix, grad = self.layer.matrix.double(), grad.double()
        grad_kernel, grad_shift = grad[..., :-1, :], grad[..., -1, :]
        centred = grad_kernel - self.mean[..., :, None] * grad_shift[..., None, :]
        grad_gain = self.rstd * (matrix * centred).sum(-2)
        through_variance = (self.covariance @ matrix) * (grad_gain * self.rstd)[..., None, :]
        grad_matrix = (centred - through_variance) * (self.layer.gain.double() * self.rstd)[..., None, :]
        sums.matrix.add_(grad_matrix.sum_to_size(matrix.shape))
        sums.gain.add_(grad_gain.sum_to_size(sums.gain.shape))
        sums.shift.add_(grad_shift.sum_to_size(sums.shift.shape))
