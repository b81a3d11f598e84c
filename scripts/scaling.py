"""The tables of docs/scaling.md: what a second of audio costs from BASE to 7B, and what bounds 8, 64 and 512 GPUs.

    python scripts/scaling.py            print them
    python scripts/scaling.py --write    put them into docs/scaling.md, between its markers

Operations are those of ``wav2vec2 benchmark`` (``model/flops.py``), batches and crops those of the recipes. The
hardware and the shares of its ceiling that are assumed stand below; a share is a goal until somebody has measured it.
"""

import argparse
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch

from wav2vec2.config import load_recipe
from wav2vec2.model.architecture import Architecture
from wav2vec2.model.flops import flops_per_second
from wav2vec2.model.variants.pretraining import pretraining_model
from wav2vec2.train.pretrain.command import PretrainConfig

REPOSITORY = Path(__file__).resolve().parents[1]
PAGE = REPOSITORY / "docs" / "scaling.md"
EPOCH_HOURS = 53_000.0
CLUSTERS = (8, 64, 512)
NODE = 8

FLAC = 17_600.0
"""Bytes for a second of read speech: 150 utterances of LibriSpeech's test-clean, 1,957 s (measured)."""
DECODED_A_CORE = 2_320.0
"""Seconds of such FLAC that one core of an AMD EPYC decodes in a second (measured, ``read_audio``)."""
PRICE, WATTS = 2.5, 700.0
"""US dollars for an hour of an H100, an assumption; its power at most (data sheet)."""


@dataclass(frozen=True)
class Gpu:
    """A GPU: operations a second, and bytes a second of its memory, of collectives in a node, and of larger ones."""

    name: str
    ceiling: float
    memory: float
    node: float
    network: float


# 798 TFLOP/s: plain bfloat16 products as measured on an H100 SXM, of 989 in the data sheet. The rest is data sheets':
# HBM3 3.35 TB/s, NVLink 450 GB/s a direction, and between nodes eight InfiniBand ports of 400 Gbit/s, which the rings
# of a collective share: 400 GB/s.
H100 = Gpu("H100 SXM", 798e12, 3.35e12, 450e9, 400e9)


@dataclass(frozen=True)
class Model:
    """A recipe, and what it costs. ``share`` of the ceiling is assumed: the goals of scripts/gpu_check.py."""

    name: str
    recipe: str
    share: float

    @cached_property
    def config(self) -> PretrainConfig:
        return load_recipe(REPOSITORY / "recipes" / f"{self.recipe}.toml", PretrainConfig)

    @cached_property
    def parameters(self) -> int:
        """Each block has as many as any other: two small models tell."""
        a = self.config.model.build()
        one, two = (self._counted(replace(a, layers=layers)) for layers in (1, 2))
        return one + (a.layers - 1) * (two - one)

    def _counted(self, a: Architecture) -> int:
        with torch.device("meta"):
            model = pretraining_model(a, self.config.regularization, self.config.masking)
        return sum(p.numel() for p in model.parameters())

    @property
    def operations(self) -> float:
        """Of a step, for a second of audio, without recomputing."""
        return flops_per_second(self.config.model.build(), seconds=self.config.batch.max_seconds)

    @property
    def sharded(self) -> bool:
        return self.config.parallel.strategy == "fsdp"

    def speed(self, gpu: Gpu) -> float:
        """Seconds of audio a second of one GPU that nothing holds up; recomputed blocks cost a third more."""
        done_twice = 4 / 3 if self.config.parallel.recompute else 1.0
        return self.share * gpu.ceiling / (self.operations * done_twice)


MODELS = (
    Model("BASE", "pretrain_base", 0.4),
    Model("LARGE", "pretrain_large_lv60k", 0.5),
    Model("1B", "pretrain_1b", 0.5),
    Model("2B", "pretrain_2b", 0.5),
    Model("7B", "pretrain_7b", 0.5),
)


@dataclass(frozen=True)
class Update:
    """Seconds of the parts of one update on ``gpus`` GPUs."""

    compute: float
    exchange: float
    """Gradients and, with fsdp, weights; most of it overlaps with computing."""
    optimiser: float
    passes: float
    """Forward passes of a process."""

    @property
    def bound(self) -> str:
        """What an update waits for."""
        if self.passes < 1:
            return "the batch: fewer crops than it would fill"
        if self.exchange > self.compute:
            return "the network"
        return "computing"


