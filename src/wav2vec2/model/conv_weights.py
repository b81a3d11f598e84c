"""The convolutions of the feature encoder as matrices, for the kernels that compute them as matrix products.

Legend: C_in and C_out channels, k kernel.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class LayerWeights:
    """One layer's tensors; ``matrix`` is the kernel as (k * C_in, C_out)."""

    matrix: Tensor
    bias: Tensor | None
    gain: Tensor | None
    shift: Tensor | None

    def zeros(self) -> "LayerWeights":
        """Zeros of the same shapes, to add gradients to."""
        parts = (self.matrix, self.bias, self.gain, self.shift)
        return LayerWeights(*(None if part is None else torch.zeros_like(part) for part in parts))  # type: ignore[arg-type]


def layer_weights(parameters: Sequence[Tensor | None]) -> list[LayerWeights]:
    """Layers of a flat list of kernel, bias, gain, shift, ...; kernels (C_out, C_in, k) become (k * C_in, C_out)."""
    layers = []
    for i in range(0, len(parameters), 4):
        kernel, bias, gain, shift = parameters[i : i + 4]
        assert kernel is not None
        matrix = kernel.detach().permute(2, 1, 0).reshape(-1, len(kernel)).contiguous()
        layers.append(LayerWeights(matrix, *(None if p is None else p.detach() for p in (bias, gain, shift))))
    return layers


def parameter_gradients(parameters: Sequence[Tensor | None], sums: Sequence[LayerWeights]) -> list[Tensor | None]:
    """Gradients in the order and the shapes of the parameters."""
    gradients: list[Tensor | None] = []
    for i, layer in enumerate(sums):
        kernel = parameters[4 * i]
        assert kernel is not None
        out_channels, in_channels, k = kernel.shape
        gradients.append(layer.matrix.view(k, in_channels, out_channels).permute(2, 1, 0))
        gradients.extend((layer.bias, layer.gain, layer.shift))
    return gradients


def norm_backward(
    grad: Tensor, conv: Tensor, mean: Tensor, rstd: Tensor, layer: LayerWeights, sums: LayerWeights
) -> Tensor:
    """Through a layer norm over channels: the gradient of ``conv`` (M, C); adds those of gain and shift to ``sums``."""
    grad_conv, grad_gain, grad_shift = torch.ops.aten.native_layer_norm_backward(
        grad, conv, conv.shape[1:], mean, rstd, layer.gain, layer.shift, [True, True, True]
    )
    assert sums.gain is not None
    assert sums.shift is not None
    sums.gain.add_(grad_gain)
    sums.shift.add_(grad_shift)
    return grad_conv  # type: ignore[no-any-return]
