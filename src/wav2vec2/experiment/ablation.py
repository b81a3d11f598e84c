"""``wav2vec2 experiment ablation``: what the model loses without each of its parts (table 4, appendices A and F).

Every variant is pre-trained, fine-tuned and decoded with the 4-gram in the same way. A variant is what its recipe in
``recipes/ablation`` changes in BASE's; that change is applied to the scale's own pre-training recipe.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wav2vec2.config import as_plain, differing_keys, load_recipe
from wav2vec2.errors import UserError
from wav2vec2.experiment.command import Cells, run_experiment
from wav2vec2.experiment.options import LimitedOptions
from wav2vec2.experiment.paper import TABLE_4
from wav2vec2.experiment.scale import TIERS
from wav2vec2.experiment.steps import SPEECH, Steps, limited_stages, speech_stage, splits
from wav2vec2.experiment.tables import Table, ablation_tables
from wav2vec2.pipeline.plan import Plan
from wav2vec2.pipeline.stage import Ref, Stage, Value
from wav2vec2.recipe_files import recipe_folder
from wav2vec2.report.run_log import read_run
from wav2vec2.train.pretrain.command import PretrainConfig

FOLDER = "ablation"
_BASE = "pretrain_base.toml"
_FINETUNE = "ablation/finetune_10h.toml"
_NOT_OF_VARIANT = ("output", "train.updates")  # keys of an ablation's recipe that are no part of the variant


@dataclass(frozen=True, kw_only=True)
class AblationOptions(LimitedOptions):
    """Compare variants of pre-training (table 4, appendices A and F) with each other and with the paper's results. Each
    is fine-tuned on the same labels and decoded with the same 4-gram. At --scale paper the defaults are the paper's: 10
    hours of labels (give --limited) and three seeds.
    """

    variants: tuple[str, ...] = tuple(TABLE_4)
    """Names of recipes in recipes/ablation; the others are compared with the first one. "all" takes every recipe.
    Default: table 4, quantized and continuous inputs and targets."""
    tier: str = ""
    """Labels to fine-tune on: 10min, 1h or 10h of --limited, the name of a list (--labels NAME=FILE, or labels-NAME.txt
    in --speech), or all. Default: 10h at --scale paper, else 1h."""
    seeds: tuple[int, ...] = ()
    """Seeds of fine-tuning. Default: 1 2 3 at --scale paper, else 1."""
    learning_rate: float = 0.0
    """Learning rate of fine-tuning, the same for all variants; 0: the first one of the scale."""

    @property
    def labels_used(self) -> str:
        """The chosen amount of labels, or the scale's default."""
        return self.tier or ("10h" if self.scale == "paper" else "1h")

    @property
    def seeds_used(self) -> tuple[int, ...]:
        """The chosen seeds, or the scale's default."""
        return self.seeds or ((1, 2, 3) if self.scale == "paper" else (1,))


def run(options: AblationOptions) -> None:
    """Run the stages that are not done and print the tables. Raises UserError."""
    names, made = variants(options), list[Plan]()

    def planned() -> Plan:
        made.append(plan(options))
        return made[0]

    def tables(cells: Cells) -> list[Table]:
        return ablation_tables(cells, names, accuracies(made[0], names) if made else {})

    run_experiment("ablation", options, planned, tables)


def variants(options: AblationOptions) -> tuple[str, ...]:
    """Names of the chosen recipes. Raises UserError for one that does not exist."""
    folder = _folder(options)
    known = sorted(path.stem for path in folder.glob("*.toml") if not path.stem.startswith("finetune"))
    if options.variants == ("all",):
        return ("baseline", *(name for name in known if name != "baseline"))
    for name in options.variants:
        if name not in known:
            raise UserError(f"--variants {name}: no such recipe in {folder}; it has {', '.join(known) or 'none'}")
    if not options.variants:
        raise UserError("--variants: give at least one")
    return tuple(dict.fromkeys(options.variants))


