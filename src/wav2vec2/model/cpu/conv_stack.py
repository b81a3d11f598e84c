"""The feature encoder's convolutions as matrix products, utterance by utterance, for eager CPU.

The results equal those of a chain of Conv1d modules. The computation differs:
- A convolution of kernel k and stride s over channels-last frames is ceil(k / s) matrix products on strided views of
  its input, without an im2col copy or a change of layout.
- The group norm after the first convolution is folded into it. The mean and variance of its output follow from the mean
  and the k x k covariance of the input windows, so that the widest activation of the network is never stored: it is
  computed from the waveform in blocks, in the forward and in the backward pass.
- Of every other layer only the convolution's output is kept for the backward pass; norm and GELU are computed again.
- There is no padding: each utterance is computed alone, so that the rest of the batch changes nothing.

Legend: B utterances, S samples, T frames, C channels, N frames of all utterances, k kernel, s stride.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from wav2vec2.model.architecture import Architecture
from wav2vec2.model.conv_weights import LayerWeights, layer_weights, norm_backward, parameter_gradients
from wav2vec2.model.cpu.gelu import gelu, gelu_backward, gelu_into
from wav2vec2.model.cpu.half import add_product, half_products, in_half, multiply
from wav2vec2.model.folded_norm import FoldedNorm
from wav2vec2.model.window_moments import WindowMoments

BLOCK_FRAMES = 2048
"""Output frames of the second convolution in one block, whose input then fits the cache."""


def _pieces(x: Tensor, k: int, s: int, frames: int) -> list[tuple[slice, Tensor]]:
    """Views (frames, taps * C) of x (T, C), each with the rows of the kernel matrix that multiply it."""
    channels = x.shape[1]
    pieces = []
    for first in range(0, k, s):
        taps = min(s, k - first)
        size = (frames, taps * channels)
        view = x.as_strided(size, (s * channels, 1), x.storage_offset() + first * channels)
        pieces.append((slice(first * channels, (first + taps) * channels), view))
    return pieces


def _convolve(x: Tensor, layer: LayerWeights, k: int, s: int, out: Tensor) -> None:
    """Write the convolution of x (T, C_in) into ``out`` (frames, C_out)."""
    for rows, view in _pieces(x, k, s, len(out)):
        if rows.start == 0:
            multiply(view, layer.matrix[rows], out)
        else:
            add_product(out, view, layer.matrix[rows])
    if layer.bias is not None:
        out.add_(layer.bias)


def _convolve_backward(x: Tensor, layer: LayerWeights, k: int, s: int, grad: Tensor, grad_matrix: Tensor) -> Tensor:
    """Return the gradient of x, and add that of the kernel to ``grad_matrix``."""
    grad_x = torch.empty_like(x)
    covered = len(grad) * s
    grad_x[covered:].zero_()
    for rows, view in _pieces(x, k, s, len(grad)):
        add_product(grad_matrix[rows], view.t(), grad)
    for rows, view in _pieces(grad_x, k, s, len(grad)):
        if rows.start == 0:
            # with s taps the first piece covers all rows below ``covered``
            multiply(grad, layer.matrix[rows].t(), view)
        else:
            add_product(view, grad, layer.matrix[rows].t())
    return grad_x


class _Utterance:
    """Forward and backward of the stack for one waveform (S,)."""

    def __init__(
        self,
        waveform: Tensor,
        layers: list[LayerWeights],
        architecture: Architecture,
        given: WindowMoments | None = None,
    ) -> None:
        self.layers, self.eps = layers, architecture.layer_norm_eps
        self.kernels, self.strides = architecture.conv_kernels, architecture.conv_strides
        self.group_norm = architecture.conv_norm == "group"
        k, s = self.kernels[0], self.strides[0]
        windows = waveform.unfold(0, k, s)
        self.windows = torch.cat([windows, windows.new_ones(len(windows), 1)], dim=1)
        self.folded = self._fold_group_norm(given) if self.group_norm else None
        self.first = self._plain_first() if self.folded is None else self.folded.kernel

    def _plain_first(self) -> Tensor:
        matrix, bias = self.layers[0].matrix, self.layers[0].bias
        row = matrix.new_zeros(1, matrix.shape[1]) if bias is None else bias[None]
        return torch.cat([matrix, row])

    def _fold_group_norm(self, given: WindowMoments | None) -> FoldedNorm:
        windows = self.windows.double()
        moments = WindowMoments(windows.t() @ windows) if given is None else given
        return FoldedNorm.of(self.layers[0], moments, self.eps)

    def normed(self, index: int, conv: Tensor) -> Tensor:
        """The input of layer ``index``'s GELU, from the output of its convolution."""
        if self.group_norm:
            return conv
        layer = self.layers[index]
        return torch.nn.functional.layer_norm(conv, conv.shape[1:], layer.gain, layer.shift, self.eps)

    def first_blocks(self, frames: int) -> list[tuple[slice, slice]]:
        """Pairs: frames of layer 1, and the frames of layer 0 that they are computed from."""
        k, s = self.kernels[1], self.strides[1]
        starts = range(0, frames, BLOCK_FRAMES)
        ends = [min(a + BLOCK_FRAMES, frames) for a in starts]
        return [(slice(a, b), slice(a * s, (b - 1) * s + k)) for a, b in zip(starts, ends, strict=True)]

    def first_layer(self, rows: slice) -> Tensor:
        """Layer 0 before its GELU and, in the layer-norm family, before its norm."""
        return torch.mm(self.windows[rows], self.first)

    def forward(self, out: Tensor, *, keep: bool) -> list[Tensor]:
        """Write the stack's output (T, C) into ``out``; return the outputs of the convolutions from layer 1 on.

        With ``keep`` False there is no backward pass, and each is dropped when the next one is known.
        """
        kept: list[Tensor] = []
        x = torch.empty(0)
        frames = len(self.windows)
        for index in range(1, len(self.layers)):
            k, s = self.kernels[index], self.strides[index]
            frames = (frames - k) // s + 1
            conv = out.new_empty(frames, self.layers[index].matrix.shape[1])
            if index == 1:
                for block, rows in self.first_blocks(frames):
                    x = self.normed(0, self.first_layer(rows))
                    gelu_into(x, x)
                    _convolve(x, self.layers[1], k, s, conv[block])
            else:
                _convolve(x, self.layers[index], k, s, conv)
            kept = [*kept, conv] if keep else [conv]
            if index < len(self.layers) - 1:
                x = gelu(self.normed(index, conv))
        gelu_into(out, self.normed(len(self.layers) - 1, kept[-1]))
        return kept

    def backward(self, grad: Tensor, kept: list[Tensor], sums: list[LayerWeights]) -> None:
        """Add this utterance's gradients to ``sums``."""
        for index in range(len(self.layers) - 1, 0, -1):
            conv = kept[index - 1]
            grad = self._activation_backward(index, conv, grad, sums[index])
            k, s = self.kernels[index], self.strides[index]
            bias = sums[index].bias
            if bias is not None:
                bias.add_(grad.sum(0))
            if index > 1:
                x = gelu(self.normed(index - 1, kept[index - 2]))
                grad = _convolve_backward(x, self.layers[index], k, s, grad, sums[index].matrix)
                continue
            first_sum = torch.zeros_like(self.first)
            for block, rows in self.first_blocks(len(grad)):
                conv = self.first_layer(rows)
                x = gelu(self.normed(0, conv))
                grad_x = _convolve_backward(x, self.layers[1], k, s, grad[block], sums[1].matrix)
                first_sum.addmm_(self.windows[rows].t(), self._activation_backward(0, conv, grad_x, sums[0]))
            self._first_backward(first_sum, sums[0])

    def _activation_backward(self, index: int, conv: Tensor, grad: Tensor, sums: LayerWeights) -> Tensor:
        """Through GELU and, in the layer-norm family, the norm."""
        if self.group_norm:
            return gelu_backward(grad, conv)
        layer = self.layers[index]
        normed, mean, rstd = torch.native_layer_norm(conv, conv.shape[1:], layer.gain, layer.shift, self.eps)
        return norm_backward(gelu_backward(grad, normed), conv, mean, rstd, layer, sums)

    def _first_backward(self, grad_first: Tensor, sums: LayerWeights) -> None:
        """Add the gradients of layer 0's parameters, from that of its folded kernel (k + 1, C)."""
        if self.folded is None:
            sums.matrix.add_(grad_first[:-1])
            if sums.bias is not None:
                sums.bias.add_(grad_first[-1])
            return
        self.folded.add_gradients(grad_first, sums)


