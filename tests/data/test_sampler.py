import hashlib
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wav2vec2.data.batch_plan import BatchPlan, _cut
from wav2vec2.data.sampler import GlobalBatch, Position, deal, group_bounds
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


def shares(samples: list[int] | np.ndarray, micro: float, world: int) -> list[list[list[int]]]:
    """Rows of each micro-batch of each rank, of rows sorted from long to short."""
    sizes = np.sort(np.asarray(samples, dtype=np.int64))[::-1]
    groups = group_bounds(sizes, round(micro * world))
    return [[part.tolist() for part in deal(groups, rank, world)] for rank in range(world)]


@given(lengths, st.integers(1, 5), st.integers(1, 300))
@settings(max_examples=80, deadline=None)
def test_dealing_gives_every_row_to_one_rank_in_equally_many_micro_batches(
    samples: list[int], world: int, micro: int
) -> None:
    sizes = sorted(samples, reverse=True)
    dealt = shares(samples, micro, world)
    assert len({len(share) for share in dealt}) == 1
    rows = sorted(row for share in dealt for micro_batch in share for row in micro_batch)
    assert rows == list(range(len(samples)))
    for group in zip(*dealt, strict=True):
        together = [row for micro_batch in group for row in micro_batch]
        if len(together) > 1:
            assert len(together) * max(sizes[row] for row in together) <= micro * world
        for micro_batch in filter(None, group):
            assert (len(micro_batch) - 1) * max(sizes[row] for row in micro_batch) < micro
    if all(len(micro_batch) for share in dealt for micro_batch in share):
        firsts = [[micro_batch[0] for micro_batch in share] for share in dealt]
        assert all(abs(a - b) < world for a, b in zip(firsts[0], firsts[-1], strict=True))


@given(lengths, st.sampled_from([2.2, 3.4, 120.0, 250.5, 999.0]))
@settings(max_examples=40, deadline=None)
def test_groups_are_the_same_for_any_number_of_ranks_that_hold_as_much_together(
    samples: list[int], together: float
) -> None:
    def groups(world: int) -> list[list[int]]:
        dealt = shares(samples, together / world, world)
        return [sorted(row for part in parts for row in part) for parts in zip(*dealt, strict=True)]

    assert groups(1) == groups(2) == groups(3) == groups(4) == groups(64)


def test_every_rank_gets_a_row_when_there_are_enough() -> None:
    for share in shares(np.full(16, 10), 40, 2):
        assert [len(micro_batch) for micro_batch in share] == [4, 4]


def test_the_global_batches_do_not_depend_on_the_number_of_ranks() -> None:
    one = epoch_batches(plan(np.arange(1, 90), group_samples=150))
    for world in (2, 3):
        for expected, batch in zip(one, epoch_batches(plan(np.arange(1, 90), group_samples=150 * world)), strict=True):
            assert batch.utterances.tolist() == expected.utterances.tolist()
            assert batch.starts.tolist() == expected.starts.tolist()
            assert len(batch.groups) <= len(expected.groups)
    assert all(len(batch.groups) == 2 for batch in epoch_batches(plan(np.full(90, 70))))


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


def test_an_epoch_is_planned_once_for_all_its_batches() -> None:
    p = plan([100] * 1000, batch_samples=500)
    planned: list[int] = []
    make = p._epochs._make
    p._epochs._make = lambda epoch: (planned.append(epoch), make(epoch))[1]
    for epoch, number in ((3, 100), (3, 20), (4, 20), (4, 21)):
        p.batch(Position(epoch, number))
        p.batches(3)  # what the log line of an update asks for, after the loader has gone on
    assert planned == [3, 4]


def epoch_batches(p: BatchPlan, epoch: int = 0) -> list[GlobalBatch]:
    return [p.batch(Position(epoch, number)) for number in range(p.batches(epoch))]


