"""Updates that are skipped and checks that fail are counted in a row, also across a restart."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.train.tiny_run import logged, with_train

from wav2vec2.errors import UserError
from wav2vec2.train.options import HealthConfig
from wav2vec2.train.pretrain import command as pretrain
from wav2vec2.train.pretrain.objective import ContrastiveObjective


def poison(monkeypatch: pytest.MonkeyPatch, updates: set[int]) -> None:
    """Make the losses of some updates NaN."""
    loss = ContrastiveObjective.loss

    def poisoned(self: ContrastiveObjective, *given: Any) -> Any:
        value, sums = loss(self, *given)
        return (value * math.nan if value is not None and given[-1] in updates else value), sums

    monkeypatch.setattr(ContrastiveObjective, "loss", poisoned)


def test_only_skips_in_a_row_stop_a_run(
    tiny_pretraining: pretrain.PretrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = with_train(tiny_pretraining, updates=9, max_skips=3)
    poison(monkeypatch, {1, 2, 4, 5, 7, 8})
    pretrain.run(config)
    assert [record["skipped"] for record in logged(config.output)] == [0, 1, 1, 0, 1, 1, 0, 1, 1]
    poison(monkeypatch, {3})
    with pytest.raises(UserError, match=r"not finite at update 3, 3 skipped in a row"):
        pretrain.run(replace(config, output=str(tmp_path / "other")))


def test_skips_in_a_row_are_counted_across_a_restart(
    tiny_pretraining: pretrain.PretrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch, {0, 1, 2})
    config = with_train(tiny_pretraining, updates=9, max_skips=3)
    for _ in range(2):
        pretrain.run(with_train(config, max_minutes=1e-9))
    with pytest.raises(UserError, match=r"not finite at update 2, 3 skipped in a row"):
        pretrain.run(config)


def test_suspicious_lines_in_a_row_are_counted_across_a_restart(tiny_pretraining: pretrain.PretrainConfig) -> None:
    always = HealthConfig(patience=3, grace_share=0.0, collapse_perplexity=1e9)
    config = replace(tiny_pretraining, health=always, model=replace(tiny_pretraining.model, codebook_entries=1))
    for _ in range(2):
        pretrain.run(with_train(config, max_minutes=1e-9))
    with pytest.raises(UserError, match=r"update 3: codebook 1 of 2 uses 1\.0 of 1 entries"):
        pretrain.run(config)
