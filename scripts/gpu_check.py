"""What one GPU has to show, in under ten minutes: share of its matrix products, and speed beside transformers.

    python scripts/gpu_check.py --json gpu_check.json      on a machine with a GPU
    python scripts/gpu_check.py --rehearse                 on a CPU, with a tiny model: does everything work?

Measured are steps of pre-training (forward, backward, AdamW; bfloat16) of BASE and LARGE: at 5 x 15.625 s, the paper's
batch of a GPU, and at the fastest batch that fits; first in several ways at the small batch, of which the fastest is
kept. The Triton kernel is compared with its plain form before. Every number is printed and written as soon as it is
known, so that a run that is cut off has not been for nothing; what no time is left for is said.

Only torch and numpy have to be installed: what else this package imports and does not use here is replaced by
stand-ins. transformers is measured if it can be imported.
"""

import argparse
import importlib.util
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
HAS_PEER = all(importlib.util.find_spec(name) for name in ("transformers", "safetensors", "huggingface_hub"))
# Also in the processes that are started from here, which import this file first.
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "scripts")]

import stand_ins  # noqa: E402

stand_ins.install()

import torch  # noqa: E402
import triton_kernel  # noqa: E402

from wav2vec2.errors import UserError  # noqa: E402
from wav2vec2.model.flops import batch_flops  # noqa: E402
from wav2vec2.train.benchmark.choice import choose  # noqa: E402
from wav2vec2.train.benchmark.ours import build  # noqa: E402
from wav2vec2.train.benchmark.turns import OURS, THEIRS, Opponent, Side  # noqa: E402
from wav2vec2.train.benchmark.workload import Waveforms, Workload, audio_seconds, made_up_audio  # noqa: E402


@dataclass(frozen=True)
class Bars:
    """Shares of the ceiling at 5 x 15.625 s and at the best batch, and the factor over transformers (0: no bar)."""

    small: float
    best: float
    factor: float = 0.0


@dataclass(frozen=True)
class Plan:
    """What is measured."""

    models: dict[str, tuple[str, Bars]]
    """By name: what ``choose`` takes, and the bars."""
    device: torch.device
    precision: str
    seconds: float
    batches: tuple[int, ...]
    """The first is the small one. A larger one is tried while it is faster."""
    rounds: int
    turn_seconds: float
    variants: dict[str, dict[str, Any]]
    """Ways to compute a step, by name: settings of the section train. The fastest at the small batch is measured."""


FULL = Plan(
    {
        "BASE": ("recipes/pretrain_base.toml", Bars(0.30, 0.40, 3.0)),
        "LARGE": ("recipes/pretrain_large.toml", Bars(0.40, 0.50)),
    },
    torch.device("cuda", 0),
    "bf16",
    15.625,
    (5, 10, 20, 40, 80, 120),
    3,
    1.5,
    {
        "as the recipe says": {},
        "without the Triton kernel": {"triton": False},
        "compiled blocks": {"compile": True},
        "compiled blocks, residual in bf16": {"compile": True, "residual": "bf16"},
    },
)
TINY = {"TINY": ("tiny", Bars(0.3, 0.4, 3.0))}
WAYS: dict[str, dict[str, Any]] = {"as the recipe says": {}, "without the Triton kernel": {"triton": False}}
REHEARSAL = Plan(TINY, torch.device("cpu"), "fp32", 1.0, (1, 2), 1, 0.0, WAYS)


