"""Grouped convolution of packed frames in the frequency domain, by overlap-save.

Each utterance is cut into overlapping blocks of 256 frames, and one complex matrix product for each frequency and group
serves all blocks of the batch. For the positional convolution of the paper (kernel 128, 16 groups) that is some forty
times fewer multiplications than the sum over taps.

Legend: N packed frames, C channels, G groups, c channels of a group (C / G), K kernel, F frequencies, R blocks.
"""

from typing import Any

import torch
from torch import Tensor

from wav2vec2.model.layout import Packed


class OverlapSave(torch.autograd.Function):
    """y[t] = sum_k w[k] x[t + k - K // 2] over each utterance's frames: x (N, C), w (C, c, K) -> (N, C)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, groups: int, layout: Packed) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.groups, ctx.layout = groups, layout
        return convolve(x, weight_spectrum(weight, groups).conj(), weight.shape[2], layout)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        kernel = weight.shape[2]
        left = kernel // 2
        blocks = _Blocks(kernel, ctx.groups, ctx.layout)
        spectrum = blocks.spectrum(grads[0], kernel - 1 - left)
        weights = weight_spectrum(weight, ctx.groups)
        grad_x = grad_weight = None
        if ctx.needs_input_grad[0]:
            grad_x = blocks.frames(torch.bmm(spectrum, weights.transpose(1, 2)), kernel - 1, x)
        if ctx.needs_input_grad[1]:
            outputs = blocks.spectrum(grads[0], 0, hop_only=True)
            grad_weight = blocks.weight_gradient(blocks.spectrum(x, left), outputs, weight)
        return grad_x, grad_weight, None, None


def convolve(x: Tensor, spectrum: Tensor, kernel: int, layout: Packed) -> Tensor:
    """What `OverlapSave` gives, from the conjugate of `weight_spectrum`; outside of autograd."""
    blocks = _Blocks(kernel, spectrum.shape[0] // (_block_size(kernel) // 2 + 1), layout)
    return blocks.frames(torch.bmm(blocks.spectrum(x, kernel // 2), spectrum), 0, x)


def weight_spectrum(weight: Tensor, groups: int) -> Tensor:
    """(C, c, K) -> (F * G, c in, c out)."""
    spectrum = torch.fft.rfft(weight, n=_block_size(weight.shape[2]))
    out, inside, frequencies = spectrum.shape
    by_group = spectrum.view(groups, out // groups, inside, frequencies)
    return by_group.permute(3, 0, 2, 1).reshape(-1, inside, out // groups)  # type: ignore[no-any-return]


def _block_size(kernel: int) -> int:
    return max(256, 1 << (2 * kernel - 1).bit_length())


class _Blocks:
    """Cuts utterances into overlapping blocks, and turns frames into (F * G, R, c) spectra and back."""

    def __init__(self, kernel: int, groups: int, layout: Packed) -> None:
        self.kernel, self.groups, self.layout = kernel, groups, layout
        self.size = _block_size(kernel)
        self.hop = self.size - kernel + 1
        self.counts = [-(-length // self.hop) for length in layout.lengths]

    def spectrum(self, x: Tensor, left: int, *, hop_only: bool = False) -> Tensor:
        """Spectra of the blocks of x (N, C), each utterance with ``left`` zeros before it.

        Block b holds frames [b * hop - left, b * hop - left + size); with ``hop_only`` all after the first hop is zero.
        """
        channels = x.shape[1]
        buffer = x.new_zeros(sum(self.counts), self.size, channels)
        first = 0
        for rows, count in zip(self.layout.slices, self.counts, strict=True):
            utterance = x[rows]
            for block in range(count):
                start = block * self.hop - left
                stop = min(start + (self.hop if hop_only else self.size), len(utterance))
                if stop > max(start, 0):
                    buffer[first + block, max(-start, 0) : stop - start] = utterance[max(start, 0) : stop]
            first += count
        spectrum = torch.fft.rfft(buffer, dim=1)
        shape = (len(buffer), self.size // 2 + 1, self.groups, channels // self.groups)
        return spectrum.view(shape).permute(1, 2, 0, 3).reshape(-1, len(buffer), shape[3])  # type: ignore[no-any-return]

    def frames(self, spectrum: Tensor, skip: int, like: Tensor) -> Tensor:
        """Inverse transform; frames [skip, skip + hop) of every block, joined as (N, C)."""
        rows, channels = spectrum.shape[1], spectrum.shape[2]
        blocks = spectrum.view(-1, self.groups, rows, channels).permute(2, 0, 1, 3).reshape(rows, -1, like.shape[1])
        frames = torch.fft.irfft(blocks, n=self.size, dim=1)
        out = torch.empty_like(like, memory_format=torch.contiguous_format)
        first = 0
        for target, count in zip(self.layout.slices, self.counts, strict=True):
            for block, part in enumerate(out[target].split(self.hop) if count else ()):
                part.copy_(frames[first + block, skip : skip + len(part)])
            first += count
        return out

    def weight_gradient(self, inputs: Tensor, outputs: Tensor, weight: Tensor) -> Tensor:
        """Correlate the inputs' blocks with the output gradients' hops: (C, c, K)."""
        product = torch.bmm(inputs.transpose(1, 2), outputs.conj())
        inside, out = product.shape[1:]
        by_group = product.view(-1, self.groups, inside, out).permute(1, 3, 2, 0)
        return torch.fft.irfft(by_group, n=self.size)[..., : self.kernel].reshape(weight.shape)  # type: ignore[no-any-return]
