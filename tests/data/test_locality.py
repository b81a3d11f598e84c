import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wav2vec2.data.locality import deal_home, homes
from wav2vec2.data.sampler import deal


@settings(max_examples=60)
@given(
    st.integers(1, 4),
    st.integers(1, 4),
    st.lists(st.integers(1, 40), min_size=1, max_size=4),
    st.integers(0, 10**6),
)
def test_the_groups_stay_and_every_rank_gets_one_of_each_run(
    nodes: int, near: int, sizes: list[int], seed: int
) -> None:
    world = nodes * near
    groups = np.append(0, np.cumsum(sizes))
    home = np.random.default_rng(seed).integers(0, nodes, int(groups[-1]))
    shares = [deal_home(groups, home, rank, world, near) for rank in range(world)]
    plain = [deal(groups, rank, world) for rank in range(world)]
    for number, (low, high) in enumerate(itertools.pairwise(groups)):
        parts = [share[number] for share in shares]
        assert sorted(np.concatenate(parts).tolist()) == list(range(low, high))
        for part, other in zip(parts, plain, strict=True):
            assert ((part - low) // world).tolist() == ((other[number] - low) // world).tolist()


def test_most_rows_come_home() -> None:
    nodes, near = 16, 8
    world = nodes * near
    home = np.random.default_rng(0).integers(0, nodes, 60 * world)
    groups = np.arange(0, 60 * world + 1, 6 * world)
    shares = [np.concatenate(deal_home(groups, home, rank, world, near)) for rank in range(world)]
    at_home = sum(int(np.count_nonzero(home[share] == rank // near)) for rank, share in enumerate(shares))
    # of 8 places a node fills min(8, Poisson(8)): 1 - 8^8 exp(-8) / 8! = 86 %
    assert at_home / len(home) == pytest.approx(0.86, abs=0.02)
    dealt = [np.concatenate(deal(groups, rank, world)) for rank in range(world)]
    assert sum(int(np.count_nonzero(home[s] == r // near)) for r, s in enumerate(dealt)) / len(home) < 0.1


def test_a_file_has_one_home() -> None:
    paths = [f"s3://b/shard-{number:06d}.tar" for number in range(2000)]
    found = homes(paths, 7)
    assert np.array_equal(found, homes(paths, 7))
    assert np.bincount(found).min() > 200