def update(m: Model, gpu: Gpu, gpus: int) -> Update:
    """The parts of an update: ring collectives move (n - 1) / n of a tensor each way, twice for a sum."""
    batch, n = m.config.batch, m.parameters
    compute = batch.seconds / gpus / m.speed(gpu)
    passes = batch.seconds / gpus / batch.micro_seconds
    across = (gpus - 1) / gpus
    if m.sharded:  # bfloat16 weights before the forward and the backward pass, float32 gradients once an update
        moved = across * n * (2 * 2 * max(1.0, passes) + 4)
        touched = 28 * n / gpus
    else:
        moved, touched = across * n * 4 * 2, 28.0 * n
    # AdamW reads weight, gradient and two moments, and writes three of them: 28 bytes a parameter
    return Update(compute, moved / (gpu.node if gpus <= NODE else gpu.network), touched / gpu.memory, passes)


def costs() -> list[str]:
    """What a second of audio costs."""
    lines = [
        "| | parameters | crop | GFLOP a step | audio-s/s of an H100 | share assumed | FLAC read | cores that decode |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for m in MODELS:
        speed = m.speed(H100)
        recomputed = ", recomputing" if m.config.parallel.recompute else ""
        lines.append(
            f"| {m.name} | {m.parameters / 1e6:,.0f} M | {m.config.batch.max_seconds:g} s | {m.operations / 1e9:,.1f} "
            f"| {speed:,.0f} | {100 * m.share:.0f} %{recomputed} | {_bytes(speed * FLAC)}/s "
            f"| {speed / DECODED_A_CORE:.1f} |"
        )
    return lines


def bounds() -> list[str]:
    """What bounds each cluster."""
    lines = [
        "| | GPUs | audio an update | passes a GPU | computing | exchange | AdamW | read from storage | bound by |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    for m in MODELS:
        for gpus in CLUSTERS:
            one, seconds = update(m, H100, gpus), m.config.batch.seconds
            # computing and exchange overlap; an update of less than one pass a GPU costs that pass
            took = max(one.compute / min(1.0, one.passes), one.exchange) + one.optimiser
            read = seconds / took * FLAC
            lines.append(
                f"| {m.name} | {gpus} | {seconds:,.0f} s | {one.passes:.2g} | {_time(one.compute)} "
                f"| {_time(one.exchange)} | {_time(one.optimiser)} | {_bytes(read)}/s | {one.bound} |"
            )
    return lines


def epochs() -> list[str]:
    """What an epoch of 53,000 hours costs, and a whole run."""
    lines = [
        f"| | GPU-hours of an epoch of {EPOCH_HOURS:,.0f} h | kWh | US$ | hours heard in the recipe's run "
        "| GPU-hours of the run |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for m in MODELS:
        hours, c = EPOCH_HOURS / m.speed(H100), m.config
        heard = c.train.updates * c.batch.seconds / 3600
        lines.append(
            f"| {m.name} | {hours:,.1f} | {hours * WATTS / 1000:,.0f} | {hours * PRICE:,.0f} | {heard:,.0f} "
            f"| {heard / m.speed(H100):,.0f} |"
        )
    return lines


def paper() -> list[str]:
    """What the paper's own GPUs reached: section 4.2 states GPUs and days, the recipes the rest."""
    v100 = 125e12
    lines = ["| | paper | operations a second of one V100 | share of 125 TFLOP/s |", "|---|---|---:|---:|"]
    for name, recipe, gpus, days in (
        ("BASE", "pretrain_base", 64, 1.6),
        ("LARGE, LS-960", "pretrain_large", 128, 2.3),
        ("LARGE, LV-60k", "pretrain_large_lv60k", 128, 5.2),
    ):
        c = Model(name, recipe, 0.0).config
        total = c.train.updates * c.batch.seconds * Model(name, recipe, 0.0).operations
        reached = total / (gpus * days * 86_400)
        lines.append(
            f"| {name} | {gpus} V100, {days} days | {reached / 1e12:.1f} TFLOP/s | {100 * reached / v100:.0f} % |"
        )
    return lines


TABLES: dict[str, Callable[[], list[str]]] = {"costs": costs, "bounds": bounds, "epochs": epochs, "paper": paper}


def _time(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds >= 0.1 else f"{1000 * seconds:.2g} ms"


def _bytes(value: float) -> str:
    return f"{value / 1e9:.2g} GB" if value >= 1e9 else f"{value / 1e6:.0f} MB"


def filled(page: str) -> str:
    """The page with its tables made anew."""
    for name, table in TABLES.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.S)
        if not pattern.search(page):
            raise ValueError(f"{PAGE}: no place for the table '{name}'")
        page = pattern.sub(lambda found, t=table: f"{found[1]}{chr(10).join(t())}\n{found[2]}", page)
    return page


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the tables into docs/scaling.md")
    if parser.parse_args().write:
        PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        print("\n\n".join("\n".join(table()) for table in TABLES.values()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
