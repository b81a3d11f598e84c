"""What is freed goes back when there is too much of it, and only then."""

import platform
import subprocess
import sys

import pytest

# Blocks that malloc gives, too large for Python's own allocator; what is kept lies between what is freed.
HOLES = """
import sys
from pathlib import Path
from wav2vec2.inference import freed_memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 >> 20

freed_memory.give_back_above()  # loads what it needs
begin = resident()
blocks = [bytes(2000) for _ in range(50_000)]
kept = blocks[::100]
del blocks
freed = resident()
freed_memory.give_back_above(int(sys.argv[1]) << 20)
print(begin, freed, resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
@pytest.mark.parametrize(("most", "back"), [(20, True), (1_000, False)])
def test_free_memory_above_a_limit_goes_back(most: int, back: bool) -> None:
    words = [sys.executable, "-c", HOLES, str(most)]
    begin, freed, after = map(int, subprocess.run(words, capture_output=True, check=True).stdout.split())
    assert freed > begin + 80, "nothing was kept that could be given back"
    assert (after < begin + 20) == back
