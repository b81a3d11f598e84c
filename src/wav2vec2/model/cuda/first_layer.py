"""The first convolution with its norm and GELU over the rows of a padded batch: by a Triton kernel, or plainly.

The group norm is folded into the convolution (``folded_norm``), so that the widest activation of the network is written
once, after its GELU, in the type of the rest. The backward pass computes it again, and sums the gradient of the folded
kernel without writing anything of that size. The plain form does the same with PyTorch's operations, one utterance at a
time, and also serves the layer-norm family.

Legend: B utterances, S samples, R rows of an utterance, M rows of all, C channels, k kernel, s stride.
"""

import functools
import importlib.util

import torch
from torch import Tensor
from torch.nn import functional as F

from wav2vec2.model.architecture import Architecture
from wav2vec2.model.conv_weights import LayerWeights, norm_backward
from wav2vec2.model.folded_norm import FoldedNorm
from wav2vec2.model.window_moments import WindowMoments

_CHUNK = 64
"""Windows in one product of the sums over windows: enough products to fill a GPU."""


@functools.cache
def has_triton() -> bool:
    """Whether Triton is installed."""
    return importlib.util.find_spec("triton") is not None


class FirstLayer:
    """Waveforms -> GELU(norm(conv)) as rows (B * R, C).

    Args:
        layer: its weights.
        architecture: of which the first kernel, stride and norm are used.
        waveforms: (B, S).
        frames: (B,) of the convolution in each utterance; what follows them does not enter the statistics.
        rows: R, at least the frames of S samples.
        dtype: of the result.
        kernel: whether to use the Triton kernel; None: on a GPU where Triton is installed. The layer-norm family has
            none.
    """

    def __init__(
        self,
        layer: LayerWeights,
        architecture: Architecture,
        waveforms: Tensor,
        frames: Tensor,
        rows: int,
        dtype: torch.dtype,
        kernel: bool | None,
    ) -> None:
        self._layer, self._eps, self._rows, self._dtype = layer, architecture.layer_norm_eps, rows, dtype
        self._k, self._s = architecture.conv_kernels[0], architecture.conv_strides[0]
        needed = (rows - 1) * self._s + self._k
        self._waveforms = F.pad(waveforms, (0, max(0, needed - waveforms.shape[1])))[:, :needed].contiguous()
        self._folded = self._fold(frames) if architecture.conv_norm == "group" else None
        can = waveforms.device.type == "cuda" and has_triton() and waveforms.dtype == torch.float32
        self._with_kernel = self._folded is not None and (can if kernel is None else kernel)

    def forward(self) -> Tensor:
        """(B * R, C)."""
        if self._with_kernel:
            from wav2vec2.model.cuda import first_kernel

            assert self._folded is not None
            return first_kernel.forward(self._waveforms, self._folded.kernel, self._s, self._rows, self._dtype)
        out = self._waveforms.new_empty(
            len(self._waveforms), self._rows, self._layer.matrix.shape[1], dtype=self._dtype
        )
        for utterance, part in enumerate(out):
            part.copy_(F.gelu(self._normed(self._affine(utterance))))
        return out.view(-1, out.shape[2])

    def backward(self, grad: Tensor, sums: LayerWeights) -> None:
        """Add the gradients of the parameters, from that of the result (B * R, C)."""
        grad = grad.view(len(self._waveforms), self._rows, -1)
        if self._with_kernel:
            from wav2vec2.model.cuda import first_kernel

            assert self._folded is not None
            grad_kernel = first_kernel.backward(self._waveforms, self._folded.kernel, self._s, grad)
        else:
            grad_kernel = torch.stack([self._backward(utterance, part, sums) for utterance, part in enumerate(grad)])
        if self._folded is not None:
            self._folded.add_gradients(grad_kernel, sums)
            return
        total = grad_kernel.sum(0)
        sums.matrix.add_(total[:-1])
        if sums.bias is not None:
            sums.bias.add_(total[-1])

    def _fold(self, frames: Tensor) -> FoldedNorm:
        wide = self._waveforms.double().unfold(1, self._k, self._s)
        wide = torch.cat([wide, torch.ones_like(wide[:, :, :1])], dim=2)
        valid = torch.arange(self._rows, device=wide.device) < frames[:, None]
        wide = F.pad(wide * valid[:, :, None], (0, 0, 0, -self._rows % _CHUNK))
        chunks = wide.view(-1, _CHUNK, self._k + 1)
        products = torch.bmm(chunks.transpose(1, 2), chunks).view(len(wide), -1, self._k + 1, self._k + 1).sum(1)
        return FoldedNorm.of(self._layer, WindowMoments(products), self._eps)

    def _windows(self, utterance: int) -> Tensor:
        """(R, k + 1): windows of a waveform, each followed by a one."""
        windows = self._waveforms[utterance].unfold(0, self._k, self._s)
        return torch.cat([windows, torch.ones_like(windows[:, :1])], dim=1)

    def _affine(self, utterance: int) -> Tensor:
        """(R, C), before the GELU and, in the layer-norm family, before the norm."""
        if self._folded is not None:
            return self._windows(utterance) @ self._folded.kernel[utterance]
        matrix, bias = self._layer.matrix, self._layer.bias
        product = self._windows(utterance)[:, :-1] @ matrix
        return product if bias is None else product + bias

    def _normed(self, x: Tensor) -> Tensor:
        if self._folded is not None:
            return x
        return F.layer_norm(x, x.shape[1:], self._layer.gain, self._layer.shift, self._eps)

    def _backward(self, utterance: int, grad: Tensor, sums: LayerWeights) -> Tensor:
        """(k + 1, C): the gradient of an utterance's affine map."""
        x = self._affine(utterance)
        if self._folded is not None:
            grad = torch.ops.aten.gelu_backward(grad.to(x.dtype), x)
        else:
            normed, mean, rstd = torch.native_layer_norm(x, x.shape[1:], self._layer.gain, self._layer.shift, self._eps)
            grad = torch.ops.aten.gelu_backward(grad.to(x.dtype), normed)
            grad = norm_backward(grad, x, mean, rstd, self._layer, sums)
        return self._windows(utterance).t() @ grad
