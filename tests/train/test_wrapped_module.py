"""What wraps a model (a compiler, a distributed engine) is what runs, and the numbers stay those of the bare model."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from tests.train.tiny_run import (
    TINY,
    finetune_config,
    language_model_config,
    micro_batch,
    pretrain_config,
    with_train,
    write_text,
)
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from wav2vec2.model.architecture import Regularization
from wav2vec2.model.pretraining import Wav2Vec2ForPretraining
from wav2vec2.train.finetune import command as finetune
from wav2vec2.train.language_model import command as language_model
from wav2vec2.train.loop import Trainer
from wav2vec2.train.pretrain import command as pretrain
from wav2vec2.train.pretrain.objective import ContrastiveObjective, LossConfig

Start = Callable[[Path, Callable[[nn.Module], nn.Module] | None], bytes]


class Counting(nn.Module):
    """Calls a model and counts how often, in training and in evaluation."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.calls = {True: 0, False: 0}

    def forward(self, *inputs: Any, **named: Any) -> Any:
        self.calls[self.training] += 1
        return self.model(*inputs, **named)


@pytest.fixture(params=["pretrain", "finetune", "language model"])
def start(
    request: pytest.FixtureRequest, corpus: Path, labelled_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Start:
    """Three updates of a command, the module that it calls wrapped; returns the weights that it leaves."""
    command, config = {
        "pretrain": (pretrain, lambda folder: pretrain_config(corpus, folder)),
        "finetune": (finetune, lambda folder: finetune_config(labelled_corpus, folder)),
        "language model": (
            language_model,
            lambda folder: language_model_config(write_text(tmp_path / "text.txt"), folder),
        ),
    }[request.param]

    def run(folder: Path, wrap: Callable[[nn.Module], nn.Module] | None) -> bytes:
        monkeypatch.setattr(command, "Trainer", partial(Trainer, wrap=wrap))
        recipe = with_train(config(folder), updates=3)
        directory = command.run(replace(recipe, log=replace(recipe.log, validate_every=2, save_every=2)))
        return (directory / "model.safetensors").read_bytes()

    return run


def test_the_wrapper_is_called_for_every_batch_and_changes_nothing(start: Start, tmp_path: Path) -> None:
    wrappers: list[Counting] = []

    def wrap(model: nn.Module) -> nn.Module:
        wrappers.append(Counting(model))
        return wrappers[-1]

    assert start(tmp_path / "wrapped", wrap) == start(tmp_path / "bare", None)
    calls = wrappers[0].calls
    assert calls[True] >= 6  # two micro-batches an update
    assert calls[False] >= 2  # two validations


def test_distributed_data_parallel_in_one_process_changes_nothing(start: Start, tmp_path: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        wrapped = start(tmp_path / "wrapped", partial(DistributedDataParallel, find_unused_parameters=True))
    finally:
        dist.destroy_process_group()
    assert wrapped == start(tmp_path / "bare", None)


def test_a_compiled_module_is_what_runs() -> None:
    graphs: list[torch.fx.GraphModule] = []

    def backend(graph: torch.fx.GraphModule, _: list[torch.Tensor]) -> Callable[..., Any]:
        graphs.append(graph)
        return graph.forward

    torch.manual_seed(0)
    quiet = Regularization(dropout=0, attention_dropout=0, input_dropout=0, feature_dropout=0, layerdrop=0)
    model = Wav2Vec2ForPretraining(TINY.build(), quiet)
    model.encoder.packed = False
    objective = ContrastiveObjective(model, LossConfig(), seed=3)
    batch = objective.ready(micro_batch((0, 1)), 0)
    counts = objective.counts([batch], 0)
    torch.compiler.reset()
    compiled, _ = objective.loss(torch.compile(model, backend=backend), batch, 0, counts, 0)
    assert graphs
    torch.testing.assert_close(compiled, objective.loss(model, batch, 0, counts, 0)[0])
