"""``wav2vec2 experiment timit``: phone recognition on TIMIT (table 3 of the paper).

LARGE is pre-trained on LS-960, fine-tuned on TIMIT's phones and decoded greedily, without language model; 61 or 48
phones are folded to 39 for scoring.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from wav2vec2.errors import UserError
from wav2vec2.experiment.command import run_experiment
from wav2vec2.experiment.fine_tuning import fine_tuned
from wav2vec2.experiment.options import ExperimentOptions
from wav2vec2.experiment.results.cell import Cell, score_cells
from wav2vec2.experiment.results.paper import TIMIT
from wav2vec2.experiment.results.table import MISSING, Table, percent
from wav2vec2.experiment.steps import PREPARED, PRETRAINED, Steps
from wav2vec2.pipeline.plan import Plan
from wav2vec2.pipeline.stage import Argument, Command, Function, Here, Ref, Stage

PHONES = "prepare-timit"
_SPLITS = ("dev", "test")


@dataclass(frozen=True, kw_only=True)
class TimitOptions(ExperimentOptions):
    """Phone error rate on TIMIT (table 3): pre-trained on the sound of --speech (the paper: LS-960), fine-tuned on the
    phones of --timit, dev and core test scored on 39 phones, no language model.
    """

    timit: Path | None = None
    """Your copy of TIMIT (LDC93S1): the folder that holds TRAIN and TEST."""
    labels: Literal["39", "48", "61"] = "39"
    """Phones to train on; scored are always 39."""
    seeds: tuple[int, ...] = (1,)
    """Seeds of fine-tuning."""


def run(options: TimitOptions) -> None:
    """Run what is not done, and print the table; raises UserError for what the user can mend."""
    whole = plan(options)
    run_experiment("timit", options, whole, tables)


def plan(options: TimitOptions) -> Plan:
    """All stages. Without --speech and --manifest the sound of TIMIT's training set is pre-trained on."""
    options.check()
    if options.timit is None:
        raise UserError("TIMIT is licensed: give --timit with the folder of your copy (LDC93S1)")
    if not options.timit.is_dir():
        raise UserError(f"--timit {options.timit}: is not a folder: give the one that holds TRAIN and TEST")
    steps = Steps(options)
    words: list[Argument] = ["prepare", "timit", str(options.timit.resolve()), "--labels", options.labels]
    command = Command([*words, "--out", Here()], steps.machine.preparing())
    stages = [Stage(PHONES, command, "manifest.parquet", "list TIMIT's sentences and their phones")]
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
    tuning = fine_tuned(steps, f"finetune-{name}", f"TIMIT's phones, seed {seed}", recipe, settings, Ref(PRETRAINED))
    words: list[Argument] = ["evaluate", Ref(f"finetune-{name}"), Ref(PHONES), "--split", "dev+test", "--worst", 0]
    words += ["--hypotheses", Here("hypotheses.tsv"), "--out", Here("evaluation.json")]
    decoded = Stage(
        f"evaluate-{name}", Command(words, steps.machine.decoding()), "hypotheses.tsv", "dev and core test, greedily"
    )
    facts: dict[str, Any] = {"hypotheses": Ref(decoded.name), "manifest": Ref(PHONES), "name": name}
    facts |= {"lms": ("greedy",), "row": (f"seed={seed}",)}
    return [
        tuning,
        decoded,
        Stage(f"score-{name}", Function(score_cells, facts), "cells", "count errors"),
    ]


def tables(cells: dict[tuple[str, str], Cell]) -> list[Table]:
    """PER on dev and the core test set, the paper's below."""
    rows = [
        ("ours", cell.row["seed"], *(percent(cell.score("wer", split)) for split in _SPLITS)) for cell in cells.values()
    ]
    rows = rows or [("ours", MISSING, MISSING, MISSING)]
    paper = ("paper: LARGE, LS-960", "", *(f"{TIMIT[split]:.1f}" for split in _SPLITS))
    caption = "Phone error rate in percent on 39 phones with its 95 % bootstrap interval, no language model"
    return [Table(("model", "seed", *_SPLITS), (*rows, paper), caption)]
