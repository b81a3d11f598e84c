"""glibc's allocator is told to keep freed blocks, unless the user has said otherwise."""

import os
import platform
import subprocess
import sys

import pytest

from wav2vec2.train.benchmark.allocator import keep_freed_memory

GLIBC = platform.libc_ver()[0] == "glibc"

FAULTS = """
import resource, sys
from wav2vec2.train.benchmark.allocator import keep_freed_memory
kept = keep_freed_memory() if sys.argv[1] == "keep" else False
import numpy as np
def blocks():
    for size in (16, 48):
        np.ones(size << 20, dtype=np.uint8)
for _ in range(3):
    blocks()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    blocks()
print(int(kept), resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(setting: str, **environment: str) -> tuple[bool, int]:
    """Whether memory is kept, and the page faults of 20 blocks of 16 and 48 MiB that are freed at once."""
    env = {**os.environ, **environment}
    done = subprocess.run([sys.executable, "-c", FAULTS, setting], capture_output=True, text=True, check=True, env=env)
    kept, count = done.stdout.split()
    return kept == "1", int(count)


@pytest.mark.skipif(not GLIBC, reason="this C library is not glibc")
def test_freed_blocks_are_not_faulted_in_again() -> None:
    kept, few = faults("keep")
    _, many = faults("leave")
    assert kept
    # hundreds with huge pages, thousands with pages of 4 KiB
    assert 5 * few < many


@pytest.mark.skipif(not GLIBC, reason="this C library is not glibc")
@pytest.mark.parametrize("name", ["MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES", "LD_PRELOAD"])
def test_a_setting_of_ones_own_is_left_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "x")
    assert not keep_freed_memory()


def test_another_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert not keep_freed_memory()