@dataclass
class Check:
    """The measurements so far, and until when to go on."""

    plan: Plan
    deadline: float
    json: Path | None
    lines: list[str] = field(default_factory=list)
    measured: dict[str, Any] = field(default_factory=dict)
    way: dict[str, Any] | None = None
    """Settings of the fastest variant, once it is known."""
    kernel_differs: bool = False

    def say(self, line: str) -> None:
        """Print, and write everything known."""
        print(line, flush=True)
        self.lines.append(line)
        if self.json is not None:
            self.json.write_text(json.dumps({"lines": self.lines, "measured": self.measured}, indent=1) + "\n")

    @property
    def left(self) -> float:
        """Seconds left."""
        return self.deadline - time.monotonic()

    def model(self, name: str) -> None:
        """Measure one model at all batches and judge it."""
        source, bars = self.plan.models[name]
        source = str(ROOT / source) if source.endswith(".toml") else source
        w = choose(source, "pretrain", self.plan.precision, self.plan.device, 0).workload
        if self.way is None:
            self.way = self.fastest(name, w)
        w = replace(w, train=replace(w.train, **self.way))
        found: dict[Side, dict[int, float]] = {OURS: {}, THEIRS: {}}
        with tempfile.TemporaryDirectory() as folder:
            sides = [Opponent(OURS, w, None, keep=True)]
            try:
                if HAS_PEER:
                    from wav2vec2.checkpoints.huggingface.directory import save

                    save(build(w), Path(folder))  # type: ignore[arg-type]
                    sides.append(Opponent(THEIRS, w, Path(folder), keep=True))
                ceiling = self.ceiling(sides[0])
                self.batches(name, w, sides, ceiling, found)
            finally:
                for side in sides:
                    side.end()
        self.judge(name, w, bars, ceiling, found)

    def kernel(self) -> None:
        """Compare the Triton kernel with its plain form, before anything is timed with it."""
        self.kernel_differs, line = triton_kernel.verdict(self.plan.device)
        self.say(line)

    def fastest(self, name: str, w: Workload) -> dict[str, Any]:
        """The settings of the variant that is fastest at the small batch."""
        rows = made_up_audio(self.plan.batches[0], self.plan.seconds, ragged=False, seed=0)
        speeds: dict[str, float] = {}
        for way, settings in self.plan.variants.items():
            settings = {**settings, "triton": False} if self.kernel_differs else settings
            one = Opponent(OURS, replace(w, train=replace(w.train, **settings)), None, keep=True)
            try:
                speeds[way] = self.turns(rows, [one])[OURS]
                turn = one.ask("turn", rows, 10, 3, 1)
                self.say(
                    f"{name}, {way}: {speeds[way]:,.1f} audio-s/s; the host has queued a step after "
                    f"{100 * turn.host_seconds / turn.seconds:.0f} % of its time"
                )
            except (UserError, KeyError) as problem:
                self.say(f"{name}, {way}: failed, {problem}")
            finally:
                one.end()
        self.measured["variants"] = speeds
        best = max(speeds, key=speeds.__getitem__)
        self.say(f"measured from here on: {best}")
        return {**self.plan.variants[best], **({"triton": False} if self.kernel_differs else {})}

    def ceiling(self, ours: Opponent) -> float:
        """The ceiling, measured once."""
        if "ceiling" not in self.measured:
            self.measured["ceiling"] = ours.ask("ceiling")
            self.say(f"plain matrix products: {self.measured['ceiling'] / 1e12:.3f} TFLOP/s, the ceiling")
        return float(self.measured["ceiling"])

    def batches(
        self, name: str, w: Workload, sides: list[Opponent], ceiling: float, found: dict[Side, dict[int, float]]
    ) -> None:
        """Each side goes on to larger batches while they are faster and fit."""
        going = list(sides)
        for size in self.plan.batches:
            rows = made_up_audio(size, self.plan.seconds, ragged=False, seed=size)
            if not going or (size > self.plan.batches[0] and self.left < 30):
                break
            speeds = self.turns(rows, going)
            for side in list(going):
                speed = speeds.get(side.side)
                before = max(found[side.side].values(), default=0.0)
                if speed is None:
                    self.say(f"{name}, {side.side}, {size} x {self.plan.seconds:g} s: does not fit")
                else:
                    found[side.side][size] = speed
                    share = speed * operations(w, rows) / ceiling
                    memory = side.ask("peak") / 2**30
                    self.say(
                        f"{name}, {side.side}, {size} x {self.plan.seconds:g} s: {speed:,.1f} audio-s/s, "
                        f"{100 * share:.1f} % of the ceiling, {memory:.1f} GiB"
                    )
                    self.measured[f"{name} {side.side} {size}"] = {"speed": speed, "share": share, "memory": memory}
                if speed is None or speed < 1.02 * before:
                    going.remove(side)
            if size == self.plan.batches[0]:
                self.parts(name, sides[0], rows)

    def parts(self, name: str, ours: Opponent, rows: Waveforms) -> None:
        """Where a step of ours spends its time."""
        parts = ours.ask("parts", rows, 0)
        total = sum(parts.values())
        self.measured[f"{name} parts"] = parts
        self.say(f"{name}, parts: " + "; ".join(f"{part} {100 * t / total:.1f} %" for part, t in parts.items()))

    def turns(self, rows: Waveforms, sides: Sequence[Opponent]) -> dict[Side, float]:
        """Audio-seconds a second of each side that has room for the batch: medians of turns that alternate."""
        repeat, taken = {}, {side.side: [] for side in sides}
        fitting = [side for side in sides if side.ask("fits", rows)]
        for _ in range(self.plan.rounds):
            for side in fitting:
                if side.side not in repeat:
                    one = side.ask("turn", rows, 0, 1, 1).seconds
                    repeat[side.side] = max(1, min(50, int(self.plan.turn_seconds / max(one, 1e-3))))
                turn = side.ask("turn", rows, 10, repeat[side.side], 1)
                side.ask("release")
                taken[side.side].append(audio_seconds(rows) * repeat[side.side] / turn.seconds)
        return {side: sorted(values)[len(values) // 2] for side, values in taken.items() if values}

    def judge(self, name: str, w: Workload, bars: Bars, ceiling: float, found: dict[Side, dict[int, float]]) -> None:
        """Print the verdict on each bar."""
        small = self.plan.batches[0]
        rows = made_up_audio(small, self.plan.seconds, ragged=False, seed=small)
        needed = operations(w, rows)
        ours, theirs = found[OURS], found[THEIRS]
        for label, speed, bar in (
            (f"{small} x {self.plan.seconds:g} s", ours.get(small), bars.small),
            ("the best batch", max(ours.values(), default=None), bars.best),
        ):
            share = None if speed is None else speed * needed / ceiling
            self.verdict(f"{name} at {label}: {percent(share)} of the ceiling, bar {percent(bar)}", share, bar)
        pairs = ((f"at {small}", ours.get(small), theirs.get(small)),)
        pairs += (("at each side's best batch", max(ours.values(), default=None), max(theirs.values(), default=None)),)
        for label, a, b in pairs:
            factor = None if a is None or b is None else a / b
            text = "transformers is not installed" if factor is None else f"{factor:.2f}x transformers"
            self.verdict(f"{name} {label}: {text}, bar {bars.factor:g}x", factor, bars.factor)

    def verdict(self, text: str, value: float | None, bar: float) -> None:
        """PASSES, FAILS, or that there is no bar or no number."""
        word = "no bar" if not bar else "NOT MEASURED" if value is None else "PASSES" if value >= bar else "FAILS"
        if self.plan.device.type == "cpu":
            word = "rehearsed"
        self.measured.setdefault("verdicts", []).append([text, word])
        self.say(f"{word:<13}{text}")


def percent(share: float | None) -> str:
    """A share in words."""
    return "nothing" if share is None else f"{100 * share:.1f} %"


def operations(w: Workload, rows: Waveforms) -> float:
    """Operations of a step for a second of its audio, without those of the blocks that LayerDrop skips."""
    parts = batch_flops(w.architecture, [len(row) for row in rows], layerdrop=w.regularization.layerdrop)
    return sum(part.both for part in parts.values()) / audio_seconds(rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rehearse", action="store_true", help="tiny model on the CPU")
    parser.add_argument("--minutes", type=float, default=9.0, help="begin nothing new after this time")
    parser.add_argument("--models", nargs="+", help="only these of BASE and LARGE")
    parser.add_argument("--json", type=Path, help="write everything here as it becomes known")
    o = parser.parse_args()
    plan = REHEARSAL if o.rehearse else FULL
    if plan.device.type == "cuda" and not torch.cuda.is_available():
        print("no GPU that torch can use: give --rehearse", file=sys.stderr)
        return 2
    check = Check(plan, time.monotonic() + 60 * o.minutes, o.json)
    name = (
        torch.cuda.get_device_name(plan.device) if plan.device.type == "cuda" else "CPU, a rehearsal: no verdict counts"
    )
    check.say(f"{name}, torch {torch.__version__}, Python {sys.version.split()[0]}")
    check.kernel()
    for model in plan.models:
        if o.models and model not in o.models:
            continue
        if check.left < 60 and model != next(iter(plan.models)):
            check.say(f"{model}: no time left")
            continue
        check.model(model)
    failed = [text for text, word in check.measured.get("verdicts", []) if word == "FAILS"]
    check.say(f"{len(failed)} of {len(check.measured.get('verdicts', []))} verdicts fail")
    return 0 if o.rehearse else int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
