"""``wav2vec2 benchmark``: measure a model on this machine, alone and beside transformers."""

import importlib.util
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from tyro.conf import Positional, arg

from wav2vec2.config import option
from wav2vec2.device import usable_device
from wav2vec2.errors import UserError
from wav2vec2.model.architecture import Architecture
from wav2vec2.model.flops import PARTS, batch_flops
from wav2vec2.model.variants.variant import PROPOSED
from wav2vec2.output_file import writing
from wav2vec2.train.benchmark import table
from wav2vec2.train.benchmark.choice import Chosen, choose
from wav2vec2.train.benchmark.ours import build
from wav2vec2.train.benchmark.reading import Source, read_batches
from wav2vec2.train.benchmark.result import Result, Sides
from wav2vec2.train.benchmark.turns import OURS, THEIRS, Opponent, alternate, opponents, say
from wav2vec2.train.benchmark.workload import Waveforms, Workload, audio_seconds, made_up_audio, vocabulary

_LARGEST_BESIDE_PEER = 1e9
_DIFFERENT = 1e-4
_GPU_STEPS = 10


@dataclass(frozen=True)
class BenchmarkOptions:
    """Measure how fast a model trains or recognises on this machine, and what keeps it from being faster.

    Shown are seconds of audio a second, the share of what plain matrix products reach on the same machine, memory, and
    the time of each part of the model. If transformers is installed, it does the same work in the same run, in turns.
    """

    model: Annotated[str, Positional, arg(metavar="MODEL")] = "base"
    """An architecture (base, large, large_lv60k, 300m, 1b, 2b, 3b, 7b, tiny, small, medium), a recipe of pre-training
    or fine-tuning (a .toml file), or a model directory. The weights are random."""
    task: Literal["auto", "pretrain", "finetune", "inference"] = "auto"
    """One step of pre-training or fine-tuning (forward, backward, AdamW), or audio to logits. auto: what the recipe or
    the model is for."""
    batch: int = option(0, low=0)
    """Utterances of a forward pass. 0: as many as the recipe's batch.micro_seconds holds, on a CPU at most 4."""
    seconds: float = option(15.625, above=0.0)
    """Length of the utterances; with --ragged and --manifest, of the longest."""
    ragged: bool = False
    """Utterances of 2 s up to --seconds, instead of all alike: padding costs time."""
    manifest: str = ""
    """Measure on the speech of a manifest, and how long the steps wait for it. Without one, the audio is noise."""
    split: str = ""
    """Use only this split of the manifest."""
    workers: int = option(1, low=0)
    """Processes that read the manifest's audio."""
    device: str = "auto"
    """auto (CUDA if available), cpu or cuda."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto: the recipe's; for an architecture, bf16 on a GPU and fp32 on a CPU."""
    threads: int = option(0, low=0)
    """Threads on a CPU; 0: PyTorch's choice."""
    rounds: int = option(3, low=1)
    """Measured batches. Medians are shown."""
    warmup: int = option(1, low=0)
    """Batches before them that are not measured."""
    peer: Literal["auto", "transformers", "none"] = "auto"
    """Also measure transformers. auto: if it is installed and the model has at most a billion parameters."""
    allocator: Literal["both", "keep", "default"] = "both"
    """On a CPU with glibc: keep freed memory, return it by glibc's default as users have it, or one after the other.
    Without a peer, "both" means default."""
    json: Path | None = None
    """Also write everything that was measured to this file."""


def run(options: BenchmarkOptions) -> None:
    """Measure, and print the table.

    Raises:
        UserError: the model or the manifest cannot be read, memory is not enough, or the two sides do not compute the
            same.
    """
    device = usable_device(options.device, option="--device")
    chosen = choose(options.model, options.task, options.precision, device, options.threads)
    w, size = chosen.workload, _batch(options, chosen)
    source = _source(options, chosen, size) if options.manifest else None
    batches = _batches(options, w.architecture, source, size)
    parameters = _parameters(w)
    peer = _peer(options, parameters, w)
    results = []
    with ExitStack() as stack:
        folder = None
        if peer:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            _save(w, folder)
        for keep in _settings(options, peer, device):
            sides = (OURS, THEIRS) if peer else (OURS,)
            running = stack.enter_context(opponents(sides, w, folder, keep=keep))
            results.append(_measure(options, w, running, batches, source))
            for one in running:
                one.end()
    report = table.Report(options.model, parameters, w, table.machine(w), results)
    print(report.text())
    if options.json is not None:
        with writing(options.json) as path:
            Path(path).write_text(report.json(), encoding="utf-8")


