import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.train.tiny_run import pretrain_config, with_train
from torch import nn

from wav2vec2.errors import UserError
from wav2vec2.train.health import HealthMonitor, first_bad_module, first_bad_parameter
from wav2vec2.train.options import HealthConfig
from wav2vec2.train.pretrain.command import run
from wav2vec2.train.pretrain.objective import ContrastiveObjective

CHANCE = 4.615
WELL = {"contrastive": 4.1, "accuracy": 0.1, "code_perplexity": 120.0}


def monitor(**changes: object) -> HealthMonitor:
    return HealthMonitor(HealthConfig(**changes), 1000, chance=CHANCE, groups=2)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("numbers", "verdict"),
    [
        ({"code_perplexity": 2.0}, "codebook has collapsed"),
        ({"contrastive": 0.0}, "contrastive task has collapsed"),
        ({"accuracy": 1.0}, "contrastive task has collapsed"),
        ({"contrastive": 4.62}, "never left chance"),
    ],
)
def test_each_sickness_is_named_after_some_patience(numbers: dict[str, float], verdict: str) -> None:
    judge = monitor(patience=3)
    for update in (500, 501):
        judge.check(update, WELL | numbers, "runs/x")
    with pytest.raises(UserError, match=rf"runs/x: update 502: .*{verdict}.*train\.lr"):
        judge.check(502, WELL | numbers, "runs/x")


def test_a_healthy_line_resets_patience_and_the_start_is_not_judged() -> None:
    judge = monitor(patience=2)
    for update in range(500, 520):
        judge.check(update, WELL | ({"code_perplexity": 2.0} if update % 2 else {}), "x")
    early = monitor(patience=1)
    early.check(10, WELL | {"code_perplexity": 2.0}, "x")
    early.check(149, WELL | {"contrastive": CHANCE}, "x")
    with pytest.raises(UserError, match="chance"):
        early.check(150, WELL | {"contrastive": CHANCE}, "x")


def test_numbers_that_are_not_finite_stop_at_once_and_a_switch_turns_everything_off() -> None:
    with pytest.raises(UserError, match="'penalty' is nan at update 3"):
        monitor().check(3, WELL | {"penalty": float("nan")}, "x")
    monitor(enabled=False).check(3, WELL | {"penalty": float("nan")}, "x")


def test_the_first_bad_parameter_gradient_and_module_are_named() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2))
    assert first_bad_parameter(model) == ""
    model[1].weight.grad = torch.full((2, 2), float("inf"))
    assert first_bad_parameter(model) == "gradient of 1.weight"
    with torch.no_grad():
        model[1].bias[0] = float("nan")
    assert first_bad_parameter(model) == "parameter 1.bias"
    assert first_bad_module(model, lambda: model(torch.ones(1, 2))) == "output of 1"
    assert first_bad_module(model[0], lambda: model[0](torch.ones(1, 2))) == ""


def test_a_run_that_explodes_stops_with_one_line_and_keeps_its_checkpoint(corpus: Path, tmp_path: Path) -> None:
    config = with_train(pretrain_config(corpus, tmp_path / "run"), lr=1e30, max_skips=2, warmup_share=0.2)
    with pytest.raises(UserError) as caught:
        run(config)
    assert "not finite at update" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_skipped_update_is_counted_and_the_run_goes_on(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loss = ContrastiveObjective.loss

    def poisoned(self: ContrastiveObjective, batch: Any, number: int, counts: Any, update: int) -> Any:
        value, sums = loss(self, batch, number, counts, update)
        return (value * float("nan"), sums) if update == 2 and value is not None else (value, sums)

    monkeypatch.setattr(ContrastiveObjective, "loss", poisoned)
    config = with_train(pretrain_config(corpus, tmp_path / "run"), updates=5)
    run(replace(config, health=HealthConfig(patience=100)))
    assert "is not finite, update skipped (1 in a row)" in capsys.readouterr().out
    record = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[0])
    assert record["skipped"] == 1
    assert record["contrastive"] > 0
