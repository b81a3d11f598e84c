import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.train.tiny_run import pretrain_config, with_train
from torch import nn

from wav2vec2.errors import UserError
from wav2vec2.train.health import HealthMonitor, first_bad_module, first_bad_parameter
from wav2vec2.train.loop import Trainer
from wav2vec2.train.options import HealthConfig
from wav2vec2.train.pretrain import command
from wav2vec2.train.pretrain.command import run
from wav2vec2.train.pretrain.objective import ContrastiveObjective

CHANCE = 4.615
WELL = {"contrastive": 4.1, "accuracy": 0.1, "code_perplexity_1": 60.0, "code_perplexity_2": 60.0}


def monitor(codebooks: tuple[int, int] = (2, 320), **changes: object) -> HealthMonitor:
    return HealthMonitor(HealthConfig(**changes), 1000, chance=CHANCE, codebooks=codebooks)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("numbers", "verdict"),
    [
        ({"code_perplexity_1": 1.0, "code_perplexity_2": 1.0}, "codebook 1 of 2 uses 1.0 of 320 entries"),
        ({"code_perplexity_2": 1.0}, "codebook 2 of 2 uses 1.0 of 320 entries"),
        ({"code_perplexity_1": 2.0, "code_perplexity_2": 2.0}, "codebook 1 of 2 uses 2.0 of 320 entries"),
        ({"contrastive": 0.0}, "contrastive task has collapsed"),
        ({"accuracy": 1.0}, "contrastive task has collapsed"),
        ({"contrastive": 4.62}, "still at chance"),
    ],
)
def test_each_sickness_is_named_after_some_patience(numbers: dict[str, float], verdict: str) -> None:
    judge = monitor(patience=3)
    streak = judge.check(0, 500, WELL | numbers, "runs/x")
    assert judge.check(streak, 501, WELL | numbers, "runs/x") == 2
    with pytest.raises(UserError, match=rf"runs/x: update 502: .*{verdict}.*train\.lr"):
        judge.check(2, 502, WELL | numbers, "runs/x")


def test_a_healthy_line_resets_patience_and_the_start_is_not_judged() -> None:
    judge, streak = monitor(patience=2), 0
    for update in range(500, 520):
        streak = judge.check(streak, update, WELL | ({"code_perplexity_2": 1.0} if update % 2 else {}), "x")
    early = monitor(patience=1)
    early.check(0, 10, WELL | {"code_perplexity_1": 1.0}, "x")
    early.check(0, 149, WELL | {"contrastive": CHANCE}, "x")
    with pytest.raises(UserError, match="chance"):
        early.check(0, 150, WELL | {"contrastive": CHANCE}, "x")


@pytest.mark.parametrize(("entries", "healthy", "collapsed"), [(320, 2.6, 2.5), (8, 2.1, 2.0), (3, 1.6, 1.5)])
def test_a_codebook_in_which_two_entries_are_left_has_collapsed_unless_it_is_small(
    entries: int, healthy: float, collapsed: float
) -> None:
    judge = monitor((1, entries), patience=1)
    judge.check(0, 500, WELL | {"code_perplexity_1": healthy}, "x")
    with pytest.raises(UserError, match=f"codebook 1 of 1 uses {collapsed} of {entries} entries"):
        judge.check(0, 500, WELL | {"code_perplexity_1": collapsed}, "x")


def test_the_threshold_of_collapse_is_a_key_and_models_without_codebooks_are_not_judged_by_it() -> None:
    monitor(patience=1, collapse_perplexity=1.5).check(0, 500, WELL | {"code_perplexity_1": 2.0}, "x")
    monitor((0, 0), patience=1).check(0, 500, {"contrastive": 4.1, "accuracy": 0.1}, "x")


