"""The range of every number in a recipe: what lies outside it is refused by name before anything is read or trained."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from wav2vec2.config import as_plain
from wav2vec2.errors import UserError


@dataclass(frozen=True)
class Range:
    """The numbers from ``low`` to ``high``; ``open_low`` and ``open_high`` leave that end out."""

    low: float
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.open_low else value >= self.low
        return above and (value < self.high if self.open_high else value <= self.high)

    def __str__(self) -> str:
        low = f"above {self.low:g}" if self.open_low else f"at least {self.low:g}"
        if self.high == math.inf:
            return low
        return f"{low} and {'below' if self.open_high else 'at most'} {self.high:g}"


_COUNT, _ONE_OR_MORE = Range(0), Range(1)
_NOT_NEGATIVE, _POSITIVE = Range(0.0), Range(0.0, open_low=True)
_SHARE, _PROBABILITY = Range(0.0, 1.0), Range(0.0, 1.0, open_high=True)

LIMITS: dict[str, Range] = {
    "seed": _COUNT,
    "data.hold_out": _COUNT,
    "data.validation_utterances": _COUNT,
    "text.min_count": _ONE_OR_MORE,
    "model.layer_norm_eps": _POSITIVE,
    "freeze.updates": _COUNT,
    "freeze.share": _SHARE,
    "curriculum.share": _SHARE,
    "curriculum.seconds": _NOT_NEGATIVE,
    "curriculum.epochs": _POSITIVE,
    "regularization.dropout": _PROBABILITY,
    "regularization.attention_dropout": _PROBABILITY,
    "regularization.activation_dropout": _PROBABILITY,
    "regularization.input_dropout": _PROBABILITY,
    "regularization.feature_dropout": _PROBABILITY,
    "regularization.final_dropout": _PROBABILITY,
    "regularization.layerdrop": _PROBABILITY,
    "regularization.feature_grad_mult": _NOT_NEGATIVE,
    "regularization.tau_start": _POSITIVE,
    "regularization.tau_end": _POSITIVE,
    "regularization.tau_decay": Range(0.0, 1.0, open_low=True),
    "masking.time_start": _SHARE,
    "masking.time_span": _ONE_OR_MORE,
    "masking.min_spans": _COUNT,
    "masking.channel_start": _SHARE,
    "masking.channel_span": _ONE_OR_MORE,
    "masking.span_spread": _NOT_NEGATIVE,
    "masking.min_space": _COUNT,
    "variant.quantizer_depth": Range(1, 100),
    "variant.batch_negatives": _COUNT,
    "variant.codebook_negatives": _COUNT,
    "variant.edge_frames": _COUNT,
    "loss.diversity_weight": _NOT_NEGATIVE,
    "loss.penalty_weight": _NOT_NEGATIVE,
    "loss.tau_floor_share": _SHARE,
    "batch.seconds": _POSITIVE,
    "batch.micro_seconds": _POSITIVE,
    "batch.min_seconds": _NOT_NEGATIVE,
    "batch.max_seconds": _POSITIVE,
    "batch.length_jitter": _NOT_NEGATIVE,
    "batch.workers": _COUNT,
    "batch.prefetch": _ONE_OR_MORE,
    "batch.tokens": _ONE_OR_MORE,
    "batch.micro_tokens": _ONE_OR_MORE,
    "batch.max_tokens": Range(2),
    "train.updates": _ONE_OR_MORE,
    "train.lr": _POSITIVE,
    "train.warmup_share": _SHARE,
    "train.hold_share": _SHARE,
    "train.initial_scale": _SHARE,
    "train.final_scale": _SHARE,
    "train.beta1": _PROBABILITY,
    "train.beta2": _PROBABILITY,
    "train.eps": _POSITIVE,
    "train.weight_decay": _NOT_NEGATIVE,
    "train.clip_norm": _NOT_NEGATIVE,
    "train.max_skips": _ONE_OR_MORE,
    "train.threads": _COUNT,
    "train.max_minutes": _NOT_NEGATIVE,
    "units.layer": Range(-1),
    "units.clusters": Range(2),
    "units.fit_frames": Range(2),
    "units.iterations": _ONE_OR_MORE,
    "log.every": _ONE_OR_MORE,
    "log.validate_every": _COUNT,
    "log.save_every": _COUNT,
    "log.keep_last": _ONE_OR_MORE,
    "health.patience": _ONE_OR_MORE,
    "health.grace_share": _SHARE,
    "health.chance_share": _SHARE,
    "health.chance_margin": _NOT_NEGATIVE,
}
"""By dotted key; sizes of a model are judged by its own class. 0 switches ``*_every`` and the like off."""


def refuse_impossible(config: Any) -> None:
    """Raise UserError naming the first number of a training configuration that is not finite or outside its range."""
    for key, value in _numbers(as_plain(config), ""):
        allowed = LIMITS.get(key)
        if not math.isfinite(value) or (allowed is not None and value not in allowed):
            raise UserError(f"{key} is {value:g}: it must be {allowed or 'a finite number'}")
    for section in ("masking", "variant"):
        if hasattr(config, section):
            try:
                getattr(config, section).check()
            except ValueError as error:
                raise UserError(f"{section}: {error}; change these keys of the recipe") from None
    if config.train.schedule == "tri-stage" and config.train.decay == "exponential" and not config.train.final_scale:
        raise UserError("train.final_scale is 0: an exponential decay never gets there, choose train.decay = linear")


def _numbers(table: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, float]]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{prefix}{name}", value
