"""k-means clusters, and the mel-frequency cepstra that they may be clusters of.

k-means is Lloyd's algorithm with k-means++ seeding, in torch, on any device. Cepstra are computed for exactly the
frames of the feature encoder.

Legend: B utterances, S samples, T frames, M mel bands, N points, D dimensions (cepstra with their slopes), K clusters.
"""

import math
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.model.architecture import Architecture

_CHUNK = 8192
MEL_BANDS = 40
COEFFICIENTS = 13
SIZE = 3 * COEFFICIENTS
"""Coefficients, their slopes, and the slopes of these slopes."""
_SLOPE_REACH = 2
_LOWEST, _FLOOR = 20.0, 1e-10
_SILENT = 1e-3  # larger than the rounding error of a constant coefficient, far smaller than the deviation in any sound


@torch.no_grad()
def cepstra(waveforms: Tensor, lengths: Tensor, architecture: Architecture) -> tuple[Tensor, Tensor]:
    """(B, S) audio -> (B, T, 39) cepstra with mean 0 and variance 1 in each utterance, and frame lengths (B,).

    Frames are those of the feature encoder: frame t starts at sample t times the stride and is as long as the receptive
    field. Padding has no influence; frames beyond the end of an utterance are zero.
    """
    field, stride = architecture.receptive_field, architecture.stride
    frame_lengths = ((lengths - field) // stride + 1).clamp_min(0)
    window, bands, cosines = _tables(field, waveforms.device)
    # at least one frame, as in the feature encoder
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
    """(B, T, D) regression slopes over two frames on each side; the first and the last frame are repeated."""
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
    """Window (field,), triangular mel bands (bins, M) and cosines (M, D/3) for frames of ``field`` samples."""
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


def fit_centroids(points: Tensor, clusters: int, *, iterations: int, seed: int) -> Tensor:
    """(K, D) centroids of points (N, D), a function of the points, their order and ``seed``.

    There are at most ``iterations`` passes, fewer if no point changes its cluster any more.

    Raises:
        ValueError: there are fewer points than clusters.
    """
    if len(points) < clusters:
        raise ValueError(f"{len(points)} points for {clusters} clusters")
    generator = torch.Generator().manual_seed(seed)
    centroids = _spread_seeds(points, clusters, generator)
    before: Tensor | None = None
    for _ in range(iterations):
        nearest, distance = nearest_centroids(points, centroids)
        if before is not None and torch.equal(nearest, before):
            break
        before = nearest
        counts = torch.bincount(nearest, minlength=clusters)
        sums = torch.zeros_like(centroids).index_add_(0, nearest, points)
        centroids = torch.where(counts[:, None] > 0, sums / counts.clamp_min(1)[:, None], centroids)
        empty = (counts == 0).nonzero().flatten()
        # a cluster without points starts anew from one of the points that are farthest from their centroids
        centroids[empty] = points[distance.topk(len(empty)).indices]
    return centroids


def nearest_centroids(points: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """(N,) index of the nearest centroid, and (N,) squared distance to it."""
    norms, parts = centroids.square().sum(1), []
    for chunk in points.split(_CHUNK):
        parts.append((norms - 2 * chunk @ centroids.T).min(1))
    nearest = torch.cat([part.indices for part in parts])
    distance = torch.cat([part.values for part in parts]) + points.square().sum(1)
    return nearest, distance.clamp_min(0)


def _spread_seeds(points: Tensor, clusters: int, generator: torch.Generator) -> Tensor:
    """k-means++: draw each seed with a probability proportional to its squared distance to the nearest earlier seed."""
    first = int(torch.randint(len(points), (), generator=generator))
    seeds = [points[first]]
    distance = (points - seeds[0]).square().sum(1)
    for draw in torch.rand(clusters - 1, generator=generator, dtype=torch.float64).tolist():
        total = distance.double().cumsum(0)
        place = int(torch.searchsorted(total, draw * total[-1], right=True))
        seeds.append(points[min(place, len(points) - 1)])
        distance = torch.minimum(distance, (points - seeds[-1]).square().sum(1))
    return torch.stack(seeds)
