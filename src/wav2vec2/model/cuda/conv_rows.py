"""The feature encoder's convolutions as matrix products over the rows of a whole padded batch, for GPUs.

cuDNN computes a convolution of channels-first audio by changing its layout before and after each layer, and its
gradient for a stride of two by a slow way. Here frames are rows, channels last, as in ``cpu/conv_stack.py``:

- A convolution of kernel k and stride s is ceil(k / s) matrix products on views of its input. Every utterance gets a
  number of rows that all strides divide, so that one product serves the whole batch. The rows beyond an utterance's
  frames hold numbers that no frame reads, and get no gradient.
- Norm and GELU of the first layer are one kernel (``first_layer``), whose output is computed again in the backward
  pass. Of every other layer only the convolution's output is kept.

Nothing is read back by the host. Products are computed in the type that autocast asks for, sums of gradients over
utterances, norms and statistics in float32 or float64.

Legend: B utterances, S samples, T frames, R rows of an utterance (R >= T), M rows of all, C channels, k kernel,
s stride.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from wav2vec2.model.architecture import Architecture
from wav2vec2.model.conv_weights import LayerWeights, layer_weights, norm_backward, parameter_gradients
from wav2vec2.model.cuda.first_layer import FirstLayer
from wav2vec2.model.precision import full_precision


def conv_rows(
    waveforms: Tensor,
    frames: Tensor,
    architecture: Architecture,
    parameters: Sequence[Tensor | None],
    *,
    kernel: bool | None = None,
) -> Tensor:
    """(B, S) -> (B, T, C), of at least the receptive field; no gradient to the waveforms.

    frames: (B,) of the first convolution in each utterance. parameters: kernel, bias, gain and shift of each layer.
    kernel: whether to use the Triton kernel; None: on a GPU where Triton is installed.
    """
    kind = waveforms.device.type
    half = kind != "meta" and torch.is_autocast_enabled(kind)
    dtype = torch.get_autocast_dtype(kind) if half else waveforms.dtype
    with full_precision(waveforms):
        result: Tensor = _ConvRows.apply(waveforms, frames, architecture, dtype, kernel, *parameters)  # type: ignore[no-untyped-call]
    return result


class _ConvRows(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        waveforms: Tensor,
        frames: Tensor,
        architecture: Architecture,
        dtype: torch.dtype,
        kernel: bool | None,
        *parameters: Tensor | None,
    ) -> Tensor:
        stack = _Stack(waveforms, frames, architecture, dtype, kernel, parameters)
        x = stack.first.forward()
        ctx.kept = []
        for index in range(1, len(stack.layers)):
            conv = stack.convolve(index, x)
            if any(ctx.needs_input_grad[5:]):
                ctx.kept.append(conv)
            x = stack.activate(index, conv)
        ctx.made_from = architecture, dtype, kernel
        ctx.save_for_backward(waveforms, frames, *parameters)
        frames_out = architecture.frame_length(waveforms.shape[1])
        return x.view(len(waveforms), -1, x.shape[1])[:, :frames_out].clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        waveforms, lengths, *parameters = ctx.saved_tensors
        architecture, dtype, kernel = ctx.made_from
        stack = _Stack(waveforms, lengths, architecture, dtype, kernel, parameters)
        sums = [layer.zeros() for layer in stack.layers]
        batch, frames, channels = grads[0].shape
        rows = len(ctx.kept[-1]) // batch
        grad = F.pad(grads[0].to(stack.dtype), (0, 0, 0, rows - frames)).view(-1, channels)
        for index in range(len(stack.layers) - 1, 0, -1):
            grad = stack.activate_backward(index, ctx.kept.pop(), grad, sums[index])
            x = stack.activate(index - 1, ctx.kept[-1]) if index > 1 else stack.first.forward()
            grad = stack.convolve_backward(index, x, grad, sums[index])
        stack.first.backward(grad, sums[0])
        return None, None, None, None, None, *parameter_gradients(parameters, sums)


class _Stack:
    """The layers from the second on; ``first`` is the first."""

    def __init__(
        self,
        waveforms: Tensor,
        frames: Tensor,
        architecture: Architecture,
        dtype: torch.dtype,
        kernel: bool | None,
        parameters: Sequence[Tensor | None],
    ) -> None:
        self.layers, self.dtype, self.architecture = layer_weights(parameters), dtype, architecture
        k, s = architecture.conv_kernels[0], architecture.conv_strides[0]
        unit = math.prod(architecture.conv_strides[1:])
        rows = -(-((waveforms.shape[1] - k) // s + 1) // unit) * unit
        self.first = FirstLayer(self.layers[0], architecture, waveforms, frames, rows, dtype, kernel)

    def convolve(self, index: int, x: Tensor) -> Tensor:
        """(M, C_in) -> (M / s, C_out)."""
        s = self.architecture.conv_strides[index]
        x = x.view(len(x) // s, -1)
        out = x.new_empty(0)
        for shift, columns, matrix in self._pieces(index):
            if shift == 0:
                out = x[:, columns] @ matrix
            else:
                out[:-shift].addmm_(x[shift:, columns], matrix)
        bias = self.layers[index].bias
        return out if bias is None else out.add_(bias)

    def convolve_backward(self, index: int, x: Tensor, grad: Tensor, sums: LayerWeights) -> Tensor:
        """Return the gradient of x (M, C_in), and add those of kernel and bias to ``sums``."""
        shape, x = x.shape, x.view(len(grad), -1)
        grad_x = torch.empty_like(x)
        first = 0
        for shift, columns, matrix in self._pieces(index):
            rows = grad[: len(grad) - shift]
            sums.matrix[first : first + len(matrix)] += x[shift:, columns].t() @ rows
            first += len(matrix)
            if shift == 0:  # the first piece has s taps: it covers all columns
                torch.mm(rows, matrix.t(), out=grad_x)
            else:
                grad_x[shift:, columns].addmm_(rows, matrix.t())
        if sums.bias is not None:
            sums.bias += grad.sum(0, dtype=sums.bias.dtype)
        return grad_x.view(shape)

    def _pieces(self, index: int) -> Iterator[tuple[int, slice, Tensor]]:
        """The products of a convolution: by how many rows of s frames the input is shifted, its columns, the kernel."""
        k, s = self.architecture.conv_kernels[index], self.architecture.conv_strides[index]
        matrix = self.layers[index].matrix.to(self.dtype)
        channels = len(matrix) // k
        for first in range(0, k, s):
            taps = min(s, k - first)
            yield first // s, slice(0, taps * channels), matrix[first * channels : (first + taps) * channels]

    def activate(self, index: int, conv: Tensor) -> Tensor:
        """GELU and, in the layer-norm family, the norm before it."""
        layer = self.layers[index]
        if layer.gain is None:
            return F.gelu(conv)
        normed = F.layer_norm(_wide(conv), conv.shape[1:], layer.gain, layer.shift, self.architecture.layer_norm_eps)
        return F.gelu(normed).to(self.dtype)

    def activate_backward(self, index: int, conv: Tensor, grad: Tensor, sums: LayerWeights) -> Tensor:
        """Gradient of the convolution's output; that of gain and shift is added to ``sums``."""
        layer = self.layers[index]
        if layer.gain is None:
            return torch.ops.aten.gelu_backward(grad, conv)  # type: ignore[no-any-return]
        wide = _wide(conv)
        normed, mean, rstd = torch.native_layer_norm(
            wide, wide.shape[1:], layer.gain, layer.shift, self.architecture.layer_norm_eps
        )
        grad = torch.ops.aten.gelu_backward(_wide(grad), normed)
        return norm_backward(grad, wide, mean, rstd, layer, sums).to(self.dtype)


def _wide(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()
