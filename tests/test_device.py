import math
import os
from pathlib import Path

import pytest
import torch

from wav2vec2 import device
from wav2vec2.device import computing_in, physical_cores, processor_quota, product_type
from wav2vec2.errors import UserError

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


@pytest.mark.parametrize("has", [True, False])
def test_precision_by_default_is_bf16_where_a_gpu_has_it(has: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: has or including_emulation)
    assert product_type("auto", GPU) == (torch.bfloat16 if has else None)
    assert product_type("auto", CPU) is None
    assert product_type("float32", GPU) is None
    assert product_type("fp16", GPU) == torch.float16
    assert product_type("bf16", CPU) == torch.bfloat16
    if has:
        assert product_type("bf16", GPU) == torch.bfloat16
    else:
        with pytest.raises(UserError, match=r"^precision: .* choose fp16 or float32$"):
            product_type("bf16", GPU)


def test_products_are_in_half_precision() -> None:
    x = torch.ones(3, 3)
    with computing_in(torch.bfloat16, CPU):
        assert (x @ x).dtype == torch.bfloat16
    with computing_in(None, CPU):
        assert (x @ x).dtype == torch.float32


def group(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("_", ".", 1)).write_text(f"{text}\n")


def test_a_quota_is_that_of_the_group_or_of_one_above(tmp_path: Path) -> None:
    """The files are those of the kernel's documentation: admin-guide/cgroup-v2, scheduler/sched-bwc."""
    membership, hierarchy = tmp_path / "cgroup", tmp_path / "fs"
    membership.write_text("0::/pod/box\n")
    assert processor_quota(membership, hierarchy) == math.inf
    group(hierarchy / "pod" / "box", cpu_max="max 100000")
    assert processor_quota(membership, hierarchy) == math.inf
    group(hierarchy / "pod", cpu_max="250000 100000")
    assert processor_quota(membership, hierarchy) == 2.5
    group(hierarchy / "pod" / "box", cpu_max="50000 100000")
    assert processor_quota(membership, hierarchy) == 0.5
    assert processor_quota(tmp_path / "nowhere", hierarchy) == math.inf


def test_a_quota_of_the_first_version_and_of_a_container_that_is_mounted_as_the_root(tmp_path: Path) -> None:
    membership, hierarchy = tmp_path / "cgroup", tmp_path / "fs"
    membership.write_text("12:memory:/docker/1\n5:cpu,cpuacct:/docker/1\n1:name=systemd:/docker/1\n")
    group(hierarchy / "cpu,cpuacct", cpu_cfs_quota_us="-1", cpu_cfs_period_us="100000")
    assert processor_quota(membership, hierarchy) == math.inf
    group(hierarchy / "cpu,cpuacct", cpu_cfs_quota_us="300000", cpu_cfs_period_us="100000")
    assert processor_quota(membership, hierarchy) == 3
    group(hierarchy / "cpu,cpuacct" / "docker" / "1", cpu_cfs_quota_us="nonsense", cpu_cfs_period_us="0")
    assert processor_quota(membership, hierarchy) == 3


def test_two_threads_of_a_core_are_one_core(tmp_path: Path) -> None:
    for number in range(4):
        folder = tmp_path / f"cpu{number}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{number % 2},{number % 2 + 2}\n")
    assert physical_cores({0, 1, 2, 3}, tmp_path) == 2
    assert physical_cores({0, 2}, tmp_path) == 1
    assert physical_cores({0, 9}, tmp_path) == 2


def test_a_quota_limits_threads_and_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(device, "physical_cores", lambda processors: 32)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert device.compute_threads() == 32
    device.limit_threads()
    assert "OMP_NUM_THREADS" not in os.environ
    monkeypatch.setattr(device, "processor_quota", lambda: 2.5)
    assert (device.available_cores(), device.compute_threads()) == (3, 3)
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    device.limit_threads()
    assert os.environ["OMP_NUM_THREADS"] == "5"
    monkeypatch.delenv("OMP_NUM_THREADS")
    device.limit_threads()
    assert os.environ["OMP_NUM_THREADS"] == "3"
