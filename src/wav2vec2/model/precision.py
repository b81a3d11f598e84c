"""Where float32 is needed although the rest computes in half precision: cosines, softmaxes, Gumbel noise."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def full_precision(x: Tensor) -> AbstractContextManager[object]:
    """Context in which autocast does not take the matrix products of float32 tensors, such as ``x``, to half."""
    kind = x.device.type
    if kind == "meta" or not torch.is_autocast_enabled(kind):
        return nullcontext()
    return torch.autocast(kind, enabled=False)
