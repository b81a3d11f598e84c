"""One process alone, and several with gloo."""

import io
import multiprocessing
import os
import socket
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from wav2vec2.errors import Stopped, UserError
from wav2vec2.train import distributed
from wav2vec2.train.distributed import Ranks, dropout_seed, session


def test_alone_every_sum_is_the_identity() -> None:
    value = torch.tensor([1.0, 2.0], requires_grad=True)
    assert distributed.place() == (0, 1)
    assert not distributed.active()
    assert distributed.differentiable_sum(value) is value
    total = distributed.sum_over_ranks(value)
    assert not total.requires_grad
    assert total is not value
    assert distributed.gather_objects("mine") == ["mine"]
    distributed.barrier()


def test_every_micro_batch_of_every_rank_has_a_dropout_seed_of_its_own() -> None:
    seeds = {dropout_seed(*place) for place in [(1, 2, 0, 0), (2, 2, 0, 0), (1, 3, 0, 0), (1, 2, 1, 0), (1, 2, 0, 1)]}
    assert len(seeds) == 5
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert dropout_seed(1, 2, 0, 0) == 7_109_957_786_605_872_885


def test_a_session_alone_sets_threads_and_is_the_main_process() -> None:
    before = torch.get_num_threads()
    try:
        with session("cpu", threads=3) as ranks:
            assert ranks == Ranks(0, 1, torch.device("cpu"))
            assert ranks.is_main
            assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert not Ranks(1, 2, torch.device("cpu")).is_main
    with pytest.raises(UserError, match=r"train\.device"), session("meta"):
        pass


def start(one: Callable[..., None], folder: Path, processes: int) -> None:
    """Run a function in several processes, made from one clean process that has imported torch once."""
    multiprocessing.get_context("forkserver").set_forkserver_preload([distributed.__name__])
    torch.multiprocessing.start_processes(one, (str(folder),), nprocs=processes, start_method="forkserver")


def free_port(folder: Path) -> None:
    """Write a free port into a file that the processes read."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        (folder / "port").write_text(str(probe.getsockname()[1]))


def one_of_three(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    os.environ.update(WORLD_SIZE="3", RANK=str(rank), MASTER_ADDR="127.0.0.1")
    os.environ["MASTER_PORT"] = (Path(folder) / "port").read_text()
    with session("cpu") as ranks:
        assert (ranks.rank, ranks.world, ranks.is_main) == (rank, 3, rank == 0)
        assert distributed.place() == (rank, 3)
        assert distributed.gather_objects(rank * 10) == [0, 10, 20]
        own = torch.tensor([float(rank)], requires_grad=True)
        total = distributed.differentiable_sum(own)
        assert total.item() == 3.0
        (total**2).backward()
        assert own.grad is not None
        assert own.grad.item() == 6.0  # of the square of the sum, not divided by the processes
        assert distributed.sum_over_ranks(own).item() == 3.0
        assert own.item() == float(rank)
    assert not dist.is_initialized()


def test_three_processes_differentiate_their_own_terms(tmp_path: Path) -> None:
    free_port(tmp_path)
    start(one_of_three, tmp_path, 3)


def one_of_two(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    os.environ.update(WORLD_SIZE="2", RANK=str(rank), MASTER_ADDR="127.0.0.1")
    os.environ["MASTER_PORT"] = (Path(folder) / "port").read_text()

    def lose_the_other() -> None:
        with session("cpu", timeout_minutes=0.5):
            distributed.barrier()
            if rank == 1:
                os._exit(0)
            distributed.sum_over_ranks(torch.ones(1))

    told = io.StringIO()
    with redirect_stderr(told), pytest.raises(Stopped) as stopped:
        lose_the_other()
    assert stopped.value.status == 75
    assert told.getvalue().startswith("error: process 0 does not reach the others (")
    assert told.getvalue().count("\n") == 1
    (Path(folder) / "seen").touch()


def test_a_process_whose_others_have_died_says_so_in_one_line_and_leaves_to_be_started_again(tmp_path: Path) -> None:
    free_port(tmp_path)
    start(one_of_two, tmp_path, 2)
    assert (tmp_path / "seen").exists()


def test_other_errors_of_a_session_stay_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name, value in (("init_process_group", None), ("destroy_process_group", None), ("get_rank", 0)):
        monkeypatch.setattr(dist, name, lambda *words, value=value, **options: value)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    with pytest.raises(RuntimeError, match="shapes"), session("cpu"):
        raise RuntimeError("shapes do not match")
    with pytest.raises(Stopped, match="network"), session("cpu"):
        raise dist.DistBackendError("NCCL error")


@pytest.fixture
def tripled(monkeypatch: pytest.MonkeyPatch) -> list[tuple[torch.dtype, int]]:
    """As if two other processes had the same numbers as this one; notes the type and size of what is summed."""
    summed: list[tuple[torch.dtype, int]] = []

    def all_reduce(tensor: torch.Tensor) -> None:
        summed.append((tensor.dtype, tensor.numel()))
        tensor.mul_(3)

    monkeypatch.setattr(distributed, "active", lambda: True)
    monkeypatch.setattr(distributed.dist, "all_reduce", all_reduce)
    return summed


def test_a_sum_over_processes_is_differentiated_by_its_own_term(tripled: list[tuple[torch.dtype, int]]) -> None:
    own = torch.tensor([1.0, 2.0], requires_grad=True)
    total = distributed.differentiable_sum(own)
    assert total.tolist() == distributed.sum_over_ranks(own).tolist() == [3.0, 6.0]
    (total**2).sum().backward()
    assert own.grad is not None
    assert own.grad.tolist() == [6.0, 12.0]
    assert own.tolist() == [1.0, 2.0]
    assert len(tripled) == 2


def test_a_session_uses_a_group_that_is_there_and_leaves_it(tmp_path: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        with session("cpu") as ranks:
            assert ranks == Ranks(0, 1, torch.device("cpu"))
            assert distributed.place() == (0, 1)
        assert dist.is_initialized()
    finally:
        dist.destroy_process_group()


def test_a_session_of_torchrun_opens_a_group_and_closes_it_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[object] = []
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setattr(dist, "init_process_group", lambda backend, timeout: done.append((backend, timeout.seconds)))
    monkeypatch.setattr(dist, "get_rank", lambda: 2)
    monkeypatch.setattr(dist, "get_world_size", lambda: 4)
    monkeypatch.setattr(dist, "destroy_process_group", lambda: done.append("closed"))

    def fail() -> None:
        with session("cpu", timeout_minutes=1.5) as ranks:
            assert ranks == Ranks(2, 4, torch.device("cpu"))
            assert done == [("gloo", 90)]
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert done[1:] == ["closed"]
