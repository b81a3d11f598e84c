"""What the first argument of ``wav2vec2 benchmark`` names: an architecture, a recipe or a model."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from wav2vec2.config import load_recipe
from wav2vec2.errors import UserError, shortened
from wav2vec2.model.architecture import ARCHITECTURES, Architecture, Masking
from wav2vec2.model.flops import Task
from wav2vec2.train.benchmark.workload import Workload
from wav2vec2.train.finetune.config import SCRATCH, FinetuneConfig
from wav2vec2.train.options import BatchConfig
from wav2vec2.train.pretrain.command import PretrainConfig


@dataclass(frozen=True)
class Chosen:
    """A workload, and the batches that its recipe has."""

    workload: Workload
    batch: BatchConfig


def choose(model: str, task: str, precision: str, device: torch.device, threads: int) -> Chosen:
    """Resolve the arguments of the command; "auto" leaves a choice to the recipe or the model.

    Raises:
        UserError: the name is none of the three, or the recipe or the model cannot be read.
    """
    config, architecture, wanted = _settings(model, task)
    train = config.train
    if precision != "auto":
        train = replace(train, precision=precision)
    elif not model.endswith(".toml"):
        train = replace(train, precision="bf16" if device.type == "cuda" else "fp32")
    workload = Workload(
        wanted,
        architecture,
        config.regularization,
        config.masking,
        train=train,
        device=str(device),
        threads=threads or train.threads or torch.get_num_threads(),
    )
    if isinstance(config, PretrainConfig):
        workload = replace(workload, loss=config.loss)
    return Chosen(workload, config.batch)


def _settings(model: str, task: str) -> tuple[Any, Architecture, Task]:
    """The recipe (of the task's defaults, if none is given), the architecture and the task."""
    if model in ARCHITECTURES:
        wanted: Any = "pretrain" if task == "auto" else task
        return _defaults(wanted), ARCHITECTURES[model], wanted
    if model.endswith(".toml"):
        return _from_recipe(Path(model), task)
    if not Path(model).exists():
        known = ", ".join(ARCHITECTURES)
        raise UserError(
            f"{shortened(model)}: neither a recipe (.toml) nor a model directory nor one of the architectures {known}"
        )
    from wav2vec2.checkpoints.load import describe

    found = describe(model)
    kind: Any = ("inference" if found.kind == "ctc" else "pretrain") if task == "auto" else task
    return _defaults(kind), found.architecture, kind


def _defaults(task: Task) -> Any:
    if task == "pretrain":
        return PretrainConfig()
    # in inference nothing is frozen or dropped; a recogniser's masking plays no part
    return FinetuneConfig(masking=Masking(channel_start=0.004))


def _from_recipe(path: Path, task: str) -> tuple[Any, Architecture, Task]:
    try:
        config: Any = load_recipe(path, FinetuneConfig if task == "finetune" else PretrainConfig)
    except UserError as problem:
        if task != "auto" and task != "inference":
            raise
        try:
            config = load_recipe(path, FinetuneConfig)
        except UserError:
            raise problem from None
    if isinstance(config, PretrainConfig):
        wanted: Task = "inference" if task == "inference" else "pretrain"
        if wanted == "inference":
            return replace(_defaults(wanted), batch=config.batch), config.model.build(config.variant), wanted
        return config, config.model.build(config.variant), wanted
    wanted = "inference" if task == "inference" else "finetune"
    return config, _initial(config), wanted


def _initial(config: FinetuneConfig) -> Architecture:
    if config.init in ("", SCRATCH):
        return config.model.build()
    from wav2vec2.checkpoints.load import describe

    return describe(config.init).architecture