def test_thresholds_are_where_they_are_said_to_be() -> None:
    strict = monitor(patience=1, grace_share=0.1, chance_share=0.2, chance_margin=0.02)
    assert strict.check(0, 99, WELL | {"contrastive": 0.0}, "x") == 0
    assert strict.check(0, 100, WELL | {"contrastive": 0.01, "accuracy": 0.99}, "x") == 0
    for numbers in ({"contrastive": 0.009}, {"accuracy": 0.991}):
        with pytest.raises(UserError, match="has collapsed"):
            strict.check(0, 100, WELL | numbers, "x")
    assert strict.check(0, 199, WELL | {"contrastive": CHANCE}, "x") == 0
    for distance in (0.021, -0.021):
        assert strict.check(0, 200, WELL | {"contrastive": CHANCE + distance}, "x") == 0
    with pytest.raises(UserError, match=r"at chance \(4\.615 nats\): halve train\.lr, or raise batch\.seconds or"):
        strict.check(0, 200, WELL | {"contrastive": CHANCE - 0.019}, "x")


def test_other_objectives_name_the_number_that_is_judged_or_none() -> None:
    words = HealthMonitor(HealthConfig(patience=1), 1000, chance=5.0, judged="loss")
    assert words.check(0, 500, {"loss": 4.0}, "x") == 0
    with pytest.raises(UserError, match="or raise the batch"):
        words.check(0, 500, {"loss": 5.0}, "x")
    assert HealthMonitor(HealthConfig(patience=1), 1000, chance=None).check(3, 500, {"loss": 5.0}, "x") == 0


def test_numbers_that_are_not_finite_stop_at_once_and_a_switch_turns_everything_off() -> None:
    with pytest.raises(UserError, match="'penalty' is nan at update 3"):
        monitor().check(0, 3, WELL | {"penalty": float("nan")}, "x")
    monitor(enabled=False).check(0, 3, WELL | {"penalty": float("nan")}, "x")


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
    assert not model[1]._forward_hooks


class Pair(nn.Module):
    def forward(self, value: torch.Tensor) -> Any:
        return torch.ones(1, dtype=torch.int64), [value, "text"]


def test_outputs_in_tuples_and_lists_are_looked_into() -> None:
    model = nn.Sequential(Pair())
    assert first_bad_module(model, lambda: model(torch.ones(2))) == ""
    assert first_bad_module(model, lambda: model(torch.tensor([1.0, float("inf")]))) == "output of 0"


def test_a_run_that_explodes_stops_with_one_line_and_keeps_its_checkpoint(corpus: Path, tmp_path: Path) -> None:
    config = with_train(pretrain_config(corpus, tmp_path / "run"), lr=1e30, max_skips=2, warmup_share=0.2)
    with pytest.raises(UserError) as caught:
        run(config)
    # the gradients of the update are long bad: what the user reads is where the forward pass went wrong first
    assert "run: output of encoder.feature_encoder is not finite at update 3, 2 skipped in a row" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_module_whose_output_went_bad_first_is_named(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoilt(model: nn.Module) -> nn.Module:
        block = model.get_submodule("encoder.context.layers.1")
        block.register_forward_hook(lambda _, __, output: output * float("nan"))
        return model

    monkeypatch.setattr(command, "Trainer", partial(Trainer, wrap=spoilt))
    config = with_train(pretrain_config(corpus, tmp_path / "run"), max_skips=1)
    message = r"output of encoder\.context\.layers\.1 is not finite at update 0, 1 skipped in a row: lower train\.lr"
    with pytest.raises(UserError, match=message):
        run(config)


def test_one_skipped_update_is_counted_and_the_run_goes_on(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loss = ContrastiveObjective.loss

    def poisoned(self: ContrastiveObjective, module: Any, batch: Any, number: int, counts: Any, update: int) -> Any:
        value, sums = loss(self, module, batch, number, counts, update)
        return (value * float("nan"), sums) if update == 2 and value is not None else (value, sums)

    monkeypatch.setattr(ContrastiveObjective, "loss", poisoned)
    config = with_train(pretrain_config(corpus, tmp_path / "run"), updates=5)
    run(replace(config, health=HealthConfig(patience=100)))
    assert "is not finite (1 in a row)" in capsys.readouterr().out
    record = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[0])
    assert record["skipped"] == 1
    assert record["contrastive"] > 0
