"""The rules of every option: which numbers are refused, what a resumed run may change, what is left out of a stage."""

import math
from dataclasses import replace

import pytest

from wav2vec2.config import Range, Rules, options
from wav2vec2.errors import UserError
from wav2vec2.model.architecture import ARCHITECTURES
from wav2vec2.train.distributed import session
from wav2vec2.train.finetune.command import run as finetune
from wav2vec2.train.finetune.config import FinetuneConfig
from wav2vec2.train.language_model.command import LanguageModelConfig
from wav2vec2.train.language_model.command import run as language_model
from wav2vec2.train.options import ModelConfig, refuse_impossible
from wav2vec2.train.pretrain.command import PretrainConfig
from wav2vec2.train.pretrain.command import run as pretrain

CONFIGS = (PretrainConfig(), FinetuneConfig(init="scratch"), LanguageModelConfig())

RANGES = {
    "at least -1": "units.layer batch.workers",
    "at least 0": """seed data.hold_out data.validation_utterances freeze.updates curriculum.seconds
        regularization.feature_grad_mult masking.min_spans masking.span_spread masking.min_space
        variant.batch_negatives variant.codebook_negatives variant.edge_frames loss.diversity_weight
        loss.penalty_weight batch.min_seconds batch.length_jitter train.weight_decay train.clip_norm
        train.threads train.max_minutes log.validate_every log.save_every health.chance_margin
        health.collapse_perplexity""",
    "above 0": """tune.lora_alpha
        model.layer_norm_eps curriculum.epochs regularization.tau_start regularization.tau_end batch.seconds
        batch.micro_seconds batch.max_seconds train.lr train.eps parallel.timeout_minutes""",
    "at least 0 and at most 32": "batch.buckets",
    "at least 1": """tune.adapter_size tune.lora_rank
        batch.multiple text.min_count masking.time_span masking.channel_span batch.prefetch batch.tokens
        batch.micro_tokens train.updates train.max_skips units.iterations log.every log.keep_last health.patience""",
    "at least 2": "batch.max_tokens units.clusters units.fit_frames",
    "at least 1 and at most 100": "variant.quantizer_depth",
    "at least 0 and below 10": "edges.seconds",
    "at least 0 and at most 1": """edges.share freeze.share curriculum.share masking.time_start masking.channel_start
        loss.tau_floor_share train.warmup_share train.hold_share train.initial_scale train.final_scale
        health.grace_share health.chance_share data.mix_beta""",
    "above 0 and at most 1": "regularization.tau_decay",
    "at least 0 and below 1": """regularization.dropout regularization.attention_dropout
        regularization.activation_dropout regularization.input_dropout regularization.feature_dropout
        regularization.final_dropout regularization.layerdrop train.beta1 train.beta2""",
}

MACHINE = """output memory batch.workers batch.prefetch batch.in_memory batch.by_node train.device train.threads
    train.max_minutes log.every log.save_every log.keep_last log.tensorboard
    parallel.strategy parallel.recompute parallel.timeout_minutes train.compile train.triton"""
MAY_CHANGE = """data.manifest data.validation_manifest data.hold_out_avoid data.hold_out_by data.labels data.text
    data.validation batch.micro_seconds batch.micro_tokens train.max_skips log.validate_every health.enabled
    health.go_back health.patience health.grace_share health.chance_share health.chance_margin
    health.collapse_perplexity"""


def with_value(config, key, value):
    name, _, rest = key.partition(".")
    return replace(config, **{name: with_value(getattr(config, name), rest, value) if rest else value})


def known() -> list[tuple[str, Rules]]:
    """Every key of every recipe, with the same key once for each recipe that has it."""
    return [(key, rules) for config in CONFIGS for key, _, rules in options(config)]


def test_the_defaults_are_possible() -> None:
    for config in CONFIGS:
        refuse_impossible(config)


def test_every_option_has_the_range_that_it_should() -> None:
    expected = {key: range for range, keys in RANGES.items() for key in keys.split()}
    assert {(key, str(rules.range)) for key, rules in known() if rules.range is not None} == set(expected.items())
    assert {key for key, rules in known() if rules.range is None}.isdisjoint(expected)


def test_a_resumed_run_may_change_where_and_how_it_runs_and_little_else() -> None:
    machine = set(MACHINE.split())
    free = machine | set(MAY_CHANGE.split())
    for key, rules in known():
        assert (rules.machine, rules.may_change) == (key in machine, key in free), key
    assert free <= {key for key, _ in known()}


def test_every_number_but_the_sizes_of_a_model_has_a_range() -> None:
    for config in CONFIGS:
        for key, value, rules in options(config):
            if isinstance(value, int | float) and not isinstance(value, bool) and not key.startswith("model."):
                assert rules.range is not None, key


@pytest.mark.parametrize("config", CONFIGS, ids=["pretrain", "finetune", "language model"])
def test_every_number_outside_its_range_is_refused_by_name(config) -> None:
    for key, value, rules in options(config):
        allowed = rules.range
        if allowed is None:
            continue
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
    with pytest.raises(UserError, match="not usable here"), session(device):
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
