"""Static shapes: every utterance once, few shapes, the same groups for any number of processes, resume anywhere."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import soundfile
from benchmarks.librispeech_lengths import librispeech_samples
from hypothesis import given, settings
from hypothesis import strategies as st

from wav2vec2.data.batch_plan import BatchPlan
from wav2vec2.data.buckets import Buckets, _cheapest_path, _Counts, choose_buckets
from wav2vec2.data.dataset import UpdateLoader
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.sampler import GlobalBatch, Position, deal
from wav2vec2.data.utterance import Utterance, write_manifest

SECOND = 16_000

corpora = st.builds(
    lambda seed, count, longest: np.random.default_rng(seed).integers(SECOND // 2, longest * SECOND, count),
    st.integers(0, 1000),
    st.integers(1, 400),
    st.integers(1, 12),
)


def plan(samples: np.ndarray, together: float = 30.0, **changes: object) -> BatchPlan:
    options: dict[str, object] = {
        "batch_samples": 30 * SECOND,
        "group_samples": round(together * SECOND),
        "max_samples": 10 * SECOND,
        "min_samples": 1,
        "seed": 1,
        "buckets": 4,
        "multiple": 2,
    }
    return BatchPlan(np.asarray(samples, dtype=np.int64), **options | changes)  # type: ignore[arg-type]


def epoch(p: BatchPlan, number: int = 0) -> list[GlobalBatch]:
    return [p.batch(Position(number, place)) for place in range(p.batches(number))]


@given(corpora, st.booleans(), st.integers(1, 8), st.integers(1, 8), st.integers(0, 2))
@settings(max_examples=80, deadline=None)
def test_an_epoch_reads_every_utterance_once_in_few_shapes(
    samples: np.ndarray, crop: bool, buckets: int, multiple: int, number: int
) -> None:
    p = plan(samples, crop=crop, max_samples=10 * SECOND if crop else None, buckets=buckets, multiple=multiple)
    batches = epoch(p, number)
    assert sorted(np.concatenate([batch.utterances for batch in batches]).tolist()) == list(range(len(samples)))
    assert p.buckets is not None
    assert len(p.buckets.lengths) <= buckets
    shapes = {int(length): int(rows) for length, rows in zip(p.buckets.lengths, p.buckets.rows, strict=True)}
    smaller = []
    for batch in batches:
        assert batch.length is not None
        assert len(batch.utterances) * batch.length <= 30 * SECOND
        smaller += [batch] if len(batch.utterances) < shapes[batch.length] else []
        full = samples[batch.utterances]
        assert batch.samples.tolist() == np.minimum(full, batch.length).tolist()
        assert (batch.starts + batch.samples <= full).all()
        if crop and batch.length > min(shapes):
            assert (batch.samples == batch.length).all()
        if not crop:
            assert (full <= batch.length).all()
    assert len(smaller) <= 2
    assert {batch.length for batch in smaller} <= {min(shapes) if crop else max(shapes)}


@given(corpora, st.sampled_from([6.0, 12.0, 21.5, 30.0]), st.booleans())
@settings(max_examples=40, deadline=None)
def test_the_number_of_processes_changes_neither_updates_nor_groups(
    samples: np.ndarray, together: float, crop: bool
) -> None:
    def read(world: int) -> list[list[list[int]]]:
        p = plan(samples, (together / world) * world, crop=crop, max_samples=10 * SECOND if crop else None)
        found = []
        for batch in epoch(p):
            shares = [deal(batch.groups, rank, world) for rank in range(world)]
            groups = [sorted(np.concatenate(parts).tolist()) for parts in zip(*shares, strict=True)]
            found.append([batch.utterances.tolist(), batch.starts.tolist(), *groups])
        return found

    assert read(1) == read(2) == read(3) == read(4)
    other = epoch(plan(samples, 10.0, crop=crop, max_samples=10 * SECOND if crop else None))
    assert [batch.utterances.tolist() for batch in other] == [one[0] for one in read(1)]


@given(corpora, st.integers(1, 5), st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_each_process_sees_one_shape_a_bucket(samples: np.ndarray, world: int, seed: int) -> None:
    p = plan(samples, seed=seed, together=20.0)
    shapes: dict[tuple[int, int], set[int]] = {}
    for batch in epoch(p):
        planned = list(itertools.pairwise(batch.groups.tolist()))
        assert all(high - low == batch.group_rows for low, high in planned[:-1])
        for rank in range(world):
            for (low, high), share in zip(planned, deal(batch.groups, rank, world), strict=True):
                if high - low == batch.group_rows:
                    shapes.setdefault((rank, batch.length or 0), set()).add(len(share))
    assert all(len(rows) == 1 for rows in shapes.values())


def test_reading_goes_on_from_anywhere() -> None:
    samples = np.random.default_rng(5).integers(SECOND, 12 * SECOND, 200)
    walked = [batch for batch, _ in zip(plan(samples).walk(Position()), range(60), strict=False)]
    assert walked[-1].epoch >= 1
    for number in range(0, 59, 7):
        again = next(plan(samples).walk(walked[number].following))
        assert again.utterances.tolist() == walked[number + 1].utterances.tolist()
        assert again.starts.tolist() == walked[number + 1].starts.tolist()
        assert again.length == walked[number + 1].length


def test_epochs_and_seeds_have_batches_of_their_own() -> None:
    samples = np.random.default_rng(5).integers(SECOND, 12 * SECOND, 200)

    def groups(seed: int, number: int) -> set[frozenset[int]]:
        return {frozenset(batch.utterances.tolist()) for batch in epoch(plan(samples, seed=seed), number)}

    assert groups(1, 0) == groups(1, 0)
    assert not groups(1, 0) & groups(1, 1)
    assert not groups(1, 0) & groups(2, 0)


@pytest.mark.parametrize(
    ("seconds", "longest", "multiple", "least_fill", "most_lost"),
    [(5600, 15.625, 64, 0.97, 0.065), (9600, 20.0, 128, 0.96, 0.07), (240, 10.0, 8, 0.97, 0.03)],
)
def test_librispeech_fills_the_recipes(
    seconds: float, longest: float, multiple: int, least_fill: float, most_lost: float
) -> None:
    """Lengths as in LibriSpeech's 960 hours, a tenth as many; the batches of BASE, LARGE and MEDIUM."""
    samples = librispeech_samples(28_124)
    p = BatchPlan(
        np.repeat(samples, 10),
        batch_samples=round(seconds * SECOND),
        max_samples=round(longest * SECOND),
        min_samples=2 * SECOND,
        seed=1,
        buckets=8,
        multiple=multiple,
    )
    found = p.usage(0, multiple)
    assert found.fill >= least_fill
    assert found.padding <= 0.02
    assert found.lost <= most_lost
    assert found.even > 0.999  # all but the last update or two of the epoch


