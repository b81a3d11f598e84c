"""Where float32 is needed although the rest computes in half precision: cosines, softmaxes, Gumbel noise, norms."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def full_precision(x: Tensor) -> AbstractContextManager[object]:
    """Context in which autocast does not take the matrix products of float32 tensors, such as ``x``, to half."""
    kind = x.device.type
    if kind == "meta" or not torch.is_autocast_enabled(kind):
        return nullcontext()
    return torch.autocast(kind, enabled=False)


class WideLayerNorm(nn.LayerNorm):
    """A layer norm that computes in float32 or float64, on any device, and returns the type that it was given."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last dimension."""
        wide = x if x.dtype == torch.float64 else x.float()
        gain, shift = self.weight.to(wide.dtype), self.bias.to(wide.dtype)
        return F.layer_norm(wide, self.normalized_shape, gain, shift, self.eps).to(x.dtype)
