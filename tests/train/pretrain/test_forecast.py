"""What is said before a pre-training begins: hours beside the published curve, and what is known not to work."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from tests.train.tiny_run import pretrain_config, with_train

from wav2vec2.config import load_recipe
from wav2vec2.recipe_files import find_recipe
from wav2vec2.train.options import BatchConfig, TrainConfig
from wav2vec2.train.pretrain.command import PretrainConfig, run
from wav2vec2.train.pretrain.forecast import CPU_RECIPE, forecast

BASE, SMALL = 95_000_000, 6_000_000
RECIPES = Path(__file__).parents[3] / "recipes"


def said(
    seconds: float, updates: int, lr: float = 5e-4, scale: bool = False, size: int = BASE, cpu: bool = False
) -> str:
    batch, train = BatchConfig(seconds=seconds), TrainConfig(updates=updates, lr=lr, scale_lr=scale)
    return "\n".join(forecast(batch, train, parameters=size, on_cpu=cpu))


@pytest.mark.parametrize(
    ("seconds", "updates", "verdict"),
    [
        (5760, 400_000, "640,000 h to be heard"),
        (5760, 400_000, "more than the 267,000 h that were published"),
        (60, 5_500, "92 h to be heard"),
        (60, 5_500, "fewer than 4,200 h taught BASE nothing"),
        (600, 100_200, "so about 72 % for this run, were it BASE"),
        (3600, 66_700, "so about 51 % for this run"),
        (3600, 40_000, "so about 59 % for this run"),  # on a logarithmic scale
    ],
)
def test_hours_are_put_beside_the_published_curve(seconds: float, updates: int, verdict: str) -> None:
    assert verdict in said(seconds, updates)


def test_a_small_batch_with_the_papers_rate_and_base_on_a_cpu_are_warned_of() -> None:
    assert "a batch of 10 min with a learning rate of 0.0005" in said(600, 1000)
    assert "warning" not in said(1200, 1000)
    assert "warning" not in said(600, 1000, lr=2e-4)
    assert "warning" not in said(600, 1000, scale=True)
    assert "warning" not in said(600, 1000, size=SMALL, cpu=True)
    # 1000 updates of 1,200 s at 4.95 s a second
    assert "so this run takes them 3 days" in said(1200, 1000, cpu=True)
    assert said(1200, 1000, cpu=True).endswith("wav2vec2 pretrain pretrain_small_mfcc")
    assert find_recipe(CPU_RECIPE).is_file()


def test_the_papers_own_recipe_is_not_warned_of() -> None:
    config = load_recipe(RECIPES / "pretrain_base.toml", PretrainConfig)
    lines = forecast(config.batch, config.train, parameters=BASE, on_cpu=False)
    assert len(lines) == 1
    assert "622,222 h" in lines[0]


def test_a_run_says_it_and_its_rate_after_the_first_update_where_log_lines_are_rare(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wav2vec2.train.loop._SOON", 0)
    config = with_train(pretrain_config(corpus, tmp_path / "run"), updates=2)
    run(replace(config, log=replace(config.log, every=2)))
    said = capsys.readouterr().out
    assert "forecast: 2 updates of 3 s are 0 h to be heard" in said
    assert len(re.findall(r"^update 1 took \d+ s; at this rate \d+ min \d+ s are left$", said, re.M)) == 1