def test_padding_upwards_costs_little_where_nothing_may_be_cropped() -> None:
    samples = librispeech_samples(20_000)
    p = BatchPlan(
        samples, batch_samples=1600 * SECOND, max_samples=None, min_samples=1, seed=1, crop=False, buckets=8, multiple=8
    )
    found = p.usage(0, 8)
    assert found.lost == 0.0
    assert found.fill > 0.9
    assert found.padding < 0.1  # eight lengths from 1 to 33 s; without buckets 5 %


@pytest.mark.parametrize("most", [1, 2, 3, 5])
def test_no_choice_of_lengths_is_cheaper(most: int) -> None:
    random = np.random.default_rng(most)
    first, last, between = random.random(7), random.random(7), random.random((7, 7))
    between[np.tril_indices(7)] = np.inf

    def cost(path: tuple[int, ...]) -> float:
        return float(first[path[0]] + sum(between[a, b] for a, b in itertools.pairwise(path)) + last[path[-1]])

    found = _cheapest_path(first, between, last, most)
    every = [path for size in range(1, most + 1) for path in itertools.combinations(range(7), size)]
    assert cost(tuple(found)) == min(map(cost, every))


@given(st.lists(st.integers(1, 5_000), min_size=1, max_size=80))
def test_utterances_are_counted_by_length(lengths: list[int]) -> None:
    samples = np.asarray(lengths, np.int64)
    found = _Counts(samples)
    for number, length in enumerate(found.candidates):
        for (count, amount), chosen in ((found.below, samples < length), (found.upto, samples <= length)):
            assert (count[number], amount[number]) == (chosen.sum(), samples[chosen].sum())
    assert (found.number, found.amount) == (len(samples), samples.sum())
    assert found.candidates[-1] == samples.max()
    some = Buckets(np.unique(found.candidates[::3]), np.ones(1, np.int64), crop=True)
    assert some.of(samples).tolist() == np.maximum(np.searchsorted(some.lengths, samples, "right") - 1, 0).tolist()
    whole = Buckets(found.candidates, np.ones(1, np.int64), crop=False)
    assert whole.of(samples).tolist() == np.searchsorted(whole.lengths, samples).tolist()


def test_lengths_are_chosen_where_the_utterances_are() -> None:
    samples = np.repeat([3 * SECOND, 5 * SECOND, 9 * SECOND], [500, 700, 900])
    for crop in (True, False):
        found = choose_buckets(samples, most=8, batch_samples=45 * SECOND, multiple=1, crop=crop)
        assert found.lengths.tolist() == [3 * SECOND, 5 * SECOND, 9 * SECOND]
        assert found.rows.tolist() == [15, 9, 5]
    alone = choose_buckets(samples[:1], most=8, batch_samples=45 * SECOND, multiple=1, crop=True)
    assert alone.lengths.tolist() == [3 * SECOND]


def test_what_is_read_has_the_planned_shape_and_says_so(tmp_path: Path) -> None:
    rows = []
    for number in range(24):
        path = tmp_path / f"{number}.wav"
        samples = 3_000 + 1_000 * (number % 4)
        soundfile.write(path, np.sin(np.arange(samples) / 9) / 2, SECOND, subtype="FLOAT")
        rows.append(Utterance(id=f"u{number}", path=str(path), samples=samples))
    manifest = Manifest.open(write_manifest(rows, tmp_path / "m.parquet"))
    options = {"batch_samples": 24_000, "group_samples": 12_000, "max_samples": 5_000, "min_samples": 1, "seed": 1}
    p = BatchPlan(manifest.samples, **options, buckets=2, multiple=4)
    (tmp_path / "5.wav").write_bytes(b"no audio")
    seen = set()
    for world in (1, 2):
        for rank in range(world):
            loader = UpdateLoader(manifest, p, epsilon=None, rank=rank, world=world, workers=0)
            for update, _ in zip(loader.updates(Position()), range(p.batches(0)), strict=False):
                for batch in update.micro_batches:
                    assert batch.full == (batch.lengths == batch.waveforms.shape[1]).all()
                    assert not (batch.static and batch.bad)
                    seen |= {(world, rank, *batch.waveforms.shape)} if batch.static else set()
                    assert batch.static or batch.bad or len(batch.rows) < 4
    assert p.buckets is not None
    assert len(seen) == 3 * len(p.buckets.lengths)
