"""A server as a process of its own, and what is asked of it: shared by the scripts that load it and that break it."""

import io
import random
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import httpx2
import numpy as np
import soundfile

from wav2vec2.audio.recordings import recordings_below

CLIP = 3.0
"""Seconds of a short clip."""


@contextmanager
def serving(model: str, *options: str) -> Iterator[tuple[str, int]]:
    """Run a server; yield its address and the number of its process."""
    command = [sys.executable, "-m", "wav2vec2", "serve", "--model", model, "--port", "0", "--waiting", "10000"]
    with subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        address = told_address(process.stderr)
        threading.Thread(target=process.stderr.read, daemon=True).start()  # a full pipe would stop the server
        try:
            yield address, process.pid
        finally:
            process.terminate()


def told_address(messages: IO[str]) -> str:
    """Read what a server says up to its address; that the search is compiled may come first."""
    said = []
    for line in iter(messages.readline, ""):
        if place := re.search(r"^serving .* at (https?://\S+)", line):
            return place[1]
        said.append(line)
    raise RuntimeError(f"the server has ended: {''.join(said)}")


def family(parent: int) -> list[int]:
    """A process and all below it."""
    found = [parent]
    for number in found:
        try:
            found += map(int, Path(f"/proc/{number}/task/{number}/children").read_text().split())
        except OSError:
            continue
    return found


def memory(parent: int) -> float:
    """Private MiB of a server's processes."""
    return sum(memory_by_kind(parent, "Private_(?:Clean|Dirty)").values())


def memory_by_kind(parent: int, what: str = "Pss_Anon") -> dict[str, float]:
    """MiB of a server's processes: the front, compute workers, what starts decoders, and decoders.

    what: lines of /proc/N/smaps_rollup; by default memory that is no file, a page that several share in equal parts.
    """
    found: Counter[str] = Counter()
    for number in family(parent):
        try:
            text = Path(f"/proc/{number}/smaps_rollup").read_text()
            words = Path(f"/proc/{number}/cmdline").read_text()
            above = int(Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        kind = "workers" if "compute_worker" in words else "decoders" if above != parent else "their parent"
        sizes = re.findall(rf"^{what}:\s+(\d+)", text, re.M)
        found["front" if number == parent else kind] += sum(map(int, sizes)) / 1024
    return dict(found)


def encoded(samples: np.ndarray) -> bytes:
    """A FLAC file."""
    file = io.BytesIO()
    soundfile.write(file, samples, 16_000, format="FLAC")
    return file.getvalue()


def speech(folder: Path, seconds: float, seed: int) -> np.ndarray:
    """So many seconds of recordings, joined in a random order."""
    paths = random.Random(seed).sample(found := sorted(recordings_below(folder)), len(found))
    parts: list[np.ndarray] = []
    while sum(map(len, parts)) < seconds * 16_000:
        parts.append(soundfile.read(paths[len(parts) % len(paths)], dtype="float32")[0])
    return np.concatenate(parts)[: round(seconds * 16_000)]


async def ask(client: httpx2.AsyncClient, address: str, content: bytes) -> tuple[str, float]:
    """Have a file transcribed: its text, and the seconds that took."""
    begin = time.monotonic()
    answer = await client.post(f"{address}/v1/audio/transcriptions", files={"file": ("a.flac", content)})
    answer.raise_for_status()
    return answer.json()["text"], time.monotonic() - begin
