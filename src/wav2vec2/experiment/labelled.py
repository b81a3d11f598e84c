"""Options of experiments on one corpus with lists of labelled utterances, and the stage that reads them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wav2vec2.errors import UserError
from wav2vec2.experiment.options import ExperimentOptions, Repeated
from wav2vec2.experiment.speech import choose_speech
from wav2vec2.experiment.steps import PREPARED, SPEECH, Steps
from wav2vec2.pipeline.stage import File, Function, Ref, Stage


@dataclass(frozen=True, kw_only=True)
class LabelledOptions(ExperimentOptions):
    """Where the labels and splits are."""

    labels: Repeated = ()
    """TIER=FILE, as often as needed: the ids of its labelled utterances, one a line; labels-TIER.txt in --speech if not
    given."""
    train_splits: str = ""
    """Splits to learn from, joined by "+"; those whose names begin with "train", if not given."""
    dev_splits: str = ""
    """For learning rates and language model weights; dev* or valid*, if not given."""
    test_splits: str = ""
    """Scored; test*, if not given."""


def label_lists(options: LabelledOptions, tiers: Sequence[str]) -> list[File]:
    """The list of every amount but "all", in the order of the amounts. Raises UserError for one that is missing."""
    named = dict(pair.partition("=")[::2] for pair in options.labels)
    if set(named) - set(tiers) or not all(named.values()):
        raise UserError(f"--labels {' '.join(options.labels)}: write TIER=FILE, tiers are {', '.join(tiers)}")
    found = []
    for tier in tiers:
        if tier == "all":
            continue
        path = Path(named[tier]) if tier in named else (options.speech or Path()) / f"labels-{tier}.txt"
        if not path.is_file():
            raise UserError(f"{path}: no list of the labelled utterances of '{tier}': give --labels {tier}=FILE")
        found.append(File(path))
    return found


def speech_stage(steps: Steps, options: LabelledOptions, tiers: Sequence[str]) -> Stage:
    """Splits, hours and labels of an experiment; see ``choose_speech``."""
    scale = steps.scale
    settings: dict[str, Any] = {
        "manifest": Ref(PREPARED),
        "train": options.train_splits,
        "dev": options.dev_splits,
        "tests": options.test_splits,
        "tiers": tuple(tiers),
        "lists": tuple(label_lists(options, tiers)),
        "train_seconds": scale.train_seconds,
        "dev_seconds": scale.dev_seconds,
        "test_seconds": scale.test_seconds,
        "hold_out": scale.hold_out,
    }
    return Stage(SPEECH, Function(choose_speech, settings), "manifest.parquet", "choose splits, labels and hours")
