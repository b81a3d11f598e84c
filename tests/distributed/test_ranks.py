import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from tests.train.tiny_run import TINY, micro_batch, pretrain_config, with_train, write_corpus
from torch import Tensor

from wav2vec2.config import write_toml
from wav2vec2.model.architecture import Regularization
from wav2vec2.model.pretraining import Wav2Vec2ForPretraining
from wav2vec2.train import distributed, optimizer
from wav2vec2.train.checkpoint.contents import restore, training_tensors
from wav2vec2.train.checkpoint.folder import Checkpoints
from wav2vec2.train.metrics import LOG_FILE
from wav2vec2.train.pretrain.command import PretrainConfig, build_model, run
from wav2vec2.train.pretrain.objective import ContrastiveObjective, LossConfig


def torchrun(config: PretrainConfig, folder: Path, processes: int) -> str:
    """Run the command on several processes, as torchrun does, and return what they said."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    write_toml(config, folder / "recipe.toml")
    launch = ["-m", "torch.distributed.run", f"--nproc-per-node={processes}", f"--master-port={port}"]
    command = [sys.executable, *launch, "-m", "wav2vec2", "pretrain", str(folder / "recipe.toml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def weights(config: PretrainConfig) -> dict[str, Tensor]:
    """Weights of the newest checkpoint, read by one process whatever wrote it."""
    model, _ = build_model(config)
    model.double()
    steps, _ = optimizer.build_optimizer(model.named_parameters(), config.train)
    nested: dict[str, Any] = training_tensors(model, steps)
    latest = Checkpoints(Path(config.output) / "checkpoints", 1).latest()
    assert latest is not None
    restore(latest, nested)
    return dict(nested["model"])


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> PretrainConfig:
    """Six updates in float64; the micro-batches of one process are those of two (half as long each).

    Dropout stays on: its masks belong to utterances.
    """
    folder = tmp_path_factory.mktemp("ranks")
    config = pretrain_config(write_corpus(folder / "corpus"), folder / "one")
    config = with_train(config, updates=6, precision="fp64")
    config = replace(config, batch=replace(config.batch, micro_seconds=2.2), log=replace(config.log, every=2))
    run(config)
    return config


def test_two_ranks_are_one_and_their_checkpoint_loads_at_one(exact: PretrainConfig, tmp_path: Path) -> None:
    two = replace(exact, output=str(tmp_path / "two"), batch=replace(exact.batch, micro_seconds=1.1))
    torchrun(two, tmp_path, 2)
    expected, found = weights(exact), weights(two)
    for name, value in expected.items():
        assert torch.allclose(found[name], value, rtol=1e-9, atol=1e-9), name
    logs = [(Path(c.output) / LOG_FILE).read_text().count('"kind": "train"') for c in (exact, two)]
    assert logs[0] == logs[1]
    # Going on alone from what two ranks saved.
    assert run(two) == tmp_path / "two" / "model"


def test_more_ranks_than_rows_still_give_the_same_model(exact: PretrainConfig, tmp_path: Path) -> None:
    batch = replace(exact.batch, micro_seconds=1.0)
    one = replace(exact, output=str(tmp_path / "one"), batch=replace(batch, micro_seconds=3.0, seconds=1.0))
    one = with_train(one, updates=3)
    run(one)
    three = replace(one, output=str(tmp_path / "three"), batch=replace(one.batch, micro_seconds=1.0))
    torchrun(three, tmp_path, 3)
    expected, found = weights(one), weights(three)
    for name, value in expected.items():
        assert torch.allclose(found[name], value, rtol=1e-9, atol=1e-9), name


ROWS = ((0, 1), (2, 3, 4))
"""Of two processes, or of two micro-batches of one."""


def objective(over: str) -> ContrastiveObjective:
    torch.manual_seed(0)
    quiet = Regularization(
        dropout=0, attention_dropout=0, activation_dropout=0, input_dropout=0, feature_dropout=0, layerdrop=0
    )
    model = Wav2Vec2ForPretraining(TINY.build(), quiet).double().train()
    weights = LossConfig(diversity_weight=1.0, diversity_over=over)  # type: ignore[arg-type]
    return ContrastiveObjective(model, weights, seed=9)


def gradients(of: ContrastiveObjective, rows: list[tuple[int, ...]], update: int = 3) -> dict[str, Tensor]:
    """Gradients of one update of this process's micro-batches, summed over processes."""
    batches = [micro_batch(one).to(torch.device("cpu"), torch.float64) for one in rows]
    counts = distributed.sum_over_ranks(of.counts(batches, update))
    for number, batch in enumerate(batches):
        loss, _ = of.loss(of.model, batch, number, counts, update)
        assert loss is not None
        loss.backward()
    distributed.sum_gradients(of.model.parameters())
    return {name: p.grad for name, p in of.model.named_parameters() if p.grad is not None}


def one_of_two(rank: int, folder: str, over: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/{over}", rank=rank, world_size=2)
    torch.save(gradients(objective(over), [ROWS[rank]]), f"{folder}/{over}-{rank}.pt")
    dist.destroy_process_group()


def test_diversity_of_two_processes_is_judged_together_or_for_each(tmp_path: Path) -> None:
    alone = {
        "all": gradients(objective("all"), [sum(ROWS, ())]),
        "process": gradients(objective("process"), list(ROWS)),
    }
    for over, expected in alone.items():
        torch.multiprocessing.spawn(one_of_two, (str(tmp_path), over), nprocs=2)
        for rank in (0, 1):
            found = torch.load(tmp_path / f"{over}-{rank}.pt")
            for name, value in expected.items():
                atol = 1e-9 * float(value.abs().max()) + 1e-16
                assert torch.allclose(found[name], value, rtol=1e-9, atol=atol), (over, name)
    name = "quantizer.logits.weight"
    assert not torch.allclose(alone["all"][name], alone["process"][name], rtol=1e-3)