@pytest.mark.parametrize(
    ("length", "jitter"),
    [(100, 0.0), (100, 0.1), (250, 0.0)],  # without jitter, and crops of one length
)
def test_utterances_of_equal_length_are_shuffled(length: int, jitter: float) -> None:
    """A manifest lists a speaker's utterances one after the other: batches must not."""
    speaker = np.repeat(np.arange(20), 20)
    p = plan(np.full(400, length), jitter=jitter)
    batches = epoch_batches(p)
    speakers = [len(set(speaker[batch.utterances].tolist())) for batch in batches]
    assert np.mean(speakers) > 3.5  # of 4 utterances
    neighbours = [abs(int(a) - int(b)) for batch in batches for a, b in itertools.pairwise(np.sort(batch.utterances))]
    assert np.mean(neighbours) > 40


@given(st.integers(0, 2**40))
@settings(max_examples=20, deadline=None)
def test_each_epoch_and_seed_has_batches_of_its_own(seed: int) -> None:
    def groups(seed: int, epoch: int, jitter: float) -> set[frozenset[int]]:
        p = plan(np.arange(100, 300), batch_samples=1200, max_samples=None, seed=seed, jitter=jitter)
        return {frozenset(batch.utterances.tolist()) for batch in epoch_batches(p, epoch)}

    first = groups(seed, 0, 0.1)
    assert len(first & groups(seed, 1, 0.1)) < len(first) / 2
    assert len(first & groups(seed + 1, 0, 0.1)) < len(first) / 2
    assert groups(seed, 0, 0.0) == groups(seed + 1, 5, 0.0)  # all lengths differ: only jitter mixes the batches anew


def test_a_plan_is_a_function_of_seed_and_epoch() -> None:
    def read(p: BatchPlan, epoch: int) -> list[tuple[list[int], list[int]]]:
        return [(batch.utterances.tolist(), batch.starts.tolist()) for batch in epoch_batches(p, epoch)]

    samples = np.random.default_rng(0).integers(50, 300, 90)
    expected = [read(plan(samples), epoch) for epoch in range(4)]
    p = plan(samples)
    for epoch in (2, 0, 3, 3, 1, 0):  # whatever was planned before
        assert read(p, epoch) == expected[epoch]


def test_the_order_of_the_data_stays_what_it_was() -> None:
    """Runs that are resumed after an update of this package read on where they stopped."""
    p = plan([60, 250, 130, 100, 90, 310, 75, 120, 180, 99], seed=7)
    batches = epoch_batches(p, 3)
    assert [batch.utterances.tolist() for batch in batches] == [[1, 8], [7, 3, 5, 9], [2, 4, 6, 0]]
    assert [batch.starts.tolist() for batch in batches] == [[9, 15], [13, 0, 200, 0], [23, 0, 0, 0]]
    digest = hashlib.sha256()
    for batch in epoch_batches(plan(np.arange(1, 901) * 7_919 % 301 + 50, max_samples=250, seed=7), 5):
        digest.update(f"{batch.utterances.tolist()} {batch.starts.tolist()}".encode())
    assert digest.hexdigest()[:16] == "0f807bd7bae8e5cb"


def test_batches_hold_utterances_of_similar_length_and_come_in_random_order() -> None:
    samples = np.random.default_rng(1).integers(10_000, 20_000, 3_000)
    batches = epoch_batches(plan(samples, batch_samples=80_000, max_samples=None, jitter=0.1))
    ratios = [batch.samples.max() / batch.samples.min() for batch in batches]
    assert max(ratios) < 1.05 / 0.95 + 0.005  # factors between 0.95 and 1.05
    assert 1.05 < np.mean(ratios) < 1.09
    means = np.array([batch.samples.mean() for batch in batches])
    assert abs(np.corrcoef(np.arange(len(means)), means)[0, 1]) < 0.2


