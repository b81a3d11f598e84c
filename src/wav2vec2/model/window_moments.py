"""Moments of the first convolution's input windows: all that the group norm of the BASE family needs to know.

The norm's mean and variance of every channel follow from the mean and the covariance of the windows that the first
convolution sees, whatever its kernel. The moments of two stretches of audio add up to those of both, so that the
statistics of an hour are known without holding an hour, and those of a live stream can be frozen.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from wav2vec2.model.architecture import Architecture

_BLOCK_WINDOWS = 1 << 16


@dataclass(frozen=True)
class WindowMoments:
    """Sums over windows of k samples.

    products: (..., k + 1, k + 1) float64, of one stretch or of several: the sum of the outer products of each window
    followed by a one. The last column holds the sums of the samples, and its last entry the number of windows.
    """

    products: Tensor

    @classmethod
    def of(cls, waveform: Tensor, architecture: Architecture) -> "WindowMoments":
        """Return the moments of all windows of the first convolution that lie inside a waveform (S,)."""
        kernel, stride = architecture.conv_kernels[0], architecture.conv_strides[0]
        products = torch.zeros(kernel + 1, kernel + 1, dtype=torch.float64, device=waveform.device)
        if len(waveform) >= kernel:
            for windows in waveform.unfold(0, kernel, stride).split(_BLOCK_WINDOWS):
                wide = torch.cat([windows.double(), windows.new_ones(len(windows), 1, dtype=torch.float64)], dim=1)
                products += wide.t() @ wide
        return cls(products)

    def __add__(self, other: "WindowMoments") -> "WindowMoments":
        return WindowMoments(self.products + other.products)

    @property
    def mean(self) -> Tensor:
        """(..., k) mean window."""
        return self.products[..., -1, :-1] / self.products[..., -1, -1:].clamp_min(1)

    @property
    def covariance(self) -> Tensor:
        """(..., k, k) biased covariance of the windows."""
        mean, count = self.mean, self.products[..., -1:, -1:].clamp_min(1)
        return self.products[..., :-1, :-1] / count - mean[..., :, None] * mean[..., None, :]

    def channels(self, kernel: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return mean and variance (C,) of the convolution's output, in float64; kernel (C, 1, k), bias (C,)."""
        matrix = kernel.detach()[:, 0].double()
        mean = matrix @ self.mean
        if bias is not None:
            mean = mean + bias.detach().double()
        return mean, (matrix * (matrix @ self.covariance)).sum(1).clamp_min(0)
