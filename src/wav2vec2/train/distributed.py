"""Processes started by torchrun: rank and device of this one, and sums over all of them.

Without torchrun there is one process, and every sum is the identity. ``train/parallel.py`` sums gradients.
"""

import hashlib
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from wav2vec2.device import usable_device
from wav2vec2.errors import Stopped, UserError, cause

_CALLBACKS_SECONDS = 1.0
"""How long threads that hear of a failure have for what they still do in Python."""


@dataclass(frozen=True)
class Ranks:
    """This process, number ``rank`` of ``world``, and the device that it computes on."""

    rank: int
    world: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this process writes logs and files."""
        return self.rank == 0


@contextmanager
def session(device: str = "auto", timeout_minutes: float = 30.0, threads: int = 0) -> Iterator[Ranks]:
    """Join the process group of torchrun (gloo for data on CPUs, nccl for GPUs), and leave it at the end.

    Without torchrun, do nothing.

    Args:
        device: auto (CUDA if available), cpu, cuda or cuda:N.
        timeout_minutes: how long a process waits for the others.
        threads: of this process on a CPU; 0 leaves PyTorch's choice.

    Raises:
        UserError: CUDA is asked for and not available, or the device is unknown.
        Stopped: other processes have died or cannot be reached; one line on stderr says so.
    """
    if threads:
        torch.set_num_threads(threads)
    local = int(os.environ.get("LOCAL_RANK", "0"))
    chosen = _training_device(device, local)
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1 or dist.is_initialized():
        rank = dist.get_rank() if dist.is_initialized() else 0
        yield Ranks(rank, dist.get_world_size() if dist.is_initialized() else 1, chosen)
        return
    backend = "cpu:gloo,cuda:nccl" if chosen.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=timedelta(minutes=timeout_minutes))
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size(), chosen)
    except RuntimeError as error:
        if not _of_the_network(error):
            raise
        print(
            f"error: process {dist.get_rank()} does not reach the others ({cause(error)}); started again, the run goes "
            "on from its newest checkpoint",
            file=sys.stderr,
        )
        # Threads of gloo still drop their Python callbacks, for which they need the interpreter. Destroying the group
        # holds it and waits for them: seen once, both processes then waited for ever.
        time.sleep(_CALLBACKS_SECONDS)
        raise Stopped("network") from None
    finally:
        dist.destroy_process_group()


def _of_the_network(error: RuntimeError) -> bool:
    """Whether a collective failed because of another process; gloo says so by a plain RuntimeError with its place."""
    return isinstance(error, dist.DistError) or "gloo/transport" in str(error)


def _training_device(name: str, local_rank: int) -> torch.device:
    device = usable_device(name, option="train.device", local_rank=local_rank)
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"train.device: training does not run on {device.type}; give auto, cpu or cuda")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    return device


def active() -> bool:
    """Whether there is more than one process."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def place() -> tuple[int, int]:
    """(rank, number of processes) of this process."""
    return (dist.get_rank(), dist.get_world_size()) if active() else (0, 1)


def sum_over_ranks(tensor: Tensor) -> Tensor:
    """Sum over all processes, without gradient. The argument is not changed."""
    total = tensor.detach().clone()
    if active():
        dist.all_reduce(total)
    return total


class _SumForward(torch.autograd.Function):
    """Sum over processes; the gradient with respect to the sum is passed on unchanged.

    Every process computes the same function of the sum. The gradient with respect to its own term is therefore the
    gradient with respect to the sum, without communication.
    """

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        return sum_over_ranks(tensor)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0]


def differentiable_sum(tensor: Tensor) -> Tensor:
    """Sum over processes in which each process differentiates its own term.

    The loss must use the sum in the same way on all processes, and must not be divided by their number. The summed
    gradients of the parameters are then those of one process with all the data.
    """
    result: Tensor = _SumForward.apply(tensor) if active() else tensor  # type: ignore[no-untyped-call]
    return result


def gather_objects(value: Any) -> list[Any]:
    """The ``value`` of every process, by rank."""
    if not active():
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def first_text(text: str) -> str:
    """The first ``text`` by rank that is not empty, on all processes; "" if all are empty."""
    return next(filter(None, gather_objects(text)), "")


def barrier() -> None:
    """Wait for all processes."""
    if active():
        dist.barrier()


def dropout_seed(seed: int, update: int, rank: int, micro_batch: int) -> int:
    """Seed of torch's generator for a micro-batch."""
    digest = hashlib.blake2b(f"{seed}/{update}/{rank}/{micro_batch}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") & (2**63 - 1)
