"""The state of a run survives JSON; the log window sums, averages and forgets."""

import json
import math
from dataclasses import replace

import pytest
import torch

from wav2vec2.data.sampler import Position
from wav2vec2.train.state import LogWindow, RunState

STATE = RunState(
    update=7,
    position=Position(2, 3),
    best=0.25,
    best_update=5,
    validated_at=6,
    skips=1,
    bad_files=4,
    health_streak=2,
    judged_from=3,
    lr_scale=0.5,
)


def test_a_state_is_what_it_was_after_json() -> None:
    plain = json.loads(json.dumps(STATE.as_plain()))
    assert plain["position"] == [2, 3]
    assert RunState.from_plain(plain | {"config": {}, "clock": [1.0, 0.5]}) == STATE
    old = {name: value for name, value in plain.items() if name not in ("validated_at", "judged_from", "lr_scale")}
    assert RunState.from_plain(old) == replace(STATE, validated_at=7, judged_from=0, lr_scale=1.0)
    assert RunState.from_plain(RunState().as_plain()) == RunState(position=Position(0, 0), best=None)


def window() -> LogWindow:
    return LogWindow("seconds", {"loss": torch.zeros(2)}, torch.device("cpu"))


def add(to: LogWindow, seconds: float, padded: float, loss: float, norm: float) -> None:
    sums = to.zeros()
    sums["seconds"] += seconds
    sums["padded_seconds"] += padded
    sums["loss"] += torch.tensor([loss, 2 * loss])
    to.add(sums, torch.tensor(norm))


def test_a_window_averages_the_updates_that_were_taken_and_counts_the_others() -> None:
    of = window()
    add(of, 3.0, 4.0, 1.0, 0.5)
    add(of, 5.0, 6.0, 2.0, 1.5)
    add(of, 7.0, 9.0, math.nan, math.inf)
    of.busy, of.waited, of.saving = 4.0, 1.0, 0.5
    assert of.gather()["loss"].tolist() == [3.0, 6.0]
    assert of.numbers() == pytest.approx({"gradient_norm": 1.0, "skipped": 1.0, "padding": 1 - 8 / 10})
    assert of.speed() == pytest.approx({"seconds_per_second": 2.0, "wait_share": 0.25, "save_seconds": 0.5})
    assert of.taken == 2
    assert of.seconds_per_update == pytest.approx(4.0 / 3)


def test_a_cleared_window_is_a_new_one() -> None:
    of = window()
    add(of, 3.0, 4.0, 1.0, 0.5)
    of.busy, of.waited, of.saving = 4.0, 1.0, 0.5
    of.clear()
    assert (of.busy, of.waited, of.saving, of.taken) == (0.0, 0.0, 0.0, 0.0)
    assert of.sums.keys() == window().sums.keys()
    assert all(not value.any() for value in of.sums.values())
    assert of.numbers() == {"gradient_norm": 0.0, "skipped": 0.0, "padding": 1.0}


def test_one_updates_sums_are_not_the_windows() -> None:
    of = window()
    of.zeros()["loss"].add_(1.0)
    assert not of.sums["loss"].any()
    assert of.sums["updates"].dtype == torch.float64
