"""The report of ``wav2vec2 benchmark``: a table to read, and JSON with everything."""

import importlib.metadata
import json
import platform
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from wav2vec2.config import as_plain
from wav2vec2.model.flops import PARTS
from wav2vec2.train.benchmark.parts import OPTIMISER
from wav2vec2.train.benchmark.result import Result
from wav2vec2.train.benchmark.workload import Workload

_TASKS = {
    "pretrain": "one step of pre-training (forward, backward, AdamW)",
    "finetune": "one step of fine-tuning (forward, backward, AdamW)",
    "inference": "audio to logits",
}
_PRECISIONS = {"fp32": "float32", "bf16": "bfloat16 products", "fp64": "float64"}


def machine(w: Workload) -> dict[str, Any]:
    """What the numbers depend on besides the model."""
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    for package in ("wav2vec2", "transformers"):
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    device = torch.device(w.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return {"device": name, "threads": w.threads if device.type == "cpu" else None, **versions}


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@dataclass(frozen=True)
class Report:
    """The results of one command; the first one is that of the package's own settings."""

    model: str
    parameters: int
    workload: Workload
    machine: dict[str, Any]
    results: list[Result]

    def text(self) -> str:
        """The whole report in plain text."""
        blocks = [self._head(), self._speed(), self._parts()]
        if self.results[0].sides.peer is not None:
            blocks.append(self._peers())
        return "\n\n".join("\n".join(block) for block in blocks)

    def json(self) -> str:
        """Everything as JSON."""
        w = self.workload
        described = {
            "model": self.model,
            "parameters": self.parameters,
            "task": w.task,
            "precision": w.train.precision,
            "regularization": as_plain(w.regularization),
            "machine": self.machine,
        }
        results = [
            asdict(one)
            | {
                "audio_seconds_per_second": {side: one.speed(side) for side in one.sides.turns},
                "flops_per_audio_second": one.flops_per_audio_second,
                "flops_per_second": one.flops_per_second,
                "padding": one.padding,
            }
            for one in self.results
        ]
        return json.dumps(described | {"results": results}, indent=2) + "\n"

    def _head(self) -> list[str]:
        one, w, m = self.results[0], self.workload, self.machine
        rows = one.shapes[0]
        alike = len({n for step in one.shapes for n in step}) == 1
        seconds = f"{rows[0] / 16_000:g} s" if alike else "utterances of different lengths"
        threads = "" if m["threads"] is None else f", {m['threads']} thread{'s' if m['threads'] != 1 else ''}"
        where = f"{m['device']}{threads}, torch {m['torch']}"
        source = "speech" if one.heard is not None else "noise"
        return [
            f"{self.model}, {self.parameters / 1e6:.1f} M parameters: {_TASKS[w.task]}",
            f"{len(rows)} x {seconds} a step ({source}), {_PRECISIONS[w.train.precision]}, {where}",
        ]

    def _speed(self) -> list[str]:
        one = self.results[0]
        lines = [_line("speed", f"{_digits(one.speed())} seconds of audio a second ({_time(one.step_seconds)} a step)")]
        reached = one.flops_per_second
        if reached is None or one.flops_per_audio_second is None:
            lines.append(_line("operations", "not counted for a variant of the model"))
        else:
            needed = f"{one.flops_per_audio_second / 1e9:.1f} GFLOP for a second of audio"
            lines.append(_line("operations", f"{needed}, so {_rate(reached)} are used"))
            ceiling = f"{100 * reached / one.ceiling:.0f} % of {_rate(one.ceiling)}"
            lines.append(_line("of the ceiling", f"{ceiling}, which plain matrix products reach here"))
        held = "weights, activations" if self.workload.task == "inference" else "weights, gradients, AdamW, activations"
        lines.append(_line("peak memory", f"{one.sides.peaks['wav2vec2'] / 2**30:.2f} GiB ({held})"))
        lines.append(_line("padding", f"{100 * one.padding:.1f} % of the samples"))
        if one.heard is not None:
            h = one.heard
            speed = _digits(h.audio / h.seconds)
            waiting = f"{100 * h.waited / h.seconds:.1f} % of the time, at {speed} seconds of audio a second"
            lines.append(_line("waiting for data", waiting))
            lines.append(_line("padding as read", f"{100 * (1 - h.audio / h.padded_audio):.1f} % of the samples"))
        return lines

    def _parts(self) -> list[str]:
        one = self.results[0]
        total = sum(one.parts.values())
        head = f"{'where the time goes':<22}{'forward':>10}{'backward':>10}"
        if one.operations is not None:
            head += "   (of the operations)"
        lines = [head]
        for part in PARTS:
            shares = [one.parts.get(f"{part}, {way}", 0.0) / total for way in ("forward", "backward")]
            line = f"  {part:<20}" + "".join(f"{100 * share:>8.1f} %" for share in shares)
            if one.operations is not None:
                line += f"   ({100 * one.share_of_flops(part, 0):.1f} %, {100 * one.share_of_flops(part, 1):.1f} %)"
            lines.append(line)
        if OPTIMISER in one.parts:
            lines.append(f"  {OPTIMISER:<20}{100 * one.parts[OPTIMISER] / total:>8.1f} %")
        return lines

    def _peers(self) -> list[str]:
        lines = [
            f"beside transformers {self.machine.get('transformers', '')}: same weights, same audio, in turns; "
            "seconds of audio a second",
            *self._peer_rows(),
        ]
        return lines

    def _peer_rows(self) -> Iterator[str]:
        gpu = self.workload.device.startswith("cuda")
        names = ("ours", "theirs", "speed-up", "CPU time")
        head = "".join(f"{name:>10}" for name in names)
        yield f"  {'freed memory':<16}{head}{'memory, ours':>15}{'theirs':>12}"
        for one in self.results:
            peer = one.sides.peer
            assert peer is not None
            kept = "(GPU)" if gpu else "kept" if one.keeps_freed_memory else "glibc's default"
            speeds = "".join(f"{_digits(one.speed(side)):>10}" for side in ("wav2vec2", peer))
            ratios = "".join(f"{one.sides.ratio(which):>9.2f}x" for which in (0, 1))
            memory = [f"{one.sides.peaks[side] / 2**20:.0f} MiB" for side in ("wav2vec2", peer)]
            yield f"  {kept:<16}{speeds}{ratios}{memory[0]:>15}{memory[1]:>12}"


def _line(name: str, value: str) -> str:
    return f"{name:<18}{value}"


def _digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.1f} ms"


def _rate(operations: float) -> str:
    return f"{operations / 1e12:.1f} TFLOP/s" if operations >= 1e12 else f"{operations / 1e9:.0f} GFLOP/s"
