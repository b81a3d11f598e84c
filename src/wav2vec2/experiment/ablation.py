"""``wav2vec2 experiment ablation``: what the model loses without each of its parts (table 4 and the appendix).

Every variant is pre-trained, fine-tuned and decoded with the 4-gram alike. A variant is what its recipe in
``recipes/ablation`` changes of BASE; that change is made to the scale's own pre-training recipe.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wav2vec2.config import as_plain, differing_keys, load_recipe
from wav2vec2.errors import UserError
from wav2vec2.experiment.command import run_experiment
from wav2vec2.experiment.fine_tuning import fine_tuned
from wav2vec2.experiment.labelled import LabelledOptions, speech_stage
from wav2vec2.experiment.results.ablation import tables
from wav2vec2.experiment.results.paper import TABLE_4
from wav2vec2.experiment.scale import TIERS
from wav2vec2.experiment.steps import SPEECH, Steps, splits
from wav2vec2.experiment.training_log import last_validation
from wav2vec2.pipeline.plan import Plan
from wav2vec2.pipeline.recipe import recipe_folder
from wav2vec2.pipeline.stage import Ref, Stage, Value
from wav2vec2.train.pretrain.command import PretrainConfig

FOLDER = "ablation"
_BASE = "pretrain_base.toml"
_OWN = ("output", "train.updates")  # of the recipe of an ablation, but not of what it changes


@dataclass(frozen=True, kw_only=True)
class AblationOptions(LabelledOptions):
    """Variants of the pre-training: pre-trained, fine-tuned on the same labels, decoded with the same 4-gram, the
    paper's numbers beside ours. Without --variants those of table 4: quantized and continuous inputs and targets.
    """

    variants: tuple[str, ...] = tuple(TABLE_4)
    """Names of recipes in recipes/ablation, the first one is what the others are compared with; "all" is every one."""
    tier: str = "1h"
    """Labels to fine-tune on: a list's name (--labels NAME=FILE, or labels-NAME.txt in --speech), or all."""
    seeds: tuple[int, ...] = (1,)
    """Seeds of fine-tuning; the paper takes three."""
    learning_rate: float = 0.0
    """Of fine-tuning, the same for all; 0 is the scale's first one."""


def run(options: AblationOptions) -> None:
    """Run what is not done, and print the table; raises UserError for what the user can mend."""
    whole = plan(options)
    names = variants(options)
    run_experiment("ablation", options, whole, lambda cells: tables(cells, names, accuracies(whole, names)))


def variants(options: AblationOptions) -> tuple[str, ...]:
    """Names of the chosen recipes. Raises UserError for one that is not there."""
    folder = _folder(options)
    known = sorted(path.stem for path in folder.glob("*.toml") if not path.stem.startswith("finetune"))
    if options.variants == ("all",):
        return ("baseline", *(name for name in known if name != "baseline"))
    for name in options.variants:
        if name not in known:
            raise UserError(f"--variants {name}: no such recipe in {folder}; there are {', '.join(known) or 'none'}")
    if not options.variants:
        raise UserError("--variants: give at least one")
    return tuple(dict.fromkeys(options.variants))


def plan(options: AblationOptions) -> Plan:
    """All stages: every variant with the first seed, then the other seeds."""
    options.check()
    steps = Steps(options)
    tiers = (options.tier,)
    stages = [steps.prepare(), speech_stage(steps, options, tiers)]
    stages += steps.language_models(("ngram",))
    names = variants(options)
    for name in _with_sources(options, names):
        stages.append(_pretrain(steps, options, name))
    for seed in options.seeds:
        for name in names:
            stages += _fine_tuned(steps, options, name, seed)
    return Plan(options.folder("ablation"), stages, options.adopted())


def changes(recipe: PretrainConfig, base: PretrainConfig) -> dict[str, Any]:
    """What a recipe of an ablation changes of BASE's pre-training, by dotted key, but for its number of updates."""
    found = {}
    for key, _, value in differing_keys(as_plain(base), as_plain(recipe)):
        if key not in _OWN and value is not None:
            found[key] = tuple(value) if isinstance(value, list) else value
    return found


def _with_sources(options: AblationOptions, names: tuple[str, ...]) -> tuple[str, ...]:
    """Units that an earlier model fixes come from the baseline, which is pre-trained then too."""
    needy = {name for name in names if _needs_source(_recipe(options, name))}
    if needy and "baseline" not in names:
        return ("baseline", *names)
    return tuple(sorted(names, key=needy.__contains__))


def _recipe(options: AblationOptions, name: str) -> PretrainConfig:
    return load_recipe(_folder(options) / f"{name}.toml", PretrainConfig)


def _folder(options: AblationOptions) -> Path:
    return (options.recipes or recipe_folder()) / FOLDER


def _needs_source(recipe: PretrainConfig) -> bool:
    """Whether the recipe asks for fixed units and leaves open whose."""
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
    scale, row = steps.scale, f"{name}-s{seed}"
    settings: dict[str, Any] = {
        "data.manifest": Ref(SPEECH),
        "data.split": splits("train"),
        "data.validation_split": splits("dev"),
        "data.validation_utterances": scale.validation_utterances,
        "seed": seed,
        "train.lr": options.learning_rate or scale.rates["pretrained"][0],
    }
    if options.tier != "all":
        settings["data.labels"] = Ref(SPEECH, f"labels/{options.tier}.txt")
    recipe = "ablation/finetune_10h.toml"
    if options.scale != "paper":
        recipe = scale.finetune[options.tier if options.tier in TIERS else "1h"]
    start = Ref(f"pretrain-{name}")
    tuning = fine_tuned(steps, f"finetune-{row}", f"{name}, seed {seed}", recipe, settings, start)
    decoded = steps.decode(
        row,
        Ref(f"finetune-{row}"),
        manifest=Ref(SPEECH),
        dev=splits("dev"),
        tests=Value(SPEECH, "scored_splits"),
        lms=("greedy", "ngram"),
        row={"variant": name, "seed": str(seed)},
    )
    return [tuning, *decoded]


def accuracies(whole: Plan, names: tuple[str, ...]) -> dict[str, float]:
    """Share of the positives found on held-out speech at the end of each finished pre-training."""
    found = {}
    for name in names:
        stage = f"pretrain-{name}"
        if whole.done(stage) and stage not in whole.adopted:
            accuracy = last_validation(whole.folder(stage)).get("accuracy")
            if accuracy is not None:
                found[name] = float(accuracy)
    return found
