"""A run that has gone bad goes back to its last good checkpoint with half the learning rate: once, and for ever."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.train.tiny_run import logged, pretrain_config, with_train

from wav2vec2.errors import UserError
from wav2vec2.train import optimizer
from wav2vec2.train.checkpoint.folder import Checkpoints
from wav2vec2.train.checkpoint.seal import read_state
from wav2vec2.train.metrics import LEFT_FILE
from wav2vec2.train.options import HealthConfig
from wav2vec2.train.pretrain.command import PretrainConfig, run
from wav2vec2.train.pretrain.objective import ContrastiveObjective

Ill = Callable[[int, int], bool]


@pytest.fixture
def small(corpus: Path, tmp_path: Path) -> PretrainConfig:
    """Twelve updates, a log line for each, a checkpoint after every third; two suspicious lines are a verdict."""
    config = with_train(pretrain_config(corpus, tmp_path / "run"), updates=12)
    config = replace(config, log=replace(config.log, every=1, validate_every=4, save_every=3))
    config = replace(config, batch=replace(config.batch, seconds=0.7, micro_seconds=0.7, max_seconds=0.35))
    return replace(config, health=HealthConfig(patience=2, grace_share=0.0, chance_share=1.0, collapse_perplexity=0.0))


def collapse(monkeypatch: pytest.MonkeyPatch, ill: Ill) -> None:
    """Let the log lines of some updates look like a collapse: of an update, the how-manieth time it comes."""
    numbers, times = ContrastiveObjective.numbers, dict[int, int]()

    def told(self: ContrastiveObjective, sums: Any, update: int) -> dict[str, float]:
        found = numbers(self, sums, update)
        times[update + 1] = times.get(update + 1, 0) + 1
        return found | ({"accuracy": 0.999} if ill(update + 1, times[update + 1]) else {})

    monkeypatch.setattr(ContrastiveObjective, "numbers", told)


def test_it_goes_back_once_with_half_the_rate_and_says_by_which_number(
    small: PretrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    collapse(monkeypatch, lambda update, time: update in (9, 10) and time == 1)
    run(small)
    said = capsys.readouterr().out
    assert "update 10: the contrastive task has collapsed (loss " in said
    assert "accuracy 0.9990" in said
    assert "Going back from update 10 to the last good checkpoint, of update 6" in said
    schedule = optimizer.schedule(small.train)
    for number, record in enumerate(logged(small.output), 1):
        assert record["update"] == number
        assert record["lr"] == pytest.approx(small.train.lr * schedule(number - 1) * (1 if number <= 6 else 0.5))
    (back,) = logged(small.output, "return")
    assert (back["update"], back["from"], back["lr_scale"]) == (6, 10, 0.5)
    left = [json.loads(line) for line in (tmp_path / "run" / LEFT_FILE).read_text().splitlines()]
    assert [record["update"] for record in left if record["kind"] == "train"] == [7, 8, 9, 10]
    assert [record["update"] for record in logged(small.output, "validation")] == [4, 8, 12]
    names = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert names == ["000000009", "000000012", "suspicious-000000009"]


def test_the_second_time_it_stops_also_after_a_restart(
    small: PretrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collapse(monkeypatch, lambda update, time: update in (9, 10))
    run(with_train(small, max_minutes=1e-9))
    with pytest.raises(UserError, match=r"update 10: .*collapsed.*; half of train\.lr was tried from the last good"):
        run(small)
    newest = Checkpoints(tmp_path / "run" / "checkpoints", 2).latest()
    assert newest is not None
    assert read_state(newest)["lr_scale"] == 0.5
    with pytest.raises(UserError, match=r"half of train\.lr was tried"):
        run(small)


def test_without_a_good_checkpoint_or_if_told_so_it_stops_at_once(
    small: PretrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collapse(monkeypatch, lambda update, time: update in (1, 2, 9, 10))
    with pytest.raises(UserError, match=r"update 2: the contrastive task has collapsed .*raise batch\.seconds$"):
        run(small)
    collapse(monkeypatch, lambda update, time: update in (9, 10))
    monkeypatch.undo()
    collapse(monkeypatch, lambda update, time: update in (4, 5))
    other = replace(small, output=str(tmp_path / "other"), health=replace(small.health, go_back=False))
    with pytest.raises(UserError, match="update 5"):
        run(other)
    assert logged(other.output, "return") == []


def test_numbers_that_are_not_finite_are_a_reason_too(
    small: PretrainConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loss, ill = ContrastiveObjective.loss, {7, 8}

    def poisoned(self: ContrastiveObjective, *given: Any) -> Any:
        value, sums = loss(self, *given)
        if given[-1] in ill and value is not None:
            ill.discard(given[-1])
            value = value * math.nan
        return value, sums

    monkeypatch.setattr(ContrastiveObjective, "loss", poisoned)
    run(with_train(small, max_skips=2))
    assert "not finite at update 8, 2 skipped in a row" in capsys.readouterr().out
    (back,) = logged(small.output, "return")
    assert (back["update"], back["from"]) == (6, 8)
    assert len(logged(small.output)) == 12
