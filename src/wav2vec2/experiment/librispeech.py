"""``wav2vec2 experiment table1`` and ``table2``: the paper's rows on LibriSpeech, 10 minutes to 960 hours of labels.

Three models are pre-trained: BASE and LARGE on the audio of LS-960, LARGE on LV-60k. Each is fine-tuned on each amount
of labels. With 10 minutes, 1 hour and 10 hours this follows the protocol of Libri-light: three seeds with two learning
rates each, of which the best on dev-other is kept, decoded with the 4-gram, beam 50, weight 2 (of decimal logarithms)
and word score -1.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wav2vec2.config import load_recipe
from wav2vec2.errors import UserError
from wav2vec2.experiment.cell import Cell
from wav2vec2.experiment.choose import choose_by_word_errors
from wav2vec2.experiment.command import run_experiment
from wav2vec2.experiment.options import LIMITED, LimitedOptions
from wav2vec2.experiment.paper import MODELS, WER
from wav2vec2.experiment.steps import LMS, NGRAM, SPEECH, Steps, limited_stages, speech_stage, splits
from wav2vec2.experiment.tables import Table, librispeech_tables
from wav2vec2.pipeline.plan import Plan
from wav2vec2.pipeline.stage import Argument, Command, Function, Here, Ref, Stage, Value
from wav2vec2.recipe_files import recipe_path
from wav2vec2.train.pretrain.command import PretrainConfig

LOCAL = {"10min": "10min", "1h": "1h", "10h": "1h", "100h": "all", "960h": "all"}
"""The fine-tuning recipe of a smaller scale that stands in for each amount of labels."""
HUNDRED = "train-clean-100"
PROTOCOL_WEIGHT = round(2.0 / math.log(10), 6)
_PRETRAINED = ("base", "large", "large_lv60k")
_LV60K: dict[str, Any] = {"model.conv_norm": "layer", "model.conv_bias": True, "model.normalize_input": True}


@dataclass(frozen=True, kw_only=True)
class Table1Options(LimitedOptions):
    """Few labels (tables 1 and 9): 10 minutes, 1, 10 and 100 hours for BASE and LARGE pre-trained on LS-960 and for
    LARGE pre-trained on LV-60k; without a language model, with the 4-gram and with the Transformer; compared
    with the paper's results. --speech is the LibriSpeech folder with all its splits.
    """

    amounts: tuple[str, ...] = ("10min", "1h", "10h", "100h")
    """Amounts of labels. The official sets of 10min, 1h and 10h come from --limited."""
    models: tuple[str, ...] = _PRETRAINED
    """Rows: base and large are pre-trained on --speech, large_lv60k on --librilight."""
    lms: tuple[str, ...] = LMS
    """Ways of decoding: greedy, ngram, transformer."""
    librilight: Path | None = None
    """Libri-light's folder (60,000 hours), for large_lv60k. At smaller scales --speech is used if it is not given."""
    seeds: tuple[int, ...] = (1, 2, 3)
    """Seeds of the Libri-light protocol; the other rows use the first one."""
    learning_rates: tuple[float, ...] = (2e-5, 3e-5)
    """Learning rates of the Libri-light protocol; the other rows use their recipe's."""
    paper_weights: bool = False
    """Decode with the paper's language model weights (tables 7 and 8) instead of tuning on dev-other."""


@dataclass(frozen=True, kw_only=True)
class Table2Options(Table1Options):
    """All 960 hours of labels (tables 2 and 10): LARGE from scratch, BASE and LARGE pre-trained on LS-960, LARGE
    pre-trained on LV-60k; compared with the paper's results. --speech is the LibriSpeech folder with all its splits.
    """

    amounts: tuple[str, ...] = ("960h",)
    """Amounts of labels."""
    models: tuple[str, ...] = tuple(MODELS)
    """Rows: scratch, base, large, large_lv60k."""


