"""Mel-frequency cepstra of exactly the frames that the feature encoder sees, for units that need no earlier model.

Legend: B utterances, S samples, T frames, M mel bands, D cepstra with their slopes.
"""

import math
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from wav2vec2.model.architecture import SAMPLE_RATE, Architecture

MEL_BANDS = 40
COEFFICIENTS = 13
SIZE = 3 * COEFFICIENTS
"""Coefficients, their slopes, and the slopes of those."""
_SLOPE_REACH = 2
_LOWEST, _FLOOR = 20.0, 1e-10
_SILENT = 1e-3  # above the rounding of a constant coefficient, far below the spread of any sound


@torch.no_grad()
def cepstra(waveforms: Tensor, lengths: Tensor, architecture: Architecture) -> tuple[Tensor, Tensor]:
    """(B, S) audio -> (B, T, 39) cepstra of mean 0 and variance 1 in each utterance, and frame lengths (B,).

    Frame t is the feature encoder's: it starts at sample t times the stride and is as long as the receptive field. What
    lies beyond an utterance's end counts for nothing; frames there are zero.
    """
    field, stride = architecture.receptive_field, architecture.stride
    frame_lengths = ((lengths - field) // stride + 1).clamp_min(0)
    window, bands, cosines = _tables(field, waveforms.device)
    # one frame at least, as in the feature encoder
    frames = F.pad(waveforms, (0, max(0, field - waveforms.shape[1]))).unfold(1, field, stride)
    power = torch.fft.rfft(frames * window, n=_transform_size(field)).abs().square()
    coefficients = (power @ bands).clamp_min(_FLOOR).log() @ cosines
    places = torch.arange(frames.shape[1], device=waveforms.device)
    last = (frame_lengths - 1).clamp_min(0)
    slopes = _slopes(coefficients, places, last)
    whole = torch.cat([coefficients, slopes, _slopes(slopes, places, last)], dim=-1)
    valid = (places < frame_lengths[:, None])[:, :, None]
    count = valid.sum(1, keepdim=True).clamp_min(1)
    centred = torch.where(valid, whole - torch.where(valid, whole, 0).sum(1, keepdim=True) / count, 0)
    deviation = (centred.square().sum(1, keepdim=True) / count).sqrt()
    return centred / deviation.clamp_min(_SILENT), frame_lengths


def _slopes(values: Tensor, places: Tensor, last: Tensor) -> Tensor:
    """Regression slopes over two frames each side (B, T, D); an utterance's last frame stands for those beyond it."""
    total = torch.zeros_like(values)
    for reach in range(1, _SLOPE_REACH + 1):
        after = torch.minimum(places + reach, last[:, None])
        before = (places - reach).clamp_min(0).expand_as(after)
        difference = _pick(values, after) - _pick(values, before)
        total += reach * difference
    return total / (2 * sum(reach**2 for reach in range(1, _SLOPE_REACH + 1)))


def _pick(values: Tensor, places: Tensor) -> Tensor:
    return values.gather(1, places[:, :, None].expand_as(values))


def _transform_size(samples: int) -> int:
    return int(2 ** math.ceil(math.log2(samples)))


@cache
def _tables(field: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Window (field,), triangular mel bands (bins, M), and cosines (M, D/3) for frames of so many samples."""
    bins = _transform_size(field) // 2 + 1
    mel = 1127.0 * torch.log1p(torch.linspace(0, SAMPLE_RATE / 2, bins, dtype=torch.float64) / 700.0)
    lowest, highest = 1127.0 * math.log1p(_LOWEST / 700.0), float(mel[-1])
    edges = torch.linspace(lowest, highest, MEL_BANDS + 2, dtype=torch.float64)
    rising = (mel[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - mel[:, None]) / (edges[2:] - edges[1:-1])
    bands = torch.minimum(rising, falling).clamp_min(0)
    band = torch.arange(MEL_BANDS, dtype=torch.float64)[:, None] + 0.5
    cosines = torch.cos(math.pi / MEL_BANDS * band * torch.arange(COEFFICIENTS)) * math.sqrt(2.0 / MEL_BANDS)
    window = torch.hann_window(field, periodic=False, dtype=torch.float64)
    return window.float().to(device), bands.float().to(device), cosines.float().to(device)
