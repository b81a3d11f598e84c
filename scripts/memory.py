"""How much memory a recipe of pre-training needs on each GPU, by torch's own tracker on tensors that do not exist.

    python scripts/memory.py                                 the recipes of BASE to 7B, as a table
    python scripts/memory.py recipes/pretrain_1b.toml --gpus 8 64
    python scripts/memory.py --measure                       tracked against measured, with a small model on this CPU

One forward and backward pass of one micro-batch of the longest crops is traced (FakeTensorMode), with the model and
the optimiser's moments in place: weights, gradients, moments, activations, and what FSDP gathers. What a GPU's kernels
do is imitated on the CPU's operators: autocast keeps layer norms in float32, and attention never holds its
probabilities. To add: the CUDA context (about 0.5 GiB), NCCL's buffers, and what the allocator loses to fragments.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.fsdp2_mem_tracker import FSDPMemTracker
from torch.distributed._tools.mem_tracker import MemTracker
from torch.distributed.device_mesh import init_device_mesh
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile
from torch.testing._internal.distributed.fake_pg import FakeStore

from wav2vec2.config import load_recipe
from wav2vec2.model.architecture import ARCHITECTURES, Regularization
from wav2vec2.model.quantizer import diversity_loss
from wav2vec2.model.randomness import Draw
from wav2vec2.model.variants.pretraining import pretraining_model
from wav2vec2.train.benchmark.ours import OurSteps
from wav2vec2.train.benchmark.turns import OURS, Worker
from wav2vec2.train.benchmark.workload import Workload, made_up_audio
from wav2vec2.train.distributed import Ranks
from wav2vec2.train.optimizer import build_optimizer
from wav2vec2.train.options import ParallelConfig
from wav2vec2.train.parallel import Engine, blocks
from wav2vec2.train.pretrain.command import PretrainConfig

RECIPES = Path(__file__).resolve().parents[1] / "recipes"
NAMES = ("base", "large_lv60k", "1b", "2b", "7b")
GIB = 2.0**30


@dataclass(frozen=True)
class Tracked:
    """Bytes at the peak of one process."""

    total: float
    activations: float
    """Activations, temporary tensors, and gathered weights."""

    @property
    def state(self) -> float:
        """Weights, gradients and moments."""
        return self.total - self.activations


def tracked(config: PretrainConfig, seconds: float, rows: int, gpus: int, *, like_gpu: bool = True) -> Tracked:
    """The peak of a forward and backward pass over ``rows`` utterances of ``seconds``, on one of ``gpus`` processes."""
    half = torch.bfloat16 if config.train.precision == "bf16" else None
    samples = round(seconds * 16_000)
    with ExitStack() as stack:
        if gpus > 1:
            stack.enter_context(_processes(gpus))
        stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        # Compiled code has static shapes: eager code would ask for values, which these tensors do not have.
        stack.enter_context(mock.patch("torch.compiler.is_compiling", return_value=True))
        if like_gpu:
            stack.enter_context(kernels_of_a_gpu())
        model = pretraining_model(config.model.build(config.variant), config.regularization, config.masking).train()
        model.encoder.packed = False
        model.encoder.feature_encoder.rows = like_gpu
        for block in blocks(model) if half else ():
            block.residual = torch.bfloat16 if config.train.residual == "bf16" else torch.float32
        engine = Engine(model, config.parallel, Ranks(0, gpus, torch.device("cpu")), half)
        optimizer, _ = build_optimizer(model.named_parameters(), config.train)
        waveforms = torch.randn(rows, samples)
        sharded = gpus > 1 and config.parallel.strategy == "fsdp"
        tracker: Any = FSDPMemTracker(engine.module, optimizer) if sharded else MemTracker()
        tracker.track_inputs((waveforms,)) if sharded else tracker.track_external(model, optimizer, waveforms)
        # AdamW's fused step holds nothing more, and DTensor's planning of it would be tracked by mistake: left out.
        with tracker:
            with torch.autocast("cpu", half) if half else nullcontext():
                output = engine.module(waveforms, draw=Draw(1, 0, torch.arange(rows)))
                loss = output.contrastive_sum + diversity_loss(output.probability_sum) + output.penalty_sum
            engine.joined(loss).backward()
        (peak,) = tracker.get_tracker_snapshot("peak").values()
    names = {str(kind).rpartition(".")[2]: size for kind, size in peak.items()}
    fleeting = ("ACT", "TEMP", "ALL_GATHER", "REDUCE_SCATTER", "UNSHARDED_PARAM", "UNSHARDED_GRAD", "INP")
    return Tracked(names["Total"], sum(names.get(kind, 0) for kind in fleeting))


@contextmanager
def _processes(gpus: int) -> Iterator[None]:
    """A process group of which only this process exists; its mesh is made before tensors become fake."""
    dist.init_process_group("fake", rank=0, world_size=gpus, store=FakeStore())
    mesh = init_device_mesh("cpu", (gpus,))
    try:
        with mock.patch("torch.distributed.fsdp._fully_shard._fully_shard._init_default_mesh", return_value=mesh):
            yield
    finally:
        dist.destroy_process_group()


@contextmanager
def kernels_of_a_gpu() -> Iterator[None]:
    """Operators of the CPU that keep what a GPU's would."""
    norm, attention = F.layer_norm, F.scaled_dot_product_attention

    def float_norm(x: Tensor, *arguments: Any, **options: Any) -> Tensor:
        return norm(x.float() if torch.is_autocast_enabled("cpu") else x, *arguments, **options)

    def flash(q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None, **_: Any) -> Tensor:
        return attention(q, k, v, attn_mask=attn_mask)

    with (
        mock.patch("torch.nn.functional.layer_norm", float_norm),
        mock.patch("torch.nn.functional.scaled_dot_product_attention", flash),
    ):
        yield