def run(options: Table1Options, name: str = "table1") -> None:
    """Run the stages that are not done and print the table. Raises UserError."""

    def tables(cells: dict[tuple[str, str], Cell]) -> list[Table]:
        return librispeech_tables(cells, options.amounts, options.models, options.lms)

    run_experiment(name, options, lambda: plan(options, name), tables)


def run_table2(options: Table2Options) -> None:
    """The same for table 2."""
    run(options, "table2")


def plan(options: Table1Options, name: str) -> Plan:
    """All stages: amount by amount, and within each, model by model."""
    _check(options)
    steps = Steps(options)
    listed = tuple(tier for tier in options.amounts if tier in LIMITED and not options.is_limited(tier))
    stages = [steps.prepare(), speech_stage(steps, options, (*listed, "all"))]
    stages += limited_stages(steps, options, options.amounts)
    needs_lm = ("greedy", "ngram") if set(options.amounts) & set(LIMITED) else ()
    stages += steps.language_models(tuple(dict.fromkeys((*options.lms, *needs_lm))))
    for model in options.models:
        stages += _pretrained(steps, options, model)
    for tier in options.amounts:
        for model in options.models:
            stages += _row(steps, options, tier, model)
    return Plan(options.folder(name), stages, options.adopted())


def _check(options: Table1Options) -> None:
    options.check()
    for model in options.models:
        for tier in options.amounts:
            if (tier, model) not in WER:
                rows = ", ".join(f"{a} {m}" for a, m in WER)
                raise UserError(f"the paper has no row '{tier} {model}'; its rows are {rows}")
    if not options.models or not options.amounts or not options.seeds or not options.learning_rates:
        raise UserError("give at least one of --models, --amounts, --seeds and --learning-rates")
    unknown = set(options.lms) - set(LMS)
    if unknown or not options.lms:
        raise UserError(f"--lms {' '.join(options.lms)}: choose among {', '.join(LMS)}")


def size(steps: Steps, model: str) -> dict[str, Any]:
    """What a model changes in the scale's pre-training recipe; nothing at the paper's scale, which has its own recipes.

    At smaller scales LARGE has twice the layers of BASE, and the LV-60k model its norms and normalised input.
    """
    if steps.options.scale == "paper":
        return {}
    found: dict[str, Any] = dict(steps.scale.model)
    if model != "base":
        path = recipe_path(steps.scale.pretrain, steps.options.recipes)
        found["model.layers"] = 2 * load_recipe(path, PretrainConfig).model.build().layers
    return found | (_LV60K if model == "large_lv60k" else {})


def _pretrained(steps: Steps, options: Table1Options, model: str) -> list[Stage]:
    if model == "scratch":
        return []
    stages = []
    settings: dict[str, Any] = {"data.manifest": Ref(SPEECH), "data.split": splits("train")}
    if model == "large_lv60k" and options.librilight is not None:
        words: list[Argument] = ["prepare", "librilight", str(options.librilight.resolve()), "--out", Here()]
        stages.append(steps.preparing("prepare-librilight", words, "cut Libri-light at its pauses"))
        settings = {"data.manifest": Ref("prepare-librilight")}
    elif model == "large_lv60k" and options.scale == "paper" and "pretrain-large_lv60k" not in options.adopted():
        raise UserError(
            "large_lv60k is pre-trained on LV-60k: give --librilight, or --adopt pretrain-large_lv60k=MODEL"
        )
    settings["data.hold_out"] = Value(SPEECH, "hold_out")
    settings["data.hold_out_avoid"] = Ref(SPEECH, "labels/any.txt")
    recipe = f"pretrain_{model}.toml" if options.scale == "paper" else steps.scale.pretrain
    stages.append(steps.pretrain(settings | size(steps, model), name=f"pretrain-{model}", recipe=recipe))
    return stages


