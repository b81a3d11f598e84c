"""``wav2vec2 experiment timit``: phone recognition on TIMIT (table 3).

In the paper LARGE is pre-trained on LS-960, fine-tuned on TIMIT's phones and decoded greedily without a language model;
phones are folded to 39 for scoring.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from wav2vec2.errors import UserError
from wav2vec2.experiment.command import run_experiment
from wav2vec2.experiment.options import ExperimentOptions
from wav2vec2.experiment.steps import PREPARED, PRETRAINED, Steps, scoring
from wav2vec2.experiment.tables import timit_tables
from wav2vec2.pipeline.plan import Plan
from wav2vec2.pipeline.stage import Argument, Command, Here, Ref, Stage

PHONES = "prepare-timit"


@dataclass(frozen=True, kw_only=True)
class TimitOptions(ExperimentOptions):
    """Phone error rate on TIMIT (table 3): pre-train on --speech (the paper: LS-960), fine-tune on the phones of
    --timit, score dev and the core test set on 39 phones, without a language model.
    """

    timit: Path | None = None
    """Your copy of TIMIT (LDC93S1): the folder that holds TRAIN and TEST."""
    labels: Literal["39", "48", "61"] = "39"
    """Size of the phone set to train on; scoring always uses 39."""
    seeds: tuple[int, ...] = (1,)
    """Seeds of fine-tuning."""


def run(options: TimitOptions) -> None:
    """Run the stages that are not done and print the table. Raises UserError."""
    run_experiment("timit", options, lambda: plan(options), timit_tables)


def plan(options: TimitOptions) -> Plan:
    """All stages. Without --speech and --manifest, pre-training uses the audio of TIMIT's training set."""
    options.check()
    if options.timit is None:
        raise UserError("TIMIT is licensed: give --timit with the folder of your copy (LDC93S1)")
    if not options.timit.is_dir():
        raise UserError(f"--timit {options.timit}: is not a folder; give the one that holds TRAIN and TEST")
    steps = Steps(options)
    words: list[Argument] = ["prepare", "timit", str(options.timit.resolve()), "--labels", options.labels]
    stages = [steps.preparing(PHONES, [*words, "--out", Here()], "list TIMIT's sentences and their phones")]
    source: dict[str, Any] = {"data.manifest": Ref(PHONES), "data.split": "train"}
    if options.speech is not None or options.manifest is not None:
        stages.append(steps.prepare())
        source = {"data.manifest": Ref(PREPARED)}
    recipe = "pretrain_large.toml" if options.scale == "paper" else steps.scale.pretrain
    stages.append(steps.pretrain(source | dict(steps.scale.model), recipe=recipe))
    for seed in options.seeds:
        stages += _row(steps, seed)
    return Plan(options.folder("timit"), stages, options.adopted())


def _row(steps: Steps, seed: int) -> list[Stage]:
    name = f"timit-s{seed}"
    settings: dict[str, Any] = {
        "data.manifest": Ref(PHONES),
        "data.split": "train",
        "data.validation_split": "dev",
        "data.validation_utterances": steps.scale.validation_utterances,
        "text.symbols": "whitespace",
        "seed": seed,
    }
    recipe = "finetune_timit.toml" if steps.options.scale == "paper" else steps.scale.finetune["1h"]
    tuned, decoded = f"finetune-{name}", f"evaluate-{name}"
    words: list[Argument] = ["evaluate", Ref(tuned), Ref(PHONES), "--split", "dev+test", "--worst", 0]
    words += ["--hypotheses", Here("hypotheses.tsv"), "--out", Here("evaluation.json")]
    command = Command(words, steps.options.machine.decoding_arguments())
    return [
        steps.finetune(tuned, recipe, settings, f"TIMIT's phones, seed {seed}", start=Ref(PRETRAINED)),
        Stage(decoded, command, "hypotheses.tsv", "transcribe dev and the core test set"),
        scoring(f"score-{name}", decoded, Ref(PHONES), name, ("greedy",), (f"seed={seed}",)),
    ]
