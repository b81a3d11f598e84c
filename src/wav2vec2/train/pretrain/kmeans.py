"""k-means by Lloyd's algorithm with k-means++ seeding, in torch, on any device.

Legend: N points, D dimensions, K clusters.
"""

import torch
from torch import Tensor

_CHUNK = 8192


def fit_centroids(points: Tensor, clusters: int, *, iterations: int, seed: int) -> Tensor:
    """Centroids (K, D) of points (N, D): at most ``iterations`` passes, fewer when no point changes its cluster.

    A function of the points, their order and ``seed``. Raises ValueError for fewer points than clusters.
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
        # a cluster without points starts again from the worst served ones
        centroids[empty] = points[distance.topk(len(empty)).indices]
    return centroids


def nearest_centroids(points: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """(N,) index of the nearest centroid, and the squared distance to it."""
    norms, parts = centroids.square().sum(1), []
    for chunk in points.split(_CHUNK):
        parts.append((norms - 2 * chunk @ centroids.T).min(1))
    nearest = torch.cat([part.indices for part in parts])
    distance = torch.cat([part.values for part in parts]) + points.square().sum(1)
    return nearest, distance.clamp_min(0)


def _spread_seeds(points: Tensor, clusters: int, generator: torch.Generator) -> Tensor:
    """k-means++: each seed is drawn with a probability proportional to its squared distance to the seeds before."""
    first = int(torch.randint(len(points), (), generator=generator))
    seeds = [points[first]]
    distance = (points - seeds[0]).square().sum(1)
    for draw in torch.rand(clusters - 1, generator=generator, dtype=torch.float64).tolist():
        total = distance.double().cumsum(0)
        place = int(torch.searchsorted(total, draw * total[-1], right=True))
        seeds.append(points[min(place, len(points) - 1)])
        distance = torch.minimum(distance, (points - seeds[-1]).square().sum(1))
    return torch.stack(seeds)
