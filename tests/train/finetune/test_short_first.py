import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from wav2vec2.data.sampler import BatchPlan, Position
from wav2vec2.train.finetune.short_first import ShortFirst


def plan(samples: list[int], longest: int) -> BatchPlan:
    return BatchPlan(
        np.asarray(samples), batch_samples=200, max_samples=longest, min_samples=1, seed=3, jitter=0.2, crop=False
    )


SAMPLES = st.lists(st.integers(1, 100), min_size=1, max_size=30).map(lambda lengths: [10, *lengths])


@given(SAMPLES, st.integers(0, 9))
def test_so_many_updates_of_short_ones_then_whole_epochs_of_all(samples: list[int], updates: int) -> None:
    short, whole = plan(samples, 20), plan(samples, 100)
    ordered = ShortFirst(short, whole, updates)
    first = list(itertools.islice(ordered.walk(Position()), updates))
    assert all(batch.samples.max() <= 20 for batch in first)
    following = first[-1].following if first else Position()
    epoch = list(itertools.islice(ordered.walk(following), whole.batches(0)))
    assert sorted(int(u) for batch in epoch for u in batch.utterances) == list(range(len(samples)))
    alone = itertools.islice(whole.walk(Position()), whole.batches(0))
    assert [batch.utterances.tolist() for batch in epoch] == [batch.utterances.tolist() for batch in alone]


@given(SAMPLES, st.integers(0, 9), st.integers(0, 20))
def test_walking_from_a_saved_position_continues_the_walk(samples: list[int], updates: int, taken: int) -> None:
    batches = list(itertools.islice(ShortFirst(plan(samples, 20), plan(samples, 100), updates).walk(Position()), 25))
    saved = batches[taken].following
    again = ShortFirst(plan(samples, 20), plan(samples, 100), updates).walk(saved)
    for before, now in zip(batches[taken + 1 :], again, strict=False):
        assert before.utterances.tolist() == now.utterances.tolist()
        assert (before.epoch, before.following) == (now.epoch, now.following)


def test_epochs_count_on() -> None:
    samples = [10] * 30 + [100] * 4
    ordered = ShortFirst(plan(samples, 20), plan(samples, 100), 3)
    assert [ordered.batches(epoch) for epoch in range(3)] == [2, 1, plan(samples, 100).batches(0)]
    assert [batch.epoch for batch in itertools.islice(ordered.walk(Position()), 5)] == [0, 0, 1, 2, 2]
