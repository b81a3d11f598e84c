"""One measured comparison as a line of a Markdown table and as JSON."""

import json
import platform
import statistics
import subprocess
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peers import SIDES, Measured, Side, audio_seconds


@dataclass(frozen=True)
class Comparison:
    """What was compared (``model``, ``workload``, ``allocator``), and both sides' medians over the same batches."""

    model: str
    workload: str
    allocator: str
    audio_per_second: dict[Side, float]
    memory_bytes: dict[Side, int]
    ratio: float
    """Median over batches of their time by ours."""
    cpu_ratio: float
    """The same in CPU time."""
    memory_ratio: float
    rounds: int
    seconds: dict[Side, list[float]]
    cpu_seconds: dict[Side, list[float]]


def compare(
    model: str, workload: str, allocator: str, batches: list[list[np.ndarray]], measured: dict[Side, Measured]
) -> Comparison:
    """Condense the measurements of both sides."""
    audio = [audio_seconds(rows) for rows in batches]
    rates = {
        side: statistics.median(a / s for a, s in zip(audio, measured[side].seconds, strict=True)) for side in SIDES
    }
    ours, theirs = (measured[side] for side in SIDES)
    return Comparison(
        model=model,
        workload=workload,
        allocator=allocator,
        audio_per_second=rates,
        memory_bytes={side: measured[side].growth for side in SIDES},
        ratio=statistics.median(b / a for a, b in zip(ours.seconds, theirs.seconds, strict=True)),
        cpu_ratio=statistics.median(b / a for a, b in zip(ours.cpu_seconds, theirs.cpu_seconds, strict=True)),
        memory_ratio=ours.growth / theirs.growth,
        rounds=len(batches),
        seconds={side: measured[side].seconds for side in SIDES},
        cpu_seconds={side: measured[side].cpu_seconds for side in SIDES},
    )


def markdown(comparisons: list[Comparison]) -> str:
    """The table; speed is seconds of audio per second, memory the growth above the loaded model."""
    lines = [
        "| model | workload | allocator | ours | transformers | speed-up | CPU time | memory, ours | theirs | ratio |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for c in comparisons:
        ours, theirs = (f"{c.audio_per_second[side]:.2f}" for side in SIDES)
        memory = " | ".join(f"{c.memory_bytes[side] / 2**20:.0f} MiB" for side in SIDES)
        lines.append(
            f"| {c.model} | {c.workload} | {c.allocator} | {ours} | {theirs} | {c.ratio:.2f}x "
            f"| {c.cpu_ratio:.2f}x | {memory} | {c.memory_ratio:.2f} |"
        )
    return "\n".join(lines)


def machine(threads: int) -> dict[str, Any]:
    """What the numbers depend on."""
    cpu = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.processor(),
    )
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return {
        "cpu": cpu,
        "threads": threads,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": version("transformers"),
        "commit": commit.stdout.strip() or None,
    }


def publish(title: str, comparisons: list[Comparison], threads: int, path: Path | None) -> None:
    """Print the table and, where asked, write everything as JSON."""
    about = machine(threads)
    print(f"\n{title}\n\n{markdown(comparisons)}\n")
    print(f"{about['cpu']}, {threads} threads, torch {about['torch']}, transformers {about['transformers']}")
    if path is not None:
        content = {"title": title, "machine": about, "comparisons": [vars(c) for c in comparisons]}
        path.write_text(json.dumps(content, indent=2) + "\n")
