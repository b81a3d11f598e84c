"""The losses of a run do not depend on how many processes share its groups (two: tests/distributed/test_ranks.py)."""

import multiprocessing
import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from tests.train.tiny_run import logged, pretrain_config, with_train, write_corpus

from wav2vec2.train.pretrain import command

pytestmark = pytest.mark.slow

TOGETHER = 2.2
"""Seconds of all processes together. Utterances of 0.5 to 1 s: rows per process rounded down would differ from two."""


def one_process(config: command.PretrainConfig, rank: int, world: int, port: int) -> None:
    """Run the command as torchrun's worker ``rank`` of ``world``."""
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world, "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in place.items()} | {"MASTER_ADDR": "127.0.0.1"})
    command.run(config)


def losses(manifest: Path, folder: Path, world: int, buckets: int = 0) -> list[dict[str, float]]:
    """The numbers of each update of a short float64 run on ``world`` processes."""
    config = with_train(pretrain_config(manifest, folder / str(world)), updates=5, precision="fp64")
    batch = replace(config.batch, micro_seconds=TOGETHER / world, buckets=buckets, multiple=2)
    log = replace(config.log, every=1, validate_every=0, save_every=0)
    config = replace(config, batch=batch, log=log)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    start = multiprocessing.get_context("forkserver")  # a clean process that has imported the package once
    start.set_forkserver_preload([command.__name__])
    processes = [start.Process(target=one_process, args=(config, rank, world, port)) for rank in range(world)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    return logged(config.output)


@pytest.mark.parametrize(("buckets", "worlds"), [(0, (3, 4)), (2, (2,))])
def test_equal_amounts_at_a_time_give_equal_losses_on_any_number_of_processes(
    buckets: int, worlds: tuple[int, ...], tmp_path: Path
) -> None:
    manifest = write_corpus(tmp_path / "corpus")
    expected = losses(manifest, tmp_path, 1, buckets)
    assert len(expected) == 5
    for world in worlds:
        found = losses(manifest, tmp_path, world, buckets)
        for before, after in zip(expected, found, strict=True):
            for name in ("contrastive", "diversity", "penalty", "loss", "gradient_norm"):
                assert after[name] == pytest.approx(before[name], rel=1e-9, abs=1e-12), (world, before["update"], name)
