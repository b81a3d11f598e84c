"""The device to compute on and the type of its products, by the names that a user gives; the cores of this process.

torch is imported where it is used: processes without it ask for the number of cores.
"""

import math
import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from wav2vec2.errors import UserError, quoted

if TYPE_CHECKING:
    import torch
    from torch import Tensor

InferencePrecision = Literal["auto", "float32", "bf16", "fp16"]
"""How a trained model computes its matrix products: auto is bf16 on a GPU that has it, and float32 elsewhere."""
_MEMBERSHIP, _HIERARCHY, _CPUS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"), Path("/sys/devices/system/cpu")


def available_cores() -> int:
    """Return the number of processors that this process may keep busy: those that it may run on, at most its quota.

    A container that is limited to two processors sees all of its machine's, and is stopped for most of the time if it
    uses them.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(allowed, processor_quota())))


def compute_threads() -> int:
    """Return the number of threads for matrix products: a core each, of the `available_cores`.

    The two threads of a core share its arithmetic, so a second one does not help.
    """
    if not hasattr(os, "sched_getaffinity"):
        return available_cores()
    return max(1, min(available_cores(), physical_cores(os.sched_getaffinity(0))))


def limit_threads() -> None:
    """Make a quota of processors count for the libraries that this program will load, which see the whole machine.

    They read OMP_NUM_THREADS when they are imported. What the user has set stays.
    """
    if processor_quota() < (os.cpu_count() or 1):
        os.environ.setdefault("OMP_NUM_THREADS", str(compute_threads()))


def physical_cores(processors: set[int], cpus: Path = _CPUS) -> int:
    """Return how many cores these processors belong to, as Linux says; their number where it does not."""
    cores = set()
    for number in processors:
        try:
            cores.add((cpus / f"cpu{number}/topology/thread_siblings_list").read_text(encoding="ascii").strip())
        except (OSError, ValueError):
            return len(processors)
    return len(cores)


def processor_quota(membership: Path = _MEMBERSHIP, hierarchy: Path = _HIERARCHY) -> float:
    """Return how many processors' time the control groups of this process allow, infinity without a limit.

    The limit of every group above counts, too. Both versions of control groups are read: cpu.max, and cpu.cfs_quota_us
    with cpu.cfs_period_us. Inside a container the groups of this process may be mounted as the root.
    """
    quota = math.inf
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return quota
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        for root in (hierarchy / controllers, hierarchy / "cpu") if controllers else (hierarchy,):
            group = root / path.strip("/")
            for folder in (group, *group.parents):
                if not folder.is_relative_to(root):
                    break
                quota = min(quota, _quota_of(folder))
    return quota


def _quota_of(folder: Path) -> float:
    try:
        if (folder / "cpu.max").exists():
            granted, period = (folder / "cpu.max").read_text(encoding="ascii").split()
        else:
            granted = (folder / "cpu.cfs_quota_us").read_text(encoding="ascii")
            period = (folder / "cpu.cfs_period_us").read_text(encoding="ascii")
        return int(granted) / int(period) if granted != "max" and int(granted) > 0 else math.inf
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf


def usable_device(name: str, *, option: str = "device", local_rank: int = 0) -> "torch.device":
    """Return the device that `name` means: `auto` is a GPU if there is one, and the CPU otherwise.

    `cuda` without a number is GPU `local_rank`, so that each process of a machine takes its own. `option` is what error
    messages call the setting. Raises UserError for a device that this machine does not have.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        if device.type == "cuda" and device.index is None:
            device = torch.device("cuda", local_rank)
        usable = torch.empty(0, device=device).device.type != "meta"
    except (RuntimeError, AssertionError):
        usable = False
    if not usable:
        raise UserError(f"{option}: {quoted(name)} is not usable here; choose auto or cpu")
    return device


def has_bf16(device: "torch.device") -> bool:
    """Return whether a device is a GPU that computes in bf16 by itself: those before Ampere (T4, V100) do not."""
    import torch

    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def product_type(precision: InferencePrecision, device: "torch.device") -> "torch.dtype | None":
    """Return the half-precision type that `precision` means on a device, None for float32.

    Raises UserError for bf16 on a GPU that would only imitate it.
    """
    import torch

    if precision == "auto":
        return torch.bfloat16 if has_bf16(device) else None
    if precision == "bf16" and device.type == "cuda" and not has_bf16(device):
        raise UserError("precision: this GPU does not compute in bf16; choose fp16 or float32")
    return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)


def computing_in(half: "torch.dtype | None", device: "torch.device") -> AbstractContextManager[object]:
    """Return a context in which matrix products are computed in `half`; None: as everywhere.

    The weights stay as they are, and are converted once for each context.
    """
    import torch

    return nullcontext() if half is None else torch.autocast(device.type, half)


def moved(tensor: "Tensor", device: "torch.device") -> "Tensor":
    """Return a small tensor on a device, to a GPU through page-locked memory, so that the host need not wait."""
    import torch

    if device.type == "cuda" and torch.cuda.is_available():
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