def _measure(
    options: BenchmarkOptions, w: Workload, running: list[Opponent], batches: list[Waveforms], source: Source | None
) -> Result:
    """Everything about one setting of the allocator."""
    ours = running[0]
    if w.task == "inference" and len(running) > 1:
        _check_equal(running, batches[0][:1], half=w.half)
    say("plain matrix products")
    ceiling = ours.ask("ceiling")
    repeat = _GPU_STEPS if ours.on_gpu else 1
    turns = alternate(running, batches, warmup=options.warmup, repeat=repeat)
    peaks: dict[str, int] = {one.side: one.ask("peak") for one in running}
    say("the parts of a step")
    shares = [ours.ask("parts", rows, number) for number, rows in enumerate(batches)]
    operations = None
    if w.architecture.variant == PROPOSED:
        masked = [ours.ask("masked", rows, number * repeat) for number, rows in enumerate(batches)]
        operations = _operations(w, batches, masked)
    heard = ours.ask("listen", source, options.rounds * repeat) if source is not None else None
    return Result(
        keeps_freed_memory=ours.keeps_freed_memory,
        audio=[audio_seconds(rows) for rows in batches],
        shapes=[[len(row) for row in rows] for rows in batches],
        repeat=repeat,
        sides=Sides({side: [(t.seconds, t.cpu_seconds) for t in taken] for side, taken in turns.items()}, peaks),
        ceiling=ceiling,
        parts={name: float(np.median([one.get(name, 0.0) for one in shares])) for name in shares[0]},
        operations=operations,
        heard=heard,
    )


def _operations(
    w: Workload, batches: list[Waveforms], masked: list[list[int] | None]
) -> list[dict[str, tuple[float, float]]]:
    """Operations of each batch by part, forward and backward."""
    found = []
    for rows, counts in zip(batches, masked, strict=True):
        parts = batch_flops(
            w.architecture,
            [len(row) for row in rows],
            w.task,
            masked=counts,
            symbols=len(vocabulary()),
            frozen=w.frozen,
            layerdrop=w.regularization.layerdrop if w.task != "inference" else 0.0,
        )
        found.append({name: (parts[name].forward, parts[name].backward) for name in PARTS})
    return found


def _check_equal(running: list[Opponent], rows: Waveforms, *, half: bool) -> None:
    """Raises UserError if the sides' logits of one utterance differ by more than rounding."""
    ours, theirs = (one.ask("logits", rows) for one in running)
    difference = float(np.abs(ours - theirs).max() / max(1.0, np.abs(theirs).max()))
    if difference > _DIFFERENT and not half:
        raise UserError(f"the two sides differ by {difference:.2g} in their logits; their times cannot be compared")


def _parameters(w: Workload) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in build(w).parameters())


def _save(w: Workload, folder: Path) -> None:
    from wav2vec2.checkpoints.huggingface.directory import save

    save(build(w), folder)  # type: ignore[arg-type]


def _peer(options: BenchmarkOptions, parameters: int, w: Workload) -> bool:
    """Whether transformers is measured, too. Raises UserError if it is asked for and cannot be."""
    installed = importlib.util.find_spec("transformers") is not None
    if options.peer == "transformers":
        if not installed:
            raise UserError("--peer transformers: it is not installed; run pip install transformers")
        if w.architecture.variant != PROPOSED:
            raise UserError("--peer transformers: it has no variants of the model; give --peer none")
    small = parameters <= _LARGEST_BESIDE_PEER and w.architecture.variant == PROPOSED
    return options.peer == "transformers" or (options.peer == "auto" and installed and small)


def _settings(options: BenchmarkOptions, peer: bool, device: torch.device) -> list[bool]:
    """Whether freed memory is kept, for each run."""
    if device.type != "cpu" or options.allocator == "keep":
        return [True]
    return [True, False] if options.allocator == "both" and peer else [False]


def _batch(options: BenchmarkOptions, chosen: Chosen) -> int:
    if options.batch:
        return options.batch
    fitting = max(1, int(chosen.batch.micro_seconds / options.seconds))
    return min(4, fitting) if chosen.workload.device == "cpu" else fitting


def _source(options: BenchmarkOptions, chosen: Chosen, size: int) -> Source:
    seconds = size * options.seconds
    batch = replace(
        chosen.batch, seconds=seconds, micro_seconds=seconds, max_seconds=options.seconds, workers=options.workers
    )
    return Source(options.manifest, options.split, batch, chosen.workload.architecture.normalization_epsilon)


def _batches(options: BenchmarkOptions, a: Architecture, source: Source | None, size: int) -> list[Waveforms]:
    if source is not None:
        return list(read_batches(source, options.rounds))
    if a.frame_length(round(options.seconds * 16_000)) < 4:
        raise UserError(f"--seconds {options.seconds:g}: too short, a model masks spans of frames; give 1 or more")
    return [
        made_up_audio(size, options.seconds, ragged=options.ragged, seed=number) for number in range(options.rounds)
    ]
