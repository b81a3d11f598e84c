"""Scales of an experiment: model, hours of speech and number of updates. The comparison is the same at every scale.

``tiny`` shows in minutes that everything runs; ``small`` takes a day on a few CPU cores, ``medium`` half an hour on one
GPU; ``paper`` is BASE as published. Small models differ from the paper's in two further ways, both measured
(docs/log.md): layer norms come before the blocks, and their recipes begin fine-tuning with short utterances. Both arms
of a comparison are treated the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from wav2vec2.errors import UserError
from wav2vec2.pipeline.stage import Argument

ScaleName = Literal["tiny", "small", "medium", "paper"]
TIERS = ("1h", "10min", "all")
"""Amounts of labels, the most interesting first."""
ARMS = ("pretrained", "scratch")
_PRE_NORM: Mapping[str, Argument] = {"model.layer_norm_first": True}


@dataclass(frozen=True)
class Tuning:
    """How language model weights are tuned on dev, and with which beams the tests are decoded (section 4.4)."""

    trials: int = 128
    ngram_beam: int = 500
    transformer_beam: int = 50
    test_ngram_beam: int = 1500
    test_transformer_beam: int = 500
    transformer: Literal["search", "rescore"] = "search"
    """search: the Transformer guides the search, as in the paper. rescore: the n-gram's best hypotheses are ranked
    again by a mixture of both."""
    share: float = 0.5
    """The Transformer's share of the mixture in rescoring."""
    decoder: Literal["lexicon", "beam"] = "lexicon"
    """With the n-gram. lexicon: flashlight's search, the paper's. beam: our own, several times as fast. A Transformer
    always guides our own search, which asks it for all hypotheses of all utterances at once."""


@dataclass(frozen=True)
class Scale:
    """One scale. train_seconds, dev_seconds, test_seconds: at most this much speech from each split; 0: all of it."""

    name: ScaleName
    pretrain: str
    """Recipe for pre-training."""
    finetune: Mapping[str, str]
    """Recipe for fine-tuning, by amount of labels."""
    language_model: str
    rates: Mapping[str, tuple[float, ...]]
    """Learning rates to try, equally many for each arm."""
    tuning: Tuning
    model: Mapping[str, Argument] = field(default_factory=dict)
    """Changes of the model's recipe, in both arms."""
    scratch_dropout: float | None = None
    """Dropout for training from scratch on few labels; None: the recipe's."""
    train_seconds: float = 0.0
    dev_seconds: float = 0.0
    test_seconds: float = 0.0
    hold_out: int = 60
    validation_utterances: int = 100
    language_model_hold_out: int = 500


SCALES: dict[str, Scale] = {
    scale.name: scale
    for scale in (
        Scale(
            name="tiny",
            pretrain="pretrain_tiny.toml",
            finetune=dict.fromkeys(TIERS, "finetune_tiny.toml"),
            language_model="lm_word_small.toml",
            rates=dict.fromkeys(ARMS, (5e-4, 2e-3)),
            tuning=Tuning(
                8,
                ngram_beam=20,
                transformer_beam=10,
                test_ngram_beam=50,
                test_transformer_beam=20,
                transformer="rescore",
                decoder="beam",
            ),
            model=_PRE_NORM,
            train_seconds=1800.0,
            dev_seconds=240.0,
            test_seconds=240.0,
            hold_out=20,
            validation_utterances=20,
            language_model_hold_out=50,
        ),
        Scale(
            name="small",
            pretrain="pretrain_small.toml",
            finetune={
                "10min": "finetune_small_10min.toml",
                "1h": "finetune_small_1h.toml",
                "all": "finetune_small_6h.toml",
            },
            language_model="lm_word_small.toml",
            rates=dict.fromkeys(ARMS, (3e-4, 1e-3)),
            tuning=Tuning(32, 100, 50, 500, 100, "rescore", decoder="beam"),
            model=_PRE_NORM,
            dev_seconds=1800.0,
        ),
        Scale(
            name="medium",
            pretrain="pretrain_medium.toml",
            finetune={
                "10min": "finetune_medium_10min.toml",
                "1h": "finetune_medium_1h.toml",
                "all": "finetune_medium_6h.toml",
            },
            language_model="lm_word_small.toml",
            rates={"pretrained": (2e-4, 5e-4), "scratch": (3e-4, 1e-3)},
            tuning=Tuning(64, 200, 50, 500, 100, "rescore", decoder="beam"),
            model=_PRE_NORM,
            scratch_dropout=0.2,
            dev_seconds=1800.0,
        ),
        Scale(
            name="paper",
            pretrain="pretrain_base.toml",
            finetune={
                "10min": "finetune_base_10min.toml",
                "1h": "finetune_base_1h.toml",
                "all": "finetune_base_960h.toml",
            },
            language_model="lm_transformer_paper.toml",
            rates={"pretrained": (2e-5, 3e-5), "scratch": (1e-4, 3e-4)},
            tuning=Tuning(),
            hold_out=1000,
            validation_utterances=0,
            language_model_hold_out=5000,
        ),
    )
}


def scale_named(name: str) -> Scale:
    """The scale of that name. Raises UserError if there is none."""
    if name not in SCALES:
        raise UserError(f"--scale {name}: choose one of {', '.join(SCALES)}")
    return SCALES[name]