def table(recipes: Sequence[Path], gpus: Sequence[int]) -> Iterator[str]:
    """Lines of a Markdown table: GiB a GPU."""
    yield "| recipe | strategy | audio of a forward pass | GPUs | weights, gradients, moments | the rest | together |"
    yield "|---|---|---:|---:|---:|---:|---:|"
    for path in recipes:
        config = load_recipe(path, PretrainConfig)
        seconds = config.batch.max_seconds
        rows = max(1, int(config.batch.micro_seconds / seconds))
        sharded = config.parallel.strategy == "fsdp"
        strategy = config.parallel.strategy + (", recompute" if config.parallel.recompute else "")
        for count in gpus if sharded else (1,):
            one = tracked(config, seconds, rows, count)
            shown = " | ".join(f"{value / GIB:.1f}" for value in (one.state, one.activations, one.total))
            yield f"| {path.stem} | {strategy} | {rows} x {seconds:g} s | {count if sharded else 'any'} | {shown} |"


def measure(name: str, rows: int, seconds: float) -> dict[str, float]:
    """Bytes of a step of a model in float32 on this CPU, in the padded layout: tracked, and measured in two ways.

    "allocated" is what torch's allocator held at the peak, by its profiler. "resident" is what the process grew by,
    with the libraries' own buffers and the gaps of the heap.
    """
    still = Regularization(dropout=0.0, attention_dropout=0.0, input_dropout=0.0, feature_dropout=0.0, layerdrop=0.0)
    config = PretrainConfig(regularization=still)
    config = replace(config, model=replace(config.model, architecture=name), parallel=ParallelConfig("none"))
    expected = tracked(config, seconds, rows, 1, like_gpu=False).total
    audio = made_up_audio(rows, seconds, ragged=False, seed=0)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        w = Workload("pretrain", ARCHITECTURES[name], still, threads=torch.get_num_threads())
        worker = Worker(OURS, w, None, keep=False)
        steps = worker.steps
        assert isinstance(steps, OurSteps)
        steps.model.encoder.packed = False
        worker.turn(audio, 0, 2, 0)
    resident = float(worker.peak())
    with tempfile.TemporaryDirectory() as folder:
        profiled.export_chrome_trace(f"{folder}/trace.json")
        events = json.loads(Path(f"{folder}/trace.json").read_text())["traceEvents"]
    allocated = max(event["args"]["Total Allocated"] for event in events if event.get("name") == "[memory]")
    return {"tracked": expected, "allocated": float(allocated), "resident": resident}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", type=Path, default=[RECIPES / f"pretrain_{name}.toml" for name in NAMES])
    parser.add_argument("--gpus", nargs="+", type=int, default=[8, 64], help="with fsdp: numbers of GPUs")
    parser.add_argument("--measure", action="store_true", help="compare the tracker with a measured small model")
    parser.add_argument("--model", default="base", choices=sorted(ARCHITECTURES), help="with --measure: the model")
    parser.add_argument("--seconds", type=float, default=10.0, help="with --measure: length of its two utterances")
    o = parser.parse_args()
    if o.measure:
        found = measure(o.model, 2, o.seconds)
        print(json.dumps({f"{name}, MiB": round(value / 2**20) for name, value in found.items()}))
        return 0
    for line in table(o.recipes, o.gpus):
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