def plan(options: AblationOptions) -> Plan:
    """All stages: every variant with the first seed, then the other seeds."""
    options.check()
    steps = Steps(options)
    tier = options.labels_used
    listed = ("all",) if options.is_limited(tier) else (tier,)
    stages = [steps.prepare(), speech_stage(steps, options, listed), *limited_stages(steps, options, (tier,))]
    stages += steps.language_models(("ngram",))
    names = variants(options)
    for name in _with_sources(options, names):
        stages.append(_pretrain(steps, options, name))
    for seed in options.seeds_used:
        for name in names:
            stages += _fine_tuned(steps, options, name, seed)
    return Plan(options.folder("ablation"), stages, options.adopted())


def changes(recipe: PretrainConfig, base: PretrainConfig) -> dict[str, Any]:
    """What the recipe of an ablation changes in BASE's pre-training, by dotted key, except the number of updates."""
    found = {}
    for key, _, value in differing_keys(as_plain(base), as_plain(recipe)):
        if key not in _NOT_OF_VARIANT and value is not None:
            found[key] = tuple(value) if isinstance(value, list) else value
    return found


def _with_sources(options: AblationOptions, names: tuple[str, ...]) -> tuple[str, ...]:
    """The variants to pre-train, in order: those that take their units from the baseline come after it."""
    needy = {name for name in names if _needs_source(_recipe(options, name))}
    if needy and "baseline" not in names:
        return ("baseline", *names)
    return tuple(sorted(names, key=needy.__contains__))


def _recipe(options: AblationOptions, name: str) -> PretrainConfig:
    return load_recipe(_folder(options) / f"{name}.toml", PretrainConfig)


def _folder(options: AblationOptions) -> Path:
    return (options.recipes or recipe_folder()) / FOLDER


def _needs_source(recipe: PretrainConfig) -> bool:
    """Whether the recipe takes fixed units from a model that it does not name."""
    return recipe.variant.targets == "fixed" and not recipe.units.given


def _pretrain(steps: Steps, options: AblationOptions, name: str) -> Stage:
    recipe, base = _recipe(options, name), load_recipe(_folder(options).parent / _BASE, PretrainConfig)
    settings: dict[str, Any] = {
        "data.manifest": Ref(SPEECH),
        "data.split": splits("train"),
        "data.hold_out": Value(SPEECH, "hold_out"),
        "data.hold_out_avoid": Ref(SPEECH, "labels/any.txt"),
        **steps.scale.model,
        **changes(recipe, base),
    }
    if _needs_source(recipe):
        settings["units.source"] = Ref("pretrain-baseline")
    if options.scale == "paper":
        settings["train.updates"] = recipe.train.updates
    return steps.pretrain(settings, name=f"pretrain-{name}")


def _fine_tuned(steps: Steps, options: AblationOptions, name: str, seed: int) -> list[Stage]:
    scale, row, tier = steps.scale, f"{name}-s{seed}", options.labels_used
    settings: dict[str, Any] = {
        "data.manifest": Ref(SPEECH),
        "data.split": splits("train"),
        "data.validation_split": splits("dev"),
        "data.validation_utterances": scale.validation_utterances,
        "seed": seed,
        "train.lr": options.learning_rate or scale.rates["pretrained"][0],
    }
    if options.is_limited(tier):
        settings |= {"data.manifest": Ref(f"prepare-{tier}"), "data.split": "", "data.validation_manifest": Ref(SPEECH)}
    elif tier != "all":
        settings["data.labels"] = Ref(SPEECH, f"labels/{tier}.txt")
    recipe = _FINETUNE if options.scale == "paper" else scale.finetune[tier if tier in TIERS else "1h"]
    tuned = f"finetune-{row}"
    decoded = steps.decode(
        row,
        Ref(tuned),
        manifest=Ref(SPEECH),
        dev=splits("dev"),
        tests=Value(SPEECH, "scored_splits"),
        lms=("greedy", "ngram"),
        row={"variant": name, "seed": str(seed)},
    )
    start = Ref(f"pretrain-{name}")
    return [steps.finetune(tuned, recipe, settings, f"{name}, seed {seed}", start=start), *decoded]


def accuracies(whole: Plan, names: tuple[str, ...]) -> dict[str, float]:
    """Contrastive accuracy on held-out speech at the end of each finished pre-training, by variant."""
    found = {}
    for name in names:
        stage = f"pretrain-{name}"
        if whole.done(stage) and stage not in whole.adopted:
            accuracy = read_run(whole.folder(stage)).last("validation", "accuracy")
            if not math.isnan(accuracy):
                found[name] = accuracy
    return found
