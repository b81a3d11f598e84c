"""k-means finds clusters and leaves none empty.

Cepstra equal a plain NumPy computation, on the encoder's frames, whatever the padding and the loudness.
"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.train.tiny_run import hum

from wav2vec2.model.architecture import Architecture
from wav2vec2.train.pretrain.clusters import COEFFICIENTS, SIZE, cepstra, fit_centroids, nearest_centroids

BASE = Architecture()


def batch(*waves: NDArray[np.float32]) -> tuple[torch.Tensor, torch.Tensor]:
    padded = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(wave) for wave in waves], batch_first=True)
    return padded, torch.tensor([len(wave) for wave in waves])


def by_the_book(wave: NDArray[np.float32]) -> NDArray[np.float64]:
    """Static coefficients, frame by frame and sum by sum."""
    mel = lambda hertz: 1127.0 * np.log(1.0 + hertz / 700.0)  # noqa: E731
    edges = np.linspace(mel(20.0), mel(8000.0), 42)
    points = mel(np.arange(257) * 16000 / 512)
    rows = []
    for start in range(0, len(wave) - 399, 320):
        power = np.abs(np.fft.rfft(wave[start : start + 400].astype(float) * np.hanning(400), 512)) ** 2
        energies = [
            sum(
                p
                * max(
                    0.0,
                    min((m - edges[k]) / (edges[k + 1] - edges[k]), (edges[k + 2] - m) / (edges[k + 2] - edges[k + 1])),
                )
                for m, p in zip(points, power, strict=True)
            )
            for k in range(40)
        ]
        logs = np.log(np.maximum(energies, 1e-10))
        rows.append([np.sqrt(2 / 40) * sum(logs * np.cos(np.pi * i * (np.arange(40) + 0.5) / 40)) for i in range(13)])
    static = np.array(rows)
    last = len(static) - 1

    def slopes(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.array(
            [sum(n * (values[min(t + n, last)] - values[max(t - n, 0)]) for n in (1, 2)) / 10 for t in range(last + 1)]
        )

    whole = np.concatenate([static, slopes(static), slopes(slopes(static))], axis=1)
    return (whole - whole.mean(0)) / whole.std(0)


def test_the_numbers_are_those_of_the_definition() -> None:
    wave = hum(3, 9_000) + 0.01 * np.random.default_rng(0).standard_normal(9_000).astype(np.float32)
    found, lengths = cepstra(*batch(wave), BASE)
    assert lengths.tolist() == [BASE.frame_length(9_000)]
    np.testing.assert_allclose(found[0].numpy(), by_the_book(wave), atol=2e-3)


@settings(max_examples=20, deadline=None)
@given(samples=st.lists(st.integers(400, 12_000), min_size=1, max_size=4), gain=st.sampled_from([0.1, 1.0, 8.0]))
def test_neither_padding_nor_loudness_matter(samples: list[int], gain: float) -> None:
    noise = np.random.default_rng(1)
    waves = [noise.standard_normal(size).astype(np.float32) for size in samples]
    together, lengths = cepstra(*batch(*waves), BASE)
    assert together.shape[2] == SIZE == 3 * COEFFICIENTS
    for row, wave in enumerate(waves):
        alone, (length,) = cepstra(*batch(wave * np.float32(gain)), BASE)
        assert length == lengths[row] == BASE.frame_length(len(wave))
        torch.testing.assert_close(together[row, :length], alone[0], atol=5e-3, rtol=0)
        assert not together[row, length:].any()


@pytest.mark.parametrize("samples", [1, 400, 5_000])
def test_silence_is_zero(samples: int) -> None:
    found, _ = cepstra(torch.zeros(1, samples), torch.tensor([samples]), BASE)
    assert found.abs().max() < 0.05


def test_kmeans_finds_separate_clusters() -> None:
    generator = torch.Generator().manual_seed(0)
    middles = torch.randn(7, 5, generator=generator) * 20
    labels = torch.randint(7, (700,), generator=generator)
    points = middles[labels] + 0.1 * torch.randn(700, 5, generator=generator)
    centroids = fit_centroids(points, 7, iterations=20, seed=1)
    nearest, distance = nearest_centroids(points, centroids)
    assert len(torch.stack([labels, nearest], 1).unique(dim=0)) == 7
    assert distance.max() < 1
    assert torch.equal(centroids, fit_centroids(points, 7, iterations=20, seed=1))


def test_kmeans_serves_no_empty_cluster_and_refuses_too_few_points() -> None:
    points = torch.cat([torch.zeros(50, 2), torch.ones(3, 2), torch.full((1, 2), 5.0)])
    centroids = fit_centroids(points, 3, iterations=10, seed=0)
    assert sorted(nearest_centroids(points, centroids)[0].bincount(minlength=3).tolist()) == [1, 3, 50]
    with pytest.raises(ValueError, match="2 points for 3 clusters"):
        fit_centroids(points[:2], 3, iterations=10, seed=0)
