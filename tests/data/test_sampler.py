import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wav2vec2.data.sampler import BatchPlan, Position, crop_starts, deal
from wav2vec2.errors import UserError


def plan(samples: list[int] | np.ndarray, **changes: object) -> BatchPlan:
    options: dict[str, object] = {"batch_samples": 400, "max_samples": 100, "min_samples": 1, "seed": 1} | changes
    return BatchPlan(np.asarray(samples, dtype=np.int64), **options)  # type: ignore[arg-type]


lengths = st.lists(st.integers(1, 300), min_size=1, max_size=120)


@given(lengths, st.integers(0, 3), st.integers(0, 2**40))
@settings(max_examples=60, deadline=None)
def test_an_epoch_reads_every_utterance_once_within_the_budget(samples: list[int], epoch: int, seed: int) -> None:
    p = plan(samples, seed=seed)
    batches = [p.batch(Position(epoch, i)) for i in range(p.batches(epoch))]
    read = np.concatenate([batch.utterances for batch in batches])
    assert sorted(read.tolist()) == list(range(len(samples)))
    for batch in batches:
        assert len(batch.utterances) > 0
        assert batch.samples.sum() <= 400
        assert (np.diff(batch.samples) <= 0).all()
        assert (batch.starts + batch.samples <= np.asarray(samples)[batch.utterances]).all()
        assert (batch.starts >= 0).all()


@given(lengths, st.integers(1, 5), st.integers(1, 300))
@settings(max_examples=80, deadline=None)
def test_dealing_gives_every_row_to_one_rank_in_equally_many_micro_batches(
    samples: list[int], world: int, micro: int
) -> None:
    sizes = np.sort(np.asarray(samples, dtype=np.int64))[::-1]
    shares = [deal(sizes, micro, rank, world) for rank in range(world)]
    assert len({len(share) for share in shares}) == 1
    rows = sorted(int(row) for share in shares for micro_batch in share for row in micro_batch)
    assert rows == list(range(len(samples)))
    for share in shares:
        for micro_batch in share:
            if len(micro_batch) > 1:
                assert len(micro_batch) * sizes[micro_batch].max() <= micro
    if all(len(micro_batch) for share in shares for micro_batch in share):
        firsts = [[int(micro_batch[0]) for micro_batch in share] for share in shares]
        assert all(abs(a - b) < world for a, b in zip(firsts[0], firsts[-1], strict=True))


def test_every_rank_gets_a_row_when_there_are_enough() -> None:
    for share in (deal(np.full(16, 10), 40, rank, 2) for rank in range(2)):
        assert [len(micro_batch) for micro_batch in share] == [4, 4]


def test_the_global_batches_do_not_depend_on_the_number_of_ranks() -> None:
    p = plan(np.arange(1, 90))
    for batch in (p.batch(Position(0, i)) for i in range(p.batches(0))):
        for world in (1, 2, 3):
            rows = np.concatenate([r for rank in range(world) for r in deal(batch.samples, 150, rank, world)])
            assert sorted(batch.utterances[rows].tolist()) == sorted(batch.utterances.tolist())


def test_walking_from_a_saved_position_continues_the_walk() -> None:
    p, walked = plan(np.arange(1, 60)), []
    for batch in p.walk(Position()):
        walked.append(batch)
        if batch.epoch == 2:
            break
    for number in (0, 3, p.batches(0) - 1):
        again = plan(np.arange(1, 60)).walk(walked[number].following)
        for expected in walked[number + 1 :]:
            found = next(again)
            assert found.utterances.tolist() == expected.utterances.tolist()
            assert found.starts.tolist() == expected.starts.tolist()


def test_order_and_crops_differ_between_epochs_and_seeds_and_repeat_otherwise() -> None:
    def read(seed: int, epoch: int) -> list[int]:
        p = plan(np.full(50, 200), seed=seed)
        return [int(x) for i in range(p.batches(epoch)) for x in p.batch(Position(epoch, i)).utterances]

    assert read(1, 0) == read(1, 0)
    assert len({tuple(read(seed, epoch)) for seed in (1, 2) for epoch in (0, 1)}) == 4


def test_crop_starts_cover_the_inclusive_range_evenly() -> None:
    starts = crop_starts(5, 2, np.arange(30_000), np.full(30_000, 9))
    counts = np.bincount(starts, minlength=10)
    assert len(counts) == 10
    assert (abs(counts - 3000) < 250).all()


def test_short_and_long_utterances_are_counted() -> None:
    p = plan([5, 50, 500, 60], min_samples=10, crop=False)
    assert (p.too_short, p.too_long, len(p)) == (1, 1, 2)


def test_nothing_left_or_a_budget_below_an_utterance_is_a_user_error() -> None:
    with pytest.raises(UserError, match="no utterance is left"):
        plan([5], min_samples=10)
    with pytest.raises(UserError, match="less than the longest"):
        plan([500], max_samples=None)


def test_a_small_rest_shares_with_the_batch_before_it() -> None:
    p = plan([100] * 9, jitter=0.0)
    assert sorted(len(p.batch(Position(0, i)).utterances) for i in range(p.batches(0))) == [2, 3, 4]


def test_planning_a_million_utterances_is_fast_and_resuming_costs_nothing() -> None:
    samples = np.random.default_rng(0).integers(16_000, 320_000, 1_000_000)
    p = BatchPlan(samples, batch_samples=5760 * 16_000, max_samples=250_000, min_samples=32_000, seed=1)
    began = time.perf_counter()
    p.batch(Position(3, 1000))
    planned = time.perf_counter() - began
    began = time.perf_counter()
    p.batch(Position(3, 20))
    assert planned < 10
    assert time.perf_counter() - began < 0.2
