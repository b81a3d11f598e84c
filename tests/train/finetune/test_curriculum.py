"""Fine-tuning that begins with short utterances: which they are, what is said, stopped and resumed."""

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.train.tiny_run import finetune_config, with_train

from wav2vec2.checkpoints.load import load
from wav2vec2.data.batch_plan import BatchPlan
from wav2vec2.data.sampler import Position
from wav2vec2.errors import UserError
from wav2vec2.train.finetune.command import run
from wav2vec2.train.finetune.config import FinetuneConfig, FinetuneData
from wav2vec2.train.finetune.curriculum import CurriculumConfig, ShortFirst, short_samples
from wav2vec2.train.metrics import LOG_FILE
from wav2vec2.train.options import LogConfig


@pytest.mark.parametrize(
    ("seconds", "heard", "short"),
    [
        ([2.0] * 200, 8_000.0, 8.0),  # 20 times all of them
        ([9.0] * 10 + [12.5] * 20, 1_700.0, 9.0),  # 19 times those of 9 seconds
        ([9.0] * 10 + [12.5] * 20, 1_900.0, 12.5),  # 21 times
        ([10.0] * 3, 1e9, 10.0),
        ([1.0], 1e9, 8.0),
    ],
)
def test_short_means_eight_seconds_or_what_is_heard_twenty_times(
    seconds: list[float], heard: float, short: float
) -> None:
    samples = np.asarray([round(16_000 * value) for value in seconds], dtype=np.int64)
    assert short_samples(CurriculumConfig(share=0.4), samples, round(16_000 * heard)) == round(16_000 * short)


def recipe(manifest: Path, output: Path, **changes: object) -> FinetuneConfig:
    config = with_train(finetune_config(manifest, output), updates=8)
    config = replace(
        config,
        data=FinetuneData(manifest=str(manifest), split="train"),
        curriculum=CurriculumConfig(share=0.5, seconds=0.8, epochs=1e3),
        log=LogConfig(every=1, validate_every=0, save_every=1, tensorboard=False),
    )
    return replace(config, **changes)


def losses(output: Path) -> list[float]:
    records = [json.loads(line) for line in (output / LOG_FILE).read_text().splitlines()]
    return [record["loss"] for record in records if record["kind"] == "train"]


def test_short_utterances_come_first(labelled_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    run(recipe(labelled_corpus, tmp_path / "run"))
    assert "the first 4 updates use only the 4 utterances of at most 0.8 s (curriculum)" in capsys.readouterr().out
    run(recipe(labelled_corpus, tmp_path / "all", curriculum=CurriculumConfig()))
    assert "curriculum" not in capsys.readouterr().out
    assert losses(tmp_path / "run")[0] != losses(tmp_path / "all")[0]


def test_stopped_within_the_short_ones_and_resumed(labelled_corpus: Path, tmp_path: Path) -> None:
    whole = run(recipe(labelled_corpus, tmp_path / "whole"))
    config = recipe(labelled_corpus, tmp_path / "parts")
    for _ in range(8):  # an update each
        run(replace(config, train=replace(config.train, max_minutes=1e-9)))
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    parts = load(tmp_path / "parts" / "model").state_dict()
    assert all(torch.equal(parts[name], value) for name, value in load(whole).state_dict().items())


def test_an_impossible_share_is_one_line(labelled_corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"curriculum.share is 2: it must be at least 0 and at most 1"):
        run(recipe(labelled_corpus, tmp_path / "run", curriculum=CurriculumConfig(share=2.0)))


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