@given(lengths, st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_batches_are_as_full_as_their_order_allows(samples: list[int], epoch: int) -> None:
    cropped = np.minimum(samples, 100)
    total = np.cumsum(cropped)
    bounds = _cut(total, 400)
    sums = np.diff(np.concatenate([[0], total])[bounds])
    assert bounds[0] == 0
    assert bounds[-1] == len(samples)
    assert (np.diff(bounds) > 0).all()
    assert (sums <= 400).all()
    for number in range(len(sums) - 2):  # the last two may have been evened out
        assert sums[number] + cropped[bounds[number + 1]] > 400
    if len(sums) > 1:
        assert sums[-2] + cropped[bounds[-2]] > 400 or abs(int(sums[-1]) - int(sums[-2])) <= 2 * cropped.max()
        assert sums[-1] >= 200


def test_a_last_batch_of_half_the_budget_stays_as_it_is() -> None:
    assert _cut(np.cumsum([100] * 6), 400).tolist() == [0, 4, 6]
    assert _cut(np.cumsum([100] * 5), 400).tolist() == [0, 2, 5]
    assert _cut(np.cumsum([100] * 9), 400).tolist() == [0, 4, 6, 9]
    assert _cut(np.cumsum([400, 10]), 400).tolist() == [0, 1, 2]
    assert _cut(np.cumsum([100]), 400).tolist() == [0, 1]


@given(lengths, st.integers(1, 5), st.integers(1, 300))
@settings(max_examples=80, deadline=None)
def test_ranks_read_neighbouring_rows_in_as_few_micro_batches_as_fit(
    samples: list[int], world: int, micro: int
) -> None:
    dealt = shares(samples, micro, world)
    rows_at_once = max(1, micro * world // max(samples))
    assert len(dealt[0]) == -(-len(samples) // rows_at_once)
    first = 0
    for parts in zip(*dealt, strict=True):
        together = sorted(row for part in parts for row in part)
        assert together == list(range(first, first + len(together)))
        first += len(together)
        counts = [len(part) for part in parts]
        assert counts == sorted(counts, reverse=True)
        assert counts[0] - counts[-1] <= 1
    counts = [sum(map(len, parts)) for parts in zip(*dealt, strict=True)]
    assert max(counts) - min(counts) <= 1


def test_dealing_by_hand() -> None:
    sizes = [50, 40, 40, 30, 30, 20, 10]
    assert shares(sizes, 100, 2) == [[[0, 2], [3, 5]], [[1], [4, 6]]]
    assert shares(sizes, 75, 2) == [[[0], [2], [4, 6]], [[1], [3], [5]]]  # three rows fit together
    assert shares(sizes, 99, 1) == [[[row] for row in range(7)]]
    assert shares(sizes[:2], 10, 3) == [[[0], [1]], [[], []], [[], []]]
    assert shares(sizes[:2], 34, 3) == [[[0]], [[1]], [[]]]


def test_limits_belong_to_what_is_kept() -> None:
    samples = [9, 10, 60, 61, 59]
    whole = plan(samples, min_samples=10, max_samples=60, crop=False)
    assert sorted(int(u) for batch in epoch_batches(whole) for u in batch.utterances) == [1, 2, 4]
    assert (whole.too_short, whole.too_long, len(whole), whole.epoch_samples) == (1, 1, 3, 129)
    assert whole.lengths.tolist() == [10, 60, 59]
    cropped = plan(samples, min_samples=10, max_samples=60)
    assert (cropped.too_short, cropped.too_long, len(cropped), cropped.epoch_samples) == (1, 0, 4, 189)
    crops = {
        int(u): (int(s), int(n))
        for b in epoch_batches(cropped)
        for u, s, n in zip(b.utterances, b.starts, b.samples, strict=True)
    }
    assert crops[1] == (0, 10)
    assert crops[3][0] in (0, 1)
    assert crops[3][1] == 60
    assert plan([0, 1, 5], min_samples=0).too_short == 1
    assert Position() == Position(0, 0)
    assert len(plan([400], max_samples=None)) == 1


def test_messages_count_seconds() -> None:
    with pytest.raises(UserError, match=r"1 of 1 are shorter than batch.min_seconds \(2 s\), 0 longer"):
        plan([5], min_samples=32_000)
    with pytest.raises(UserError, match=r"batch.seconds \(1\) is less than the longest .* \(1.5 s\)"):
        plan([24_000], batch_samples=16_000, max_samples=None)


def test_positions_run_through_an_epoch_and_on_into_the_next() -> None:
    p = plan(np.arange(1, 60))
    count = p.batches(4)
    assert p.batch(Position(4, 2)).following == Position(4, 3)
    assert p.batch(Position(4, 2)).epoch == 4
    last = p.batch(Position(4, count - 1))
    assert last.epoch == 4
    beyond = p.batch(last.following)
    assert (beyond.epoch, beyond.following) == (5, Position(5, 1))
    assert beyond.utterances.tolist() == p.batch(Position(5, 0)).utterances.tolist()
