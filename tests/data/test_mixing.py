from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.data.batch_plan import BatchPlan
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.mixing import Groups, Mixture, balanced, told_apart
from wav2vec2.data.sampler import Position
from wav2vec2.data.utterance import Utterance, write_manifest

HOUR = 3600 * SAMPLE_RATE


def mixture(hours: list[float], beta: float, each: int = 100, seed: int = 1) -> tuple[Mixture, np.ndarray, np.ndarray]:
    """Groups of these hours, each of so many equal utterances, shuffled."""
    codes = np.repeat(np.arange(len(hours), dtype=np.int32), each)
    np.random.default_rng(0).shuffle(codes)
    samples = np.asarray([round(hours[code] * HOUR / each) for code in codes], dtype=np.int64)
    names = [f"g{number}" for number in range(len(hours))]
    rows = np.arange(len(codes), dtype=np.int64)
    return Mixture(Groups(codes, names, [""] * len(hours), beta), rows, samples, seed), codes, samples


def test_shares_are_hours_to_the_power_beta() -> None:
    hours = np.array([1600.0, 400.0, 100.0])
    # by hand: with 0.5, 40 : 20 : 10
    assert balanced(hours, ["", "", ""], 0.5) == pytest.approx([4 / 7, 2 / 7, 1 / 7])
    assert balanced(hours, ["", "", ""], 1.0) == pytest.approx(hours / 2100)
    assert balanced(hours, ["", "", ""], 0.0) == pytest.approx([1 / 3] * 3)
    # MMS balances languages within a corpus, then corpora: 2500 h and 100 h are 50 : 10, within them 40 : 30 and 1
    two = balanced(np.array([1600.0, 900.0, 100.0, 0.0]), ["a", "a", "b", "c"], 0.5)
    assert two == pytest.approx([5 / 6 * 4 / 7, 5 / 6 * 3 / 7, 1 / 6, 0.0])


@settings(max_examples=30)
@given(st.lists(st.floats(0.01, 500.0), min_size=1, max_size=5), st.floats(0.0, 1.0), st.integers(0, 10**6))
def test_over_many_epochs_each_utterance_is_used_its_share_to_within_one(
    hours: list[float], beta: float, seed: int
) -> None:
    mixed, codes, samples = mixture(hours, beta, each=7, seed=seed)
    rows = np.arange(len(codes), dtype=np.int64)
    uses = np.zeros(len(codes))
    heard = np.zeros(len(hours))
    for epoch in range(6):
        drawn = mixed.rows_of_epoch(epoch, rows)
        assert len(drawn)
        assert np.array_equal(drawn, np.sort(drawn))
        counts = np.bincount(drawn, minlength=len(rows))
        assert np.all(np.abs(counts - mixed.factors[codes]) < 1 + 1e-6)
        uses += counts
        heard += np.bincount(codes, weights=counts * samples, minlength=len(hours))
    assert np.all(np.abs(uses - 6 * mixed.factors[codes]) < 1 + 1e-6)
    assert mixed.shares.sum() == pytest.approx(1.0)


def test_an_epoch_keeps_its_hours_and_has_the_planned_shares() -> None:
    mixed, codes, samples = mixture([90.0, 9.0, 1.0], 0.5, each=2000)
    drawn = mixed.rows_of_epoch(3, np.arange(len(codes), dtype=np.int64))
    heard = np.bincount(codes[drawn], weights=samples[drawn])
    assert heard.sum() / HOUR == pytest.approx(100.0, rel=0.02)
    assert heard / heard.sum() == pytest.approx(mixed.shares, rel=0.03)
    assert mixed.shares == pytest.approx(np.sqrt([90, 9, 1]) / np.sqrt([90, 9, 1]).sum())


def test_without_balance_every_utterance_is_used_once() -> None:
    mixed, codes, _ = mixture([90.0, 9.1, 0.7], 1.0)
    rows = np.arange(len(codes), dtype=np.int64)
    for epoch in (0, 1, 10**6):
        assert np.array_equal(mixed.rows_of_epoch(epoch, rows), rows)


