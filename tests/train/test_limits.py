import math
from dataclasses import fields, is_dataclass, replace

import pytest

from wav2vec2.errors import UserError
from wav2vec2.model.architecture import ARCHITECTURES
from wav2vec2.train.distributed import session
from wav2vec2.train.finetune.command import FinetuneConfig
from wav2vec2.train.finetune.command import run as finetune
from wav2vec2.train.language_model.command import LanguageModelConfig
from wav2vec2.train.language_model.command import run as language_model
from wav2vec2.train.limits import LIMITS, Range, refuse_impossible
from wav2vec2.train.options import ModelConfig
from wav2vec2.train.pretrain.command import PretrainConfig
from wav2vec2.train.pretrain.command import run as pretrain

CONFIGS = (PretrainConfig(), FinetuneConfig(init="scratch"), LanguageModelConfig())


def with_value(config, key, value):
    name, _, rest = key.partition(".")
    return replace(config, **{name: with_value(getattr(config, name), rest, value) if rest else value})


def keys(config, prefix=""):
    for field in fields(config):
        value = getattr(config, field.name)
        if is_dataclass(value):
            yield from keys(value, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}", value


def numbers(config):
    found = keys(config)
    sizes = {f"model.{name}" for name in ("hidden_size", "layers", "ffn_size", "heads", "cutoff_factor")}
    return {k: v for k, v in found if isinstance(v, int | float) and not isinstance(v, bool) and k not in sizes}


def test_the_defaults_are_possible_and_every_limit_is_one_of_an_option() -> None:
    known = set()
    for config in CONFIGS:
        refuse_impossible(config)
        known |= set(numbers(config))
    assert set(LIMITS) <= known


@pytest.mark.parametrize("config", CONFIGS, ids=["pretrain", "finetune", "language model"])
def test_every_number_outside_its_range_is_refused_by_name(config) -> None:
    for key, value in numbers(config).items():
        allowed = LIMITS[key]
        wrong = [allowed.low if allowed.open_low else allowed.low - 1]
        wrong += [] if allowed.high == math.inf else [allowed.high if allowed.open_high else allowed.high + 1]
        wrong += [math.nan, math.inf] if isinstance(value, float) else []
        for number in wrong:
            with pytest.raises(UserError, match=rf"^{key} is "):
                refuse_impossible(with_value(config, key, number))


def test_an_exponential_decay_to_zero_is_refused() -> None:
    config = with_value(CONFIGS[1], "train.final_scale", 0.0)
    with pytest.raises(UserError, match="final_scale"):
        refuse_impossible(config)
    refuse_impossible(with_value(config, "train.decay", "linear"))


def test_ranges_say_what_they_are() -> None:
    assert str(Range(1)) == "at least 1"
    assert str(Range(0, 1, open_low=True, open_high=True)) == "above 0 and below 1"
    assert str(Range(0, 1)) == "at least 0 and at most 1"


def test_every_command_refuses_before_it_reads_anything() -> None:
    for command, config in zip((pretrain, finetune, language_model), CONFIGS, strict=True):
        with pytest.raises(UserError, match=r"train\.threads is -1: it must be at least 0"):
            command(with_value(config, "train.threads", -1))


@pytest.mark.parametrize("device", ["meta", "nonsense", "gpu", ""])
def test_only_a_device_that_can_train_is_taken(device) -> None:
    with pytest.raises(UserError, match="no device to train on"), session(device):
        pass


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"hidden_size": -16}, "hidden_size"),
        ({"codevector_size": 0}, "codevector_size"),
        ({"pos_conv_kernel": 0}, "pos_conv_kernel"),
        ({"negatives": 0}, "negatives"),
        ({"logit_temperature": 0.0}, "logit_temperature"),
        ({"logit_temperature": math.nan}, "logit_temperature"),
        ({"conv_channels": (8, 0, 8, 8, 8, 8, 8)}, "conv_channels"),
        ({"conv_strides": (0,) * 7}, "conv_strides"),
    ],
)
def test_an_architecture_of_impossible_sizes_is_refused(change, named) -> None:
    with pytest.raises(ValueError, match=named):
        replace(ARCHITECTURES["tiny"], **change)
    with pytest.raises(UserError, match=f"model: .*{named}"):
        ModelConfig(architecture="tiny", **change).build()
