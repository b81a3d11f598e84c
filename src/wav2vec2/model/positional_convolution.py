"""Relative positional embedding by a grouped convolution (section 2, "Contextualized representations").

Kernel 128 over 16 groups, weight-normalised per kernel tap. On eager CPU the convolution runs in the frequency domain
by overlap-save: blocks of 256 frames, one complex matrix product a frequency and group for all blocks of the batch,
which needs some forty times fewer multiplications than the sum over taps.

Legend: N packed frames, T frames, C channels, G groups, c channels of a group (C / G), K kernel, F frequencies, R
blocks.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wav2vec2.model.cpu.gelu import Gelu
from wav2vec2.model.layout import Layout, Packed


class PositionalConvolution(nn.Module):
    """x (frames, C) -> GELU(conv(x)), of the same shape; frames beyond an utterance's end count as zeros."""

    def __init__(self, channels: int, kernel: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        weight = torch.empty(channels, channels // groups, kernel).normal_(0.0, (4.0 / (kernel * channels)) ** 0.5)
        self.weight_g = nn.Parameter(weight.norm(dim=(0, 1), keepdim=True))
        self.weight_v = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(channels))

    @property
    def weight(self) -> Tensor:
        """(C, c, K), one learned length a kernel tap."""
        return self.weight_v * (self.weight_g / self.weight_v.norm(dim=(0, 1), keepdim=True))  # type: ignore[no-any-return]

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """X in either layout; see the class."""
        if isinstance(layout, Packed):
            if not layout.frames:  # only recordings below the receptive field; a Fourier transform needs something
                return x
            y = OverlapSave.apply(x, self.weight, self.groups, layout)  # type: ignore[no-untyped-call]
            return Gelu.apply(y + self.bias)  # type: ignore[no-any-return,no-untyped-call]
        kernel = self.weight_v.shape[2]
        x = torch.where(layout.valid[:, :, None], x, 0).transpose(1, 2)
        y = F.conv1d(x, self.weight.to(x.dtype), self.bias, padding=kernel // 2, groups=self.groups)
        # an even kernel gives one frame too many: the last is dropped
        return F.gelu(y[:, :, : x.shape[2]].transpose(1, 2))


class StackedPositionalConvolution(nn.Module):
    """The variant with ``depth`` short convolutions: each is followed by a layer norm without parameters and GELU.

    Their kernel is the given one divided by ``depth``, at least 3; none is weight-normalised. Frames beyond an
    utterance's end count as zeros before every convolution.
    """

    def __init__(self, channels: int, kernel: int, groups: int, depth: int) -> None:
        super().__init__()
        short = max(3, kernel // depth)
        self.layers = nn.ModuleList(
            nn.Conv1d(channels, channels, short, padding=short // 2, groups=groups) for _ in range(depth)
        )

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """X in either layout."""
        y = layout.pad(x)
        frames = y.shape[1]
        if not frames:  # only recordings below the receptive field
            return x
        lengths = torch.as_tensor(layout.lengths, device=x.device)
        valid = (torch.arange(frames, device=x.device) < lengths[:, None])[:, :, None]
        for conv in self.layers:
            # an even kernel gives one frame too many: the last is dropped
            y = conv(torch.where(valid, y, 0).transpose(1, 2))[:, :, :frames].transpose(1, 2)
            y = F.gelu(F.layer_norm(y, y.shape[-1:]))
        return layout.pack(y)


class OverlapSave(torch.autograd.Function):
    """Grouped correlation y[t] = sum_k w[k] x[t + k - K // 2] of packed frames, in the frequency domain."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, groups: int, layout: Packed) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.groups, ctx.layout = groups, layout
        plan = _Plan(weight.shape[2], groups, layout)
        left = weight.shape[2] // 2
        product = torch.bmm(plan.spectrum(x, left), plan.weight_spectrum(weight).conj())
        return plan.collect(product, 0, x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        kernel = weight.shape[2]
        left = kernel // 2
        plan = _Plan(kernel, ctx.groups, ctx.layout)
        spectrum = plan.spectrum(grads[0], kernel - 1 - left)
        weights = plan.weight_spectrum(weight)
        grad_x = grad_weight = None
        if ctx.needs_input_grad[0]:
            grad_x = plan.collect(torch.bmm(spectrum, weights.transpose(1, 2)), kernel - 1, x)
        if ctx.needs_input_grad[1]:
            outputs = plan.spectrum(grads[0], 0, hop_only=True)
            grad_weight = plan.weight_gradient(plan.spectrum(x, left), outputs, weight)
        return grad_x, grad_weight, None, None


class _Plan:
    """Cuts utterances into overlapping blocks and goes to and fro between frames and (F * G, R, c) spectra."""

    def __init__(self, kernel: int, groups: int, layout: Packed) -> None:
        self.kernel, self.groups, self.layout = kernel, groups, layout
        self.size = max(256, 1 << (2 * kernel - 1).bit_length())
        self.hop = self.size - kernel + 1
        self.blocks = [-(-length // self.hop) for length in layout.lengths]

    def spectrum(self, x: Tensor, left: int, *, hop_only: bool = False) -> Tensor:
        """Spectra of the blocks of x (N, C), each utterance shifted right by ``left`` zeros.

        Block b holds frames [b * hop - left, b * hop - left + size); with ``hop_only`` the rest after its hop is zero.
        """
        channels = x.shape[1]
        buffer = x.new_zeros(sum(self.blocks), self.size, channels)
        first = 0
        for rows, blocks in zip(self.layout.slices, self.blocks, strict=True):
            utterance = x[rows]
            for block in range(blocks):
                start = block * self.hop - left
                stop = min(start + (self.hop if hop_only else self.size), len(utterance))
                if stop > max(start, 0):
                    buffer[first + block, max(-start, 0) : stop - start] = utterance[max(start, 0) : stop]
            first += blocks
        spectrum = torch.fft.rfft(buffer, dim=1)
        shape = (len(buffer), self.size // 2 + 1, self.groups, channels // self.groups)
        return spectrum.view(shape).permute(1, 2, 0, 3).reshape(-1, len(buffer), shape[3])  # type: ignore[no-any-return]

    def weight_spectrum(self, weight: Tensor) -> Tensor:
        """(C, c, K) -> (F * G, c in, c out)."""
        spectrum = torch.fft.rfft(weight, n=self.size)
        out, inside, frequencies = spectrum.shape
        by_group = spectrum.view(self.groups, out // self.groups, inside, frequencies)
        return by_group.permute(3, 0, 2, 1).reshape(-1, inside, out // self.groups)  # type: ignore[no-any-return]

    def collect(self, spectrum: Tensor, skip: int, like: Tensor) -> Tensor:
        """Inverse transform; frames [skip, skip + hop) of every block, put together as (N, C)."""
        rows, channels = spectrum.shape[1], spectrum.shape[2]
        blocks = spectrum.view(-1, self.groups, rows, channels).permute(2, 0, 1, 3).reshape(rows, -1, like.shape[1])
        frames = torch.fft.irfft(blocks, n=self.size, dim=1)
        out = torch.empty_like(like, memory_format=torch.contiguous_format)
        first = 0
        for target, count in zip(self.layout.slices, self.blocks, strict=True):
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
