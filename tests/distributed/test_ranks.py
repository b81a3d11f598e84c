import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.train.tiny_run import logged, newest_weights, pretrain_config, with_train, write_corpus
from torch import Tensor

from wav2vec2.config import write_toml
from wav2vec2.train.checkpoint.folder import Checkpoints
from wav2vec2.train.options import ParallelConfig
from wav2vec2.train.pretrain.command import PretrainConfig, run

pytestmark = pytest.mark.slow


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


def same(expected: dict[str, Tensor], found: dict[str, Tensor]) -> None:
    for name, value in expected.items():
        assert torch.allclose(found[name], value, rtol=1e-9, atol=1e-9), name


def without_the_newest(config: PretrainConfig) -> None:
    newest = Checkpoints(Path(config.output) / "checkpoints", 1).latest()
    assert newest is not None
    assert newest.name == "000000006"
    shutil.rmtree(newest)


def losses(config: PretrainConfig) -> list[float]:
    return [record["contrastive"] for record in logged(config.output)]


@pytest.fixture(scope="module")
def fsdp(exact: PretrainConfig, tmp_path_factory: pytest.TempPathFactory) -> PretrainConfig:
    """The same on two processes, sharded."""
    folder = tmp_path_factory.mktemp("fsdp")
    batch = replace(exact.batch, micro_seconds=1.1)
    two = replace(exact, output=str(folder / "two"), batch=batch, parallel=ParallelConfig(strategy="fsdp"))
    torchrun(two, folder, 2)
    return two


def worker(agent: int, rank: int) -> int:
    """Process id of a rank, among the children of torchrun's agent."""
    for child in Path(f"/proc/{agent}/task/{agent}/children").read_text().split():
        if f"RANK={rank}".encode() in Path(f"/proc/{child}/environ").read_bytes().split(b"\0"):
            return int(child)
    raise AssertionError


def test_a_killed_process_of_two_is_replaced_and_the_weights_are_the_same_bit_for_bit(
    fsdp: PretrainConfig, tmp_path: Path
) -> None:
    config = replace(fsdp, output=str(tmp_path / "run"), log=replace(fsdp.log, save_every=1))
    write_toml(config, tmp_path / "recipe.toml")
    launch = ["-m", "wav2vec2.train.launch", "--nproc-per-node=2", "--standalone", "--max-restarts=1"]
    command = [sys.executable, *launch, "-m", "wav2vec2", "pretrain", str(tmp_path / "recipe.toml")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as agent:
        deadline = time.monotonic() + 120
        while not (tmp_path / "run/checkpoints/000000002").exists() and time.monotonic() < deadline:
            time.sleep(0.005)
        os.kill(worker(agent.pid, 1), signal.SIGKILL)
        said, _ = agent.communicate(timeout=120)
    assert agent.returncode == 0, said
    assert "resuming" in said
    expected, found = newest_weights(fsdp, double=True), newest_weights(config, double=True)
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert losses(config) == losses(fsdp)


def test_two_ranks_are_one_and_their_sharded_checkpoint_loads_at_one(
    exact: PretrainConfig, fsdp: PretrainConfig, tmp_path: Path
) -> None:
    shutil.copytree(fsdp.output, tmp_path / "two")
    two = replace(fsdp, output=str(tmp_path / "two"))
    same(newest_weights(exact, double=True), newest_weights(two, double=True))
    assert losses(two) == pytest.approx(losses(exact), rel=1e-9)
    written = load_file(tmp_path / "two" / "model" / "model.safetensors")
    assert written.keys() == load_file(Path(exact.output) / "model" / "model.safetensors").keys()
    without_the_newest(two)
    assert run(replace(two, batch=exact.batch)) == tmp_path / "two" / "model"
    same(newest_weights(exact, double=True), newest_weights(two, double=True))


def test_the_checkpoint_of_one_rank_loads_at_three_with_another_engine(exact: PretrainConfig, tmp_path: Path) -> None:
    shutil.copytree(exact.output, tmp_path / "three")
    batch = replace(exact.batch, micro_seconds=2.2 / 3)
    three = replace(exact, output=str(tmp_path / "three"), batch=batch, parallel=ParallelConfig(strategy="fsdp"))
    without_the_newest(three)
    torchrun(three, tmp_path, 3)
    same(newest_weights(exact, double=True), newest_weights(three, double=True))
    assert losses(three) == pytest.approx(losses(exact), rel=1e-9)


def test_more_ranks_than_rows_still_give_the_same_model(exact: PretrainConfig, tmp_path: Path) -> None:
    batch = replace(exact.batch, micro_seconds=1.0)
    one = replace(exact, output=str(tmp_path / "one"), batch=replace(batch, micro_seconds=3.0, seconds=1.0))
    one = with_train(one, updates=3)
    run(one)
    three = replace(one, output=str(tmp_path / "three"), batch=replace(one.batch, micro_seconds=1.0))
    torchrun(three, tmp_path, 3)
    same(newest_weights(one, double=True), newest_weights(three, double=True))
