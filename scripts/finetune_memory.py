"""How much memory each way to fine-tune needs, by torch's own tracker on tensors that do not exist.

    python -m scripts.finetune_memory                        300M and 1B, every way, as a table
    python -m scripts.finetune_memory 300m --ways lora --half --seconds 20
    python -m scripts.finetune_memory 300m --measure         one step on this CPU: tracked, allocated, resident

A forward and backward pass of a single utterance is traced (FakeTensorMode), with the gradients of the pass before it
in place. Weights and AdamW's moments are in float32. In half precision what a GPU's kernels do is imitated on the CPU's
operators, as in scripts/memory.py, whose docstring says what is to be added.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args
from unittest import mock

import torch
from scripts.memory import GIB, kernels_of_a_gpu
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker
from torch.profiler import ProfilerActivity, profile

from wav2vec2.errors import UserError
from wav2vec2.model.architecture import ARCHITECTURES
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.model.randomness import Draw
from wav2vec2.train.distributed import Ranks
from wav2vec2.train.finetune import lora
from wav2vec2.train.finetune.config import FinetuneConfig
from wav2vec2.train.finetune.ways import Way, freeze, tuned_regularization, with_adapters
from wav2vec2.train.optimizer import build_optimizer, step_if_finite
from wav2vec2.train.options import ParallelConfig, TrainConfig
from wav2vec2.train.parallel import Engine, blocks

SYMBOLS = 32
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Case:
    """What is fine-tuned, and how."""

    name: str
    way: Way
    recompute: bool = False
    half: bool = False
    seconds: float = 15.0
    layers: int = 0
    """Transformer blocks; 0: as many as the model has."""

    def model(self) -> Wav2Vec2ForCTC:
        """The model with random weights, its parameters frozen as the way says. No block is left out by LayerDrop."""
        architecture = ARCHITECTURES[self.name]
        if self.layers:
            architecture = replace(architecture, layers=self.layers)
        if self.way == "adapters":
            architecture = with_adapters(architecture, 16)
        usual = FinetuneConfig()
        regularization = replace(tuned_regularization(self.way, usual.regularization), layerdrop=0.0)
        model = Wav2Vec2ForCTC(architecture, SYMBOLS, regularization, usual.masking).train()
        if self.way == "lora":
            lora.insert(model, usual.tune.lora_rank, usual.tune.lora_alpha)
        freeze(model, self.way)
        return model


class Steps:
    """A model in training, on this process alone."""

    def __init__(self, case: Case, *, like_gpu: bool) -> None:
        self.half = torch.bfloat16 if case.half else None
        self.model = case.model()
        self.model.encoder.packed = False
        self.model.encoder.feature_encoder.rows = like_gpu
        for block in blocks(self.model) if case.half else ():
            block.residual = torch.float32
        self.engine = Engine(self.model, ParallelConfig("none", recompute=case.recompute), Ranks(0, 1, CPU), self.half)
        named = [(name, p) for name, p in self.model.named_parameters() if p.requires_grad]
        self.optimizer, _ = build_optimizer(named, TrainConfig())

    def backward(self, waveforms: torch.Tensor) -> None:
        """A forward and backward pass, whose gradients are added to what is there. The loss needs as much as CTC."""
        with torch.autocast("cpu", self.half) if self.half else nullcontext():
            logits, _ = self.engine.module(waveforms, draw=Draw(1, 0, torch.arange(len(waveforms))))
        logits.float().log_softmax(-1).square().mean().backward()


def tracked(case: Case, *, like_gpu: bool | None = None) -> float:
    """Bytes at the peak; ``like_gpu``: with the kernels of a GPU, by default in half precision only."""
    like_gpu = case.half if like_gpu is None else like_gpu
    with ExitStack() as stack:
        stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        # Compiled code has static shapes: eager code would ask for values, which these tensors do not have.
        stack.enter_context(mock.patch("torch.compiler.is_compiling", return_value=True))
        stack.enter_context(kernels_of_a_gpu() if like_gpu else nullcontext())
        # peft moves what it makes to the device where everything is already; fake tensors cannot be moved.
        stack.enter_context(mock.patch("torch.nn.Module.to", lambda self, *_, **__: self))
        stack.enter_context(mock.patch.object(MemTracker, "_update_peak_stats", _peak_alone))
        for name in ("register_hook", "register_post_accumulate_grad_hook"):
            stack.enter_context(mock.patch(f"torch.Tensor.{name}", _for_trained(getattr(torch.Tensor, name))))
        steps = Steps(case, like_gpu=like_gpu)
        for parameter in steps.model.parameters():
            parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
        waveforms = torch.randn(1, round(case.seconds * 16_000))
        tracker: Any = MemTracker()
        tracker.track_external(steps.model, steps.optimizer, waveforms)
        with tracker:
            steps.backward(waveforms)
        (peak,) = tracker.get_tracker_snapshot("peak").values()
    return float(next(size for kind, size in peak.items() if str(kind).rpartition(".")[2] == "Total"))


def _peak_alone(tracker: Any, _: object) -> None:
    """Keep the peak of the whole, but not that of each module, which takes a time that grows with their square."""
    for device, now in tracker._curr_mem_snap.items():
        if tracker._peak_mem.get(device, 0) < now["Total"]:
            tracker._peak_mem[device] = now["Total"]
            tracker._peak_mem_snap[device] = dict(now)


def _for_trained(register: Any) -> Any:
    """The tracker asks every parameter for its gradient; a frozen one has none."""

    def chosen(self: torch.Tensor, hook: Any) -> Any:
        return register(self, hook) if self.requires_grad else mock.Mock()

    return chosen


def measure(case: Case) -> dict[str, float]:
    """Bytes of two passes and a step of AdamW in float32 on this CPU, tracked and measured.

    "allocated" is what torch's allocator held at the peak, by its profiler. "resident" is what the process grew by.
    """
    expected = tracked(case)
    before = _resident("VmRSS")
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        steps = Steps(case, like_gpu=False)
        waveforms = torch.randn(1, round(case.seconds * 16_000))
        steps.backward(waveforms)
        steps.backward(waveforms)
        step_if_finite(steps.optimizer, torch.ones(()), 0.0, torch.ones(()))
    with tempfile.TemporaryDirectory() as folder:
        profiled.export_chrome_trace(f"{folder}/trace.json")
        peak = _most_allocated(Path(folder) / "trace.json")
    return {"tracked": expected, "allocated": peak, "resident": _resident("VmHWM") - before}


def _most_allocated(trace: Path) -> float:
    events = json.loads(trace.read_text(encoding="utf-8"))["traceEvents"]
    return float(max(event["args"]["Total Allocated"] for event in events if event.get("name") == "[memory]"))


def _resident(name: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * float(next(line.split()[1] for line in lines if line.startswith(f"{name}:")))


def table(names: Sequence[str], ways: Sequence[Way], halves: Sequence[bool], seconds: float) -> Iterator[str]:
    """Lines of a Markdown table: GiB at the peak."""
    yield (
        "| model | way | trained, M | "
        + " | ".join(
            f"{'bf16' if half else 'fp32'}{', recomputed' if recompute else ''}"
            for half in halves
            for recompute in (False, True)
        )
        + " |"
    )
    yield "|---|---|---:|" + "---:|" * 2 * len(halves)
    for name in names:
        for way in ways:
            cases = [Case(name, way, recompute, half, seconds) for half in halves for recompute in (False, True)]
            shown = " | ".join(f"{tracked(case) / GIB:.1f}" for case in cases)
            yield f"| {name} | {way} | {_trained(name, way) / 1e6:.1f} | {shown} |"


def _trained(name: str, way: Way) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in Case(name, way).model().parameters() if p.requires_grad)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["300m", "1b"], help=f"of {', '.join(ARCHITECTURES)}")
    parser.add_argument("--ways", nargs="+", default=list(get_args(Way)), choices=get_args(Way))
    parser.add_argument("--half", action="store_true", help="half precision only")
    parser.add_argument("--seconds", type=float, default=15.0, help="audio of a forward pass")
    parser.add_argument("--measure", action="store_true", help="compare the tracker with a step on this CPU")
    parser.add_argument("--recompute", action="store_true", help="with --measure: recompute the blocks")
    o = parser.parse_args()
    try:
        if o.measure:
            found = measure(Case(o.models[0], o.ways[0], o.recompute, seconds=o.seconds))
            print(json.dumps({f"{name}, MiB": round(value / 2**20) for name, value in found.items()}))
            return 0
        for line in table(o.models, o.ways, [True] if o.half else [False, True], o.seconds):
            print(line, flush=True)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