def test_rows_depend_on_seed_and_epoch_alone() -> None:
    one, codes, _ = mixture([5.0, 1.0], 0.3)
    again, _, _ = mixture([5.0, 1.0], 0.3)
    other, _, _ = mixture([5.0, 1.0], 0.3, seed=2)
    rows = np.arange(len(codes), dtype=np.int64)
    first = one.rows_of_epoch(5, rows)
    one.rows_of_epoch(2, rows)
    assert np.array_equal(first, again.rows_of_epoch(5, rows))
    assert not np.array_equal(first, again.rows_of_epoch(6, rows))
    assert not np.array_equal(first, other.rows_of_epoch(5, rows))
    assert one.fingerprint == again.fingerprint != mixture([5.0, 1.0], 0.4)[0].fingerprint


def manifest(path: Path) -> Manifest:
    table = [("fr", "cv", 8), ("de", "cv", 2), ("", "cv", 1), ("de", "mls", 20)]
    rows = [
        Utterance(f"{source}-{language}-{number}", "a.wav", samples=HOUR // 10, language=language, source=source)
        for language, source, count in table
        for number in range(count)
    ]
    return Manifest.open(write_manifest(rows, path / "m.parquet"))


def test_groups_are_columns_of_the_manifest(tmp_path: Path) -> None:
    speech = manifest(tmp_path)
    assert Groups.of(speech, "none", 0.5) is None
    for by, expected in (
        ("language", {"(none)": 1, "de": 22, "fr": 8}),
        ("source", {"cv": 11, "mls": 20}),
        ("source+language", {"cv (none)": 1, "cv de": 2, "cv fr": 8, "mls de": 20}),
    ):
        groups = Groups.of(speech, by, 0.5)  # type: ignore[arg-type]
        assert groups is not None
        assert Counter(groups.names[code] for code in groups.codes) == expected
    assert groups.parents == ["cv", "cv", "cv", "mls"]
    lines = Mixture(groups, np.arange(len(speech)), speech.samples, 1).lines()
    assert lines[0].startswith("mixing: 4 groups")
    # cv has 1.1 h, mls 2 h: 57.4 % of an epoch of 3.1 h for 20 utterances of 0.1 h
    assert lines[1] == "  mls de: 2.00 h  64.5% -> 57.4%  x 0.89"
    only = Groups.of(speech.select(np.arange(8)), "language", 0.5)
    assert only is not None
    assert "one group only" in Mixture(only, np.arange(8), speech.samples[:8], 1).lines()[0]


def test_many_groups_are_shown_in_few_lines_and_much_repetition_is_said() -> None:
    mixed, _, _ = mixture([1000.0 / 1.5**number for number in range(40)], 0.0, each=2)
    lines = mixed.lines()
    assert len(lines) == 14
    assert "  ... 29 more" in lines
    assert lines[-1].startswith("  g39 is repeated")
    assert "mix_beta" in lines[-1]


def test_uses_of_an_utterance_are_told_apart() -> None:
    drawn = told_apart(np.array([7, 3, 7, 7, 3, 1]), 4)
    assert len(set(drawn.tolist())) == 6
    assert not set(drawn.tolist()) & set(told_apart(np.array([7, 3, 7]), 5).tolist())


@pytest.mark.parametrize("resume", [0, 1, 5])
def test_a_plan_of_mixed_epochs_resumes_from_two_integers(resume: int) -> None:
    _, codes, _ = mixture([30.0, 1.0], 0.5, each=40)
    samples = np.asarray([40_000 + 100 * number for number in range(80)])
    groups = Groups(codes, ["a", "b"], ["", ""], 0.2)

    def plan() -> BatchPlan:
        sizes = {"batch_samples": 300_000, "max_samples": 30_000, "min_samples": 1}
        return BatchPlan(np.where(codes == 0, samples * 9, samples), **sizes, seed=3, groups=groups)

    mixed = plan()
    assert mixed.mixture is not None
    whole = [batch for batch, _ in zip(mixed.walk(Position()), range(2 * mixed.batches(0) + 3), strict=False)]
    again = [batch for batch, _ in zip(plan().walk(whole[resume].following), whole[resume + 1 :], strict=False)]
    for one, other in zip(whole[resume + 1 :], again, strict=True):
        assert np.array_equal(one.utterances, other.utterances)
        assert np.array_equal(one.starts, other.starts)
    first = np.concatenate([batch.utterances for batch in whole if batch.epoch == 0])
    expected = mixed.mixture.rows_of_epoch(0, np.arange(80))
    assert np.array_equal(np.sort(first), expected)
    crops = [(row, start) for b in whole if b.epoch == 0 for row, start in zip(b.utterances, b.starts, strict=True)]
    assert len(set(crops)) == len(crops)  # an utterance that is used again is cropped elsewhere
