"""``wav2vec2 experiment low-label``: with few labels, how much does pre-training on unlabelled speech help?

{10 minutes, 1 hour, all} of labels x {from scratch, pre-trained} x {greedy, 4-gram, Transformer LM}. Both arms have the
same model, labels and number of updates, and see the same utterances in the same order. Each arm has its own learning
rate: the best on dev of equally many, found with the first amount of labels and kept for the others. From scratch, all
weights are trained from the first update.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from wav2vec2.errors import UserError
from wav2vec2.experiment.choose import choose_learning_rate
from wav2vec2.experiment.command import Cells, run_experiment
from wav2vec2.experiment.options import LabelledOptions
from wav2vec2.experiment.scale import ARMS, TIERS
from wav2vec2.experiment.steps import LMS, PRETRAINED, SPEECH, Steps, speech_stage, splits
from wav2vec2.experiment.tables import Table, low_label_tables
from wav2vec2.pipeline.plan import Plan
from wav2vec2.pipeline.stage import Argument, File, Function, Ref, Stage, Value

Arm = Literal["pretrained", "scratch"]
_MANIFEST = Ref(SPEECH)


@dataclass(frozen=True, kw_only=True)
class LowLabelOptions(LabelledOptions):
    """Few labels, with and without pre-training: {10 min, 1 h, all} x {from scratch, pre-trained} x {greedy, 4-gram,
    Transformer LM}. Gives error rates with intervals and paired differences; --table prints the results so far.
    """

    tiers: tuple[Literal["10min", "1h", "all"], ...] = TIERS  # type: ignore[assignment]
    """Amounts of labels, in the order in which they are run; "all" is the whole training split."""
    arms: tuple[Arm, ...] = ARMS  # type: ignore[assignment]
    """Which arms are trained."""
    lms: tuple[Literal["greedy", "ngram", "transformer"], ...] = LMS  # type: ignore[assignment]
    """Ways of decoding."""
    seeds: tuple[int, ...] = (1,)
    """Seeds of fine-tuning; everything with the first seed is run first."""
    learning_rates: tuple[float, ...] = ()
    """Learning rates to choose from in both arms, instead of the scale's. A single one is used without trials."""
    init: str = ""
    """Continue the pre-training of this model instead of starting from random weights."""


def run(options: LowLabelOptions) -> None:
    """Run the stages that are not done and print the tables. Raises UserError."""
    rows = [(tier, arm, str(seed)) for seed in options.seeds for tier in options.tiers for arm in options.arms]

    def tables(cells: Cells) -> list[Table]:
        return low_label_tables(cells, rows, options.lms)

    run_experiment("low-label", options, lambda: plan(options), tables)


def plan(options: LowLabelOptions) -> Plan:
    """All stages, the most interesting results first."""
    options.check()
    for name in ("tiers", "arms", "lms", "seeds"):
        chosen = getattr(options, name)
        if not chosen or len(set(chosen)) != len(chosen):
            raise UserError(f"--{name}: give at least one, each once")
    steps = Steps(options)
    lms = steps.language_models(options.lms)
    stages = [steps.prepare(), speech_stage(steps, options, options.tiers)]
    if "pretrained" in options.arms:
        stages.append(_pretrain(steps, options))
    stages += [stage for stage in lms if stage.name == "lm-ngram"]
    first = True
    for seed in options.seeds:
        for tier in options.tiers:
            for arm in options.arms:
                stages += _fine_tuned(steps, options, tier, arm, seed)
            if first:  # late, so that the first greedy and 4-gram results do not wait for it
                stages += [stage for stage in lms if stage.name != "lm-ngram"]
                first = False
            for arm in options.arms:
                stages += _decoded(steps, options, tier, arm, seed)
    return Plan(options.folder("low-label"), stages, options.adopted())


def _pretrain(steps: Steps, options: LowLabelOptions) -> Stage:
    settings: dict[str, Any] = {
        "data.manifest": _MANIFEST,
        "data.split": splits("train"),
        "data.hold_out": Value(SPEECH, "hold_out"),
        "data.hold_out_avoid": Ref(SPEECH, "labels/any.txt"),
        **steps.model_settings(),
    }
    if options.init:
        path = Path(options.init)  # a model on disk counts by its content, one on the hub by its name
        settings["init"] = File(path) if path.exists() else options.init
    return steps.pretrain(settings)


def _fine_tuned(steps: Steps, options: LowLabelOptions, tier: str, arm: str, seed: int) -> list[Stage]:
    """The model ``finetune-TIER-ARM-sSEED``; if there are several learning rates, trials and the best of them."""
    name = f"{tier}-{arm}-s{seed}"
    rates = options.learning_rates or steps.scale.rates[arm]
    if len(rates) == 1:
        return [_trained(steps, tier, arm, seed, rates[0], f"finetune-{name}")]
    tried = f"{options.tiers[0]}-{arm}-s{options.seeds[0]}"
    if name != tried:
        return [_trained(steps, tier, arm, seed, Value(f"finetune-{tried}", "lr"), f"finetune-{name}")]
    trials = [f"trial-{name}-lr{rate:g}" for rate in rates]
    settings: dict[str, Any] = {
        "models": tuple(map(Ref, trials)),
        "logs": tuple(Ref(trial, "log.jsonl") for trial in trials),
        "rates": tuple(rates),
    }
    choice = Function(choose_learning_rate, settings)
    return [
        *(_trained(steps, tier, arm, seed, rate, trial) for rate, trial in zip(rates, trials, strict=True)),
        Stage(f"finetune-{name}", choice, "model", f"{tier}, {arm}: keep the learning rate that is best on dev"),
    ]


def _trained(steps: Steps, tier: str, arm: str, seed: int, rate: Argument, name: str) -> Stage:
    settings: dict[str, Any] = {
        "data.manifest": _MANIFEST,
        "data.split": splits("train"),
        "data.validation_split": splits("dev"),
        "data.validation_utterances": steps.scale.validation_utterances,
        "seed": seed,
        "train.lr": rate,
    }
    if tier != "all":
        settings["data.labels"] = Ref(SPEECH, f"labels/{tier}.txt")
    start = None if arm == "scratch" else Ref(PRETRAINED)
    title = f"{tier}, {arm}, seed {seed}"
    return steps.finetune(name, steps.scale.finetune[tier], settings, title, start=start, few_labels=tier != "all")


def _decoded(steps: Steps, options: LowLabelOptions, tier: str, arm: str, seed: int) -> list[Stage]:
    name = f"{tier}-{arm}-s{seed}"
    return steps.decode(
        name,
        Ref(f"finetune-{name}"),
        manifest=_MANIFEST,
        dev=splits("dev"),
        tests=splits("test"),
        lms=options.lms,
        row={"tier": tier, "arm": arm, "seed": str(seed)},
    )
