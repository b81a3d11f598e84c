"""How many processes read audio: enough to stay ahead of the device, counted from how fast one reads here.

A few recordings spread over the manifest are read at the start, as the loader would read them: from their disk or
store, decoded and cropped. What the device hears at most follows from the model's operations and from what such devices
reach. A process that waits for a store needs no core of its own; one that decodes does.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.utterance import Utterance
from wav2vec2.data.waveforms import fetch, read_utterance
from wav2vec2.device import available_cores
from wav2vec2.errors import UserError
from wav2vec2.model.architecture import Architecture
from wav2vec2.model.flops import Task, flops_per_second
from wav2vec2.model.variants.variant import PROPOSED

AUTO = -1
"""The value of batch.workers that means: count them."""
CUDA_FLOPS = 4e14
"""Operations a second of one GPU: half of what an H100 reaches in plain bf16 products."""
CORE_FLOPS = 1e11
"""Operations a second of one core of a CPU: what AVX2 reaches in plain float32 products."""
MOST_HEARD_BY_CPU = 500.0
"""Seconds of audio a second; models that are small enough to hear more are for tests."""
MOST_WORKERS = 64
_SPARE = 1.3  # recordings differ, and a queue that runs empty is not made up for
_RECORDINGS = 8
_PATIENCE = 2.0  # seconds, after which a slow store has shown what it is


@dataclass(frozen=True)
class ReadingSpeed:
    """What one process needs for a second of audio, in seconds: in all, and of a core."""

    seconds: float
    core_seconds: float


def heard_at_most(architecture: Architecture, task: Task, device: torch.device) -> float:
    """Seconds of audio a second that a device of this kind hears at most, with this model."""
    operations = flops_per_second(replace(architecture, variant=PROPOSED), task)
    if device.type == "cuda":
        return CUDA_FLOPS / operations
    return min(CORE_FLOPS * available_cores() / operations, MOST_HEARD_BY_CPU)


def reading_speed(
    manifest: Manifest, longest: int, *, clock: Callable[[], float] = time.perf_counter
) -> ReadingSpeed | None:
    """Read a few recordings, of each at most ``longest`` samples; None if none of them can be read."""
    indices = np.linspace(0, len(manifest) - 1, _RECORDINGS + 1).astype(int)
    rows = [manifest.utterance(int(index)) for index in indices]
    pieces = [replace(row, samples=min(row.samples, longest)) for row in rows]
    _read(pieces[:1])  # opens connections and loads the decoders
    heard, began, core = 0, clock(), time.process_time()
    for piece in pieces[1:]:
        heard += _read([piece])
        if clock() - began > _PATIENCE:
            break
    if not heard:
        return None
    audio = heard / SAMPLE_RATE
    return ReadingSpeed((clock() - began) / audio, (time.process_time() - core) / audio)


def count_workers(speed: ReadingSpeed, heard: float, cores: int) -> int:
    """Processes that read ``heard`` seconds of audio a second, with a reserve; no more than ``cores`` are kept busy."""
    needed = int(np.ceil(_SPARE * heard * speed.seconds))
    busy = max(speed.core_seconds / max(speed.seconds, 1e-9), 1e-3)  # share of its time that one needs a core
    return max(1, min(needed, int(max(1, cores) / min(busy, 1.0)), MOST_WORKERS))


def counted(manifest: Manifest, longest: int, heard: float, *, accelerated: bool) -> tuple[int, str]:
    """Return the number of processes that read for this one, and a line that says why.

    Args:
        manifest: what is read.
        longest: most samples that are read of an utterance.
        heard: seconds of audio a second that the device hears at most.
        accelerated: whether the cores are free for reading; otherwise they compute, too, and a quarter of them reads.
    """
    speed = reading_speed(manifest, longest)
    if speed is None:
        return 1, "reading: none of a few recordings could be read; 1 process reads (batch.workers)"
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    own = available_cores() // max(1, local)
    count = count_workers(speed, heard, own - 1 if accelerated else own // 4)
    few = count * (1.0 / speed.seconds) < heard
    return count, (
        f"reading: one process reads {1.0 / speed.seconds:.0f} s of audio a second, the device hears at most "
        f"{heard:.0f}: {count} process{'es read' if count > 1 else ' reads'} (batch.workers)"
        + ("; these are all that the cores allow, watch wait_share in the log" if few else "")
    )


def _read(rows: list[Utterance]) -> int:
    """Samples that were read; a recording that cannot be read is reported when its batch comes."""
    fetched = fetch(rows)
    read = 0
    for row in rows:
        try:
            read += len(read_utterance(row, fetched))
        except UserError:
            continue
    return read
