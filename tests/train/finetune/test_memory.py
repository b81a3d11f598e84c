"""Memory of fine-tuning: the formula against the models themselves and torch's tracker, and the choice of what fits."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from scripts.finetune_memory import Case, tracked
from tests.train.tiny_run import TINY, finetune_config

import wav2vec2
from wav2vec2.config import load_recipe
from wav2vec2.errors import UserError
from wav2vec2.model.architecture import ARCHITECTURES
from wav2vec2.model.pretraining import Wav2Vec2ForPretraining
from wav2vec2.train.finetune.command import run
from wav2vec2.train.finetune.config import FinetuneConfig
from wav2vec2.train.finetune.memory import Setting, activations, bytes_of, fitted, needed, weights
from wav2vec2.train.finetune.ways import TuneConfig, with_adapters

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
XLSR = ARCHITECTURES["300m"]
USUAL = FinetuneConfig(init="facebook/wav2vec2-xls-r-300m")


def test_weights_are_counted_to_the_digit() -> None:
    for name, way in (("300m", "adapters"), ("300m", "lora"), ("base", "context"), ("tiny", "everything")):
        case = Case(name, way, layers=2)  # type: ignore[arg-type]
        with torch.device("meta"):
            model = case.model()
        found = (
            sum(p.numel() for p in model.parameters()),
            sum(p.numel() for p in model.parameters() if p.requires_grad),
        )
        assert weights(model.architecture, case.way, USUAL.tune, 32) == found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "recompute", "half"),
    [("everything", True, False), ("context", False, True), ("adapters", False, False), ("lora", True, True)],
)
def test_the_formula_is_within_15_percent_of_the_tracker(way: str, recompute: bool, half: bool) -> None:
    case = Case("300m", way, recompute, half, 6.0, layers=2)  # type: ignore[arg-type]
    sizes = replace(XLSR, layers=2)
    sizes = with_adapters(sizes, 16) if way == "adapters" else sizes
    every, trained = weights(sizes, case.way, USUAL.tune, 32)
    setting = Setting(case.way, recompute, half, 6.0)
    moving = activations(sizes, setting, USUAL.regularization, USUAL.tune.lora_rank, 32, gpu=half)
    assert 4 * every + 12 * trained + moving == pytest.approx(tracked(case), rel=0.15)


def test_sizes_are_read_with_their_unit() -> None:
    assert (bytes_of("8GB"), bytes_of("11.5 gb"), bytes_of("500MB"), bytes_of("2GiB")) == (8e9, 11.5e9, 5e8, 2.0**31)
    for wrong in ("8", "GB", "0GB", "-8GB", "8 TB", "nan GB"):
        with pytest.raises(UserError, match="give a number with its unit, such as 8GB"):
            bytes_of(wrong)


def chosen(memory: str, device: torch.device = GPU, config: FinetuneConfig = USUAL) -> FinetuneConfig:
    return fitted(replace(config, memory=memory), XLSR, 32, 15.0, device)[0]


def test_less_memory_means_shorter_passes_then_recomputation_then_fewer_weights() -> None:
    large, *others = (chosen(f"{size}GB") for size in (80, 16, 8, 6.5, 4, 3))
    assert (large.tune.what, large.parallel.recompute, large.batch.micro_seconds) == ("context", False, 200.0)
    found = [(c.tune.what, c.parallel.recompute, c.batch.micro_seconds) for c in others]
    assert all(one.train.precision == "bf16" for one in (large, *others))
    order = {"context": 0, "lora": 1, "adapters": 2}
    ranks = [(order[what], recompute, -seconds) for what, recompute, seconds in found]
    assert ranks == sorted(ranks)
    assert {what for what, _, _ in found} >= {"context", "lora"}
    for one, size in zip(others, (16, 8, 6.5, 4, 3), strict=True):
        setting = Setting(one.tune.what, one.parallel.recompute, True, one.batch.micro_seconds)  # type: ignore[arg-type]
        assert needed(XLSR, setting, one, 32, gpu=True) <= size * 1e9
        assert one.batch.micro_seconds >= 15.0


def test_what_was_asked_for_stays_and_what_cannot_fit_is_refused() -> None:
    asked = replace(USUAL, tune=TuneConfig("everything"))
    assert chosen("20GB", config=asked).tune.what == "everything"
    with pytest.raises(UserError, match=r"4GB is too little to fine-tune 300m: tune\.what = everything, .* 15\.0 s"):
        chosen("4GB", config=asked)
    with pytest.raises(UserError, match=r"1GB is too little"):
        chosen("1GB")
    assert chosen("64GB", CPU).train.precision == "fp32"
    scratch = chosen("64GB", CPU, replace(USUAL, init="scratch"))
    assert scratch.tune.what == "auto"


def test_a_run_says_what_it_chose_and_goes_on_with_it(
    labelled_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wav2vec2.save(Wav2Vec2ForPretraining(TINY.build()), tmp_path / "encoder")
    config = finetune_config(labelled_corpus, tmp_path / "run", str(tmp_path / "encoder"))
    config = replace(config, memory="4GB", data=replace(config.data, validation_split=""))
    run(replace(config, train=replace(config.train, max_minutes=1e-6)))
    run(config)
    said = capsys.readouterr().out
    assert said.count("memory 4GB: --tune.what context --parallel.no-recompute --batch.micro-seconds 1.6") == 2
    assert "resuming" in said
    resolved = load_recipe(tmp_path / "run" / "config.toml", FinetuneConfig)
    assert (resolved.tune.what, resolved.memory) == ("context", "4GB")
    with pytest.raises(UserError, match=r"memory: 100MB is too little to fine-tune tiny"):
        run(replace(config, output=str(tmp_path / "other"), memory="100MB"))
