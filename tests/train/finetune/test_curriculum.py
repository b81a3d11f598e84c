"""Fine-tuning that begins with short utterances: which they are, what is said, stopped and resumed."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.train.tiny_run import finetune_config, with_train

from wav2vec2.checkpoints.load import load
from wav2vec2.errors import UserError
from wav2vec2.train.finetune.command import FinetuneConfig, FinetuneData, run
from wav2vec2.train.finetune.curriculum import CurriculumConfig, short_samples
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
    assert "the first 4 updates see the 4 utterances of at most 0.8 s (curriculum)" in capsys.readouterr().out
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
