"""float16 with a scaled loss: gradients are as before, the scale falls until nothing overflows, a checkpoint has it."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.train.tiny_run import logged, pretrain_config, with_train

from wav2vec2.model.architecture import Regularization
from wav2vec2.train.loss_scale import LossScale
from wav2vec2.train.precision import Precision
from wav2vec2.train.pretrain.command import PretrainConfig, run


def test_the_scale_is_halved_by_an_overflow_and_doubled_after_many_updates() -> None:
    scale = LossScale(torch.device("cpu"), used=True)
    scale.adjust(torch.tensor(torch.inf))
    assert scale.factor == 32_768
    for _ in range(2_000):
        scale.adjust(torch.tensor(1.0))
    assert scale.factor == 65_536
    unused = LossScale(torch.device("cpu"), used=False)
    unused.adjust(torch.tensor(torch.inf))
    assert (float(unused.factor), unused.tensors()) == (1.0, {})


@pytest.fixture
def half(corpus: Path, tmp_path: Path) -> PretrainConfig:
    config = with_train(pretrain_config(corpus, tmp_path / "half"), updates=8, precision="fp16", max_skips=20)
    quiet = Regularization(
        dropout=0, attention_dropout=0, activation_dropout=0, input_dropout=0, feature_dropout=0, layerdrop=0
    )
    log = replace(config.log, every=1, validate_every=0, save_every=4)
    return replace(config, regularization=quiet, log=log)


def test_it_learns_as_in_full_precision(half: PretrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wav2vec2.train.loss_scale._START", 256.0)
    run(half)
    run(with_train(replace(half, output=str(tmp_path / "whole")), precision="fp32"))
    for one, other in zip(logged(half.output), logged(str(tmp_path / "whole")), strict=True):
        assert one["skipped"] == 0
        assert one["contrastive"] == pytest.approx(other["contrastive"], rel=5e-3)
        assert one["gradient_norm"] == pytest.approx(other["gradient_norm"], rel=5e-2)


def test_updates_are_skipped_until_nothing_overflows(half: PretrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wav2vec2.train.loss_scale._START", 2.0**18)
    run(half)
    skipped = [record["skipped"] for record in logged(half.output)]
    first = skipped.index(0)
    assert 1 <= first < 8
    assert not any(skipped[-3:])


def test_a_stopped_run_goes_on_with_its_scale(
    half: PretrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wav2vec2.train.loss_scale._INTERVAL", 3)
    run(half)
    parts = replace(half, output=str(tmp_path / "parts"))
    for _ in range(3):
        run(with_train(parts, max_minutes=1e-7))
    run(parts)
    assert [r["gradient_norm"] for r in logged(parts.output)] == [r["gradient_norm"] for r in logged(half.output)]


def test_a_run_of_a_device_without_scale_goes_on_with_one(
    half: PretrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(with_train(half, precision="bf16", max_minutes=1e-7))
    moved = Precision(torch.float32, torch.float16, torch.float32)
    monkeypatch.setattr("wav2vec2.train.step.precision_on", lambda *_: moved)
    run(with_train(half, precision="bf16"))
    assert logged(half.output)[-1]["update"] == 8
