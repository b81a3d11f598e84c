"""Memory that was freed goes back to the system, once after a burst, and idle decoder processes end."""

import os
import platform
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from tests.serve.conftest import Served, within

# Blocks that malloc gives, too large for Python's own allocator; what is kept lies between what is freed.
BURST = """
import sys, time
from pathlib import Path
from wav2vec2.inference.freed_memory import give_back
from wav2vec2.serve import idle_memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 >> 20

looks = []
def release():
    give_back()
    looks.append(resident())

watched, ring = "watched" in sys.argv, "ring" in sys.argv
if watched:
    idle_memory.watch(0.2, release)
begin = resident()
blocks = [bytes(2000) for _ in range(50_000)]
kept = blocks[::100]
if ring:
    blocks.append(blocks)
del blocks
freed, early = resident(), len(looks)
until = time.monotonic() + 20
while len(looks) == early and time.monotonic() < until and watched:
    time.sleep(0.01)
settled = len(looks)
time.sleep(1)
print(begin, freed, resident(), len(looks) - settled)
"""


def burst(*how: str) -> list[int]:
    words = [sys.executable, "-c", BURST, *how]
    return [int(number) for number in subprocess.run(words, capture_output=True, check=True).stdout.split()]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
@pytest.mark.parametrize("how", [(), ("ring",)])
def test_what_a_burst_has_freed_goes_back_once_it_is_over(how: tuple[str, ...]):
    begin, freed, after, more_looks = burst("watched", *how)
    assert freed > begin + 80, "nothing was kept that could be given back"
    assert after < begin + 20
    assert more_looks == 0, "a process without work is left alone"


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_without_a_look_it_is_kept():
    begin, _, after, _ = burst()
    assert after > begin + 80


def test_of_the_decoders_of_a_burst_one_stays(server: Served, wav: Callable[..., Path]):
    parent = server.children("decoder_process")[0]

    def decoders() -> list[int]:
        return [int(number) for number in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]

    def compiling() -> bool:
        with suppress(ProcessLookupError):  # one has just ended; nothing is known then
            return any(os.getpriority(os.PRIO_PROCESS, number) > 0 for number in decoders())
        return True

    def ask(number: int) -> str:
        path = wav(2.0, 2.0, name=f"{number}.wav")
        with path.open("rb") as file:
            return server.client.audio.transcriptions.create(model="tiny", file=file).text

    assert within(240, lambda: not compiling())  # when it is done, all decoders are replaced
    with ThreadPoolExecutor(6) as clients:
        first, *others = clients.map(ask, range(6))
        most = len(decoders())
    assert others == [first] * 5
    assert most > 2
    assert within(60, lambda: len(decoders()) == 1)
    assert ask(0) == first
