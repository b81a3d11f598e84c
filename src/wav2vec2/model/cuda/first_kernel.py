"""Triton kernels: an affine map of each window of a waveform and its GELU, and the gradient of that map.

Every utterance has its own map, (k + 1, C): the first convolution with the group norm folded in. Sums are float32.

Legend: B utterances, S samples, R rows (windows) of an utterance, C channels, K kernel, STRIDE stride.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

_ROWS, _CHANNELS = 64, 64
"""Rows and channels of one block."""
_TAPS = 16
"""Taps and offset, filled up to what a product of blocks needs."""
_BLOCKS = 16
"""Blocks of rows that one program of the backward pass sums up."""


@triton.jit
def _affine(wave, kernel, rows, columns, inside, channels, K: tl.constexpr, STRIDE: tl.constexpr):
    """The map for a block of rows and channels."""
    offset = tl.load(kernel + K * channels + columns, mask=inside, other=0.0)
    x = tl.zeros((rows.shape[0], columns.shape[0]), tl.float32) + offset[None, :]
    for tap in tl.static_range(K):
        sample = tl.load(wave + rows * STRIDE + tap)
        weight = tl.load(kernel + tap * channels + columns, mask=inside, other=0.0)
        x += sample[:, None] * weight[None, :]
    return x


# In both kernels a block's own place is a 64-bit number, and places within it are 32-bit ones: registers are few.


@triton.jit
def _forward(
    wave, kernel, out, samples, row_count, channels,
    K: tl.constexpr, STRIDE: tl.constexpr, ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    utterance = tl.program_id(2).to(tl.int64)
    first = tl.program_id(0) * ROWS
    rows, columns = tl.arange(0, ROWS), tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    real, inside = rows < row_count - first, columns < channels
    kept = tl.minimum(rows, row_count - 1 - first)
    kernel += utterance * (K + 1) * channels
    x = _affine(wave + utterance * samples + first * STRIDE, kernel, kept, columns, inside, channels, K, STRIDE)
    y = 0.5 * x * (1.0 + tl.erf(x * 0.7071067811865476))
    place = out + (utterance * row_count + first) * channels + (rows[:, None] * channels + columns[None, :])
    tl.store(place, y.to(out.dtype.element_ty), mask=real[:, None] & inside[None, :])


@triton.jit
def _backward(
    wave, kernel, grad, sums, samples, row_count, channels, parts,
    K: tl.constexpr, STRIDE: tl.constexpr, ROWS: tl.constexpr, CHANNELS: tl.constexpr, TAPS: tl.constexpr,
    BLOCKS: tl.constexpr,
):  # fmt: skip
    utterance, part = tl.program_id(2).to(tl.int64), tl.program_id(0)
    rows, columns = tl.arange(0, ROWS), tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    inside, taps = columns < channels, tl.arange(0, TAPS)
    kernel += utterance * (K + 1) * channels
    total = tl.zeros((TAPS, CHANNELS), tl.float32)
    for block in range(BLOCKS):
        first = tl.minimum((part * BLOCKS + block) * ROWS, row_count - 1)
        # a block beyond the last row has no real one
        real = rows < row_count - (part * BLOCKS + block) * ROWS
        kept = tl.minimum(rows, row_count - 1 - first)
        here = wave + utterance * samples + first * STRIDE
        x = _affine(here, kernel, kept, columns, inside, channels, K, STRIDE)
        place = grad + (utterance * row_count + first) * channels + (kept[:, None] * channels + columns[None, :])
        arriving = tl.load(place, mask=real[:, None] & inside[None, :], other=0.0).to(tl.float32)
        below = 0.5 * (1.0 + tl.erf(x * 0.7071067811865476))
        slope = below + x * 0.3989422804014327 * tl.exp(-0.5 * x * x)
        windows = tl.load(here + kept[None, :] * STRIDE + taps[:, None], mask=(taps < K)[:, None], other=0.0)
        windows = tl.where((taps == K)[:, None], 1.0, windows)
        total += tl.dot(windows, arriving * slope, input_precision="ieee")
    place = sums + (utterance * parts + part) * TAPS * channels + (taps[:, None] * channels + columns[None, :])
    tl.store(place, total, mask=inside[None, :])


def forward(waveforms: Tensor, kernels: Tensor, stride: int, rows: int, dtype: torch.dtype) -> Tensor:
    """(B, S) waveforms, of which R windows are used, and maps (B, k + 1, C) -> GELU of the map, (B * R, C)."""
    batch, taps, channels = kernels.shape
    out = torch.empty(batch * rows, channels, dtype=dtype, device=waveforms.device)
    grid = (triton.cdiv(rows, _ROWS), triton.cdiv(channels, _CHANNELS), batch)
    with torch.cuda.device_of(waveforms):
        _forward[grid](
            waveforms, kernels.contiguous(), out, waveforms.shape[1], rows, channels,
            K=taps - 1, STRIDE=stride, ROWS=_ROWS, CHANNELS=_CHANNELS,
        )  # fmt: skip
    return out


def backward(waveforms: Tensor, kernels: Tensor, stride: int, grad: Tensor) -> Tensor:
    """(B, k + 1, C) float32: gradient of the maps, from that of the result (B, R, C)."""
    batch, rows, channels = grad.shape
    taps = kernels.shape[1]
    if taps > _TAPS:
        raise ValueError(f"the kernel has at most {_TAPS - 1} taps, not {taps - 1}")
    parts = triton.cdiv(rows, _ROWS * _BLOCKS)
    sums = torch.empty(batch, parts, _TAPS, channels, dtype=torch.float32, device=waveforms.device)
    with torch.cuda.device_of(waveforms):
        _backward[(parts, triton.cdiv(channels, _CHANNELS), batch)](
            waveforms, kernels.contiguous(), grad.contiguous(), sums, waveforms.shape[1], rows, channels, parts,
            K=taps - 1, STRIDE=stride, ROWS=_ROWS, CHANNELS=_CHANNELS, TAPS=_TAPS, BLOCKS=_BLOCKS,
        )  # fmt: skip
    return sums.sum(1)[:, :taps]