def _row(steps: Steps, options: Table1Options, tier: str, model: str) -> list[Stage]:
    """One model with one amount of labels: fine-tuned, decoded, and scored on all dev and test splits."""
    name = f"{tier}-{model}"
    if tier in LIMITED:
        stages = _protocol(steps, options, tier, model)
    else:
        stages = [_fine_tuned(steps, options, tier, model, options.seeds[0], None, f"finetune-{name}")]
    corpus = "lv" if model == "large_lv60k" else "ls"
    kinds = {"ngram": "4gram", "transformer": "transformer"}
    presets = {lm: f"paper-{corpus}-{tier}-{kind}" for lm, kind in kinds.items()} if options.paper_weights else {}
    decoded = steps.decode(
        name,
        Ref(f"finetune-{name}"),
        manifest=Ref(SPEECH),
        dev=Value(SPEECH, "tuning_splits"),
        tests=Value(SPEECH, "scored_splits"),
        lms=options.lms,
        row={"amount": tier, "model": model},
        presets=presets,
    )
    return [*stages, *decoded]


def _protocol(steps: Steps, options: Table1Options, tier: str, model: str) -> list[Stage]:
    """Fine-tune with every seed and learning rate, and keep the best on dev-other with the 4-gram."""
    stages: list[Stage] = []
    names, trials = [], []
    for rate in options.learning_rates:
        for seed in options.seeds:
            trial = f"{tier}-{model}-lr{rate:g}-s{seed}"
            stages.append(_fine_tuned(steps, options, tier, model, seed, rate, f"trial-{trial}"))
            words: list[Argument] = ["evaluate", Ref(f"trial-{trial}"), Ref(SPEECH), "--lm", Ref(NGRAM)]
            words += ["--decoder", steps.scale.tuning.decoder]
            words += ["--split", Value(SPEECH, "tuning_splits"), "--beam", 50, "--lm-weight", PROTOCOL_WEIGHT]
            words += ["--word-score", -1.0, "--worst", 0, "--out", Here("evaluation.json")]
            command = Command(words, options.machine.decoding_arguments())
            stages.append(Stage(f"try-{trial}", command, "evaluation.json", "dev-other with the 4-gram, beam 50"))
            names.append(f"lr {rate:g}, seed {seed}")
            trials.append(trial)
    settings: dict[str, Any] = {
        "models": tuple(Ref(f"trial-{trial}") for trial in trials),
        "reports": tuple(Ref(f"try-{trial}") for trial in trials),
        "names": tuple(names),
        "column": 1,
    }
    choice = Function(choose_by_word_errors, settings)
    return [*stages, Stage(f"finetune-{tier}-{model}", choice, "model", "keep the best of the trials on dev-other")]


def _fine_tuned(
    steps: Steps, options: Table1Options, tier: str, model: str, seed: int, rate: float | None, name: str
) -> Stage:
    paper = options.scale == "paper"
    settings: dict[str, Any] = {
        "data.manifest": Ref(SPEECH),
        "data.split": splits("train"),
        "data.validation_manifest": Ref(SPEECH),
        "data.validation_split": Value(SPEECH, "tuning_splits"),
        "data.validation_utterances": steps.scale.validation_utterances,
        "seed": seed,
    }
    if options.is_limited(tier):
        settings |= {"data.manifest": Ref(f"prepare-{tier}"), "data.split": ""}
    elif tier in LIMITED:
        settings["data.labels"] = Ref(SPEECH, f"labels/{tier}.txt")
    elif tier == "100h" and paper:
        settings["data.split"] = HUNDRED
    if rate is not None:
        settings["train.lr"] = rate
    recipe = f"finetune_{model}_{tier}.toml" if paper else steps.scale.finetune[LOCAL[tier]]
    start: Argument | None = Ref(f"pretrain-{model}")
    if model == "scratch":
        start, recipe = None, "finetune_large_scratch_960h.toml" if paper else recipe
        settings |= size(steps, "large")
    return steps.finetune(name, recipe, settings, f"{tier}, {MODELS[model]}, seed {seed}", start=start)