class ConvStack(torch.autograd.Function):
    """(waveforms (B, S), lengths, architecture, moments, *parameters) -> packed features (N, C).

    There is no gradient to the waveform. With ``moments`` of other audio, one for each utterance, the group norm is a
    constant, and there is no gradient at all.
    """

    @staticmethod
    def forward(
        ctx: Any,
        waveforms: Tensor,
        lengths: list[int],
        architecture: Architecture,
        moments: Sequence[WindowMoments] | None,
        *parameters: Tensor | None,
    ) -> Tensor:
        layers = layer_weights(parameters)
        frames = [architecture.frame_length(length) for length in lengths]
        out = waveforms.new_empty(sum(frames), layers[-1].matrix.shape[1])
        ctx.lengths, ctx.frames, ctx.architecture, ctx.kept = lengths, frames, architecture, []
        ctx.half = in_half()
        differentiable = any(ctx.needs_input_grad[4:]) and moments is None
        given: Sequence[WindowMoments | None] = moments or [None] * len(lengths)
        for row, length, part, own in zip(waveforms, lengths, out.split(frames), given, strict=True):
            if not len(part):
                continue
            kept = _Utterance(row[:length], layers, architecture, own).forward(part, keep=differentiable)
            if differentiable:
                ctx.kept.extend(kept)
        ctx.save_for_backward(waveforms, *parameters)
        if moments is not None:
            ctx.mark_non_differentiable(out)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        waveforms, *parameters = ctx.saved_tensors
        layers = layer_weights(parameters)
        sums = [layer.zeros() for layer in layers]
        depth = len(layers) - 1
        kept = iter(ctx.kept[i : i + depth] for i in range(0, len(ctx.kept), depth))
        for row, length, grad in zip(waveforms, ctx.lengths, grads[0].split(ctx.frames), strict=True):
            if len(grad):
                with half_products(ctx.half):
                    _Utterance(row[:length], layers, ctx.architecture).backward(grad, next(kept), sums)
        ctx.kept.clear()
        return (None, None, None, None, *parameter_gradients(parameters, sums))
