"""The sections of a recipe that pre-training, fine-tuning and language models share, and what no recipe may ask for.

Lengths of audio are in seconds.
"""

import math
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from wav2vec2.config import option, options
from wav2vec2.errors import UserError
from wav2vec2.model.architecture import ARCHITECTURES, Architecture
from wav2vec2.model.variants.variant import Variant


@dataclass(frozen=True)
class ModelConfig:
    """An architecture by name, and what of it is changed (unset: as named)."""

    architecture: str = "base"
    """base, large, large_lv60k, 300m, 1b, 2b, tiny, small or medium."""
    conv_channels: tuple[int, ...] | None = None
    conv_kernels: tuple[int, ...] | None = None
    conv_strides: tuple[int, ...] | None = None
    conv_bias: bool | None = None
    conv_norm: Literal["group", "layer"] | None = None
    normalize_input: bool | None = None
    hidden_size: int | None = None
    layers: int | None = None
    ffn_size: int | None = None
    heads: int | None = None
    layer_norm_first: bool | None = None
    pos_conv_kernel: int | None = None
    pos_conv_groups: int | None = None
    codebook_groups: int | None = None
    codebook_entries: int | None = None
    codevector_size: int | None = None
    final_size: int | None = None
    negatives: int | None = None
    logit_temperature: float | None = None

    def build(self, variant: Variant | None = None) -> Architecture:
        """Return the architecture; UserError for an unknown name, or sizes or variants that contradict each other."""
        if self.architecture not in ARCHITECTURES:
            known = ", ".join(ARCHITECTURES)
            raise UserError(f"model.architecture: no architecture '{self.architecture}'; choose one of {known}")
        names = [field.name for field in fields(self) if field.name != "architecture"]
        changes: dict[str, Any] = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        if variant is not None:
            changes["variant"] = variant
        try:
            return replace(ARCHITECTURES[self.architecture], **changes)
        except ValueError as error:
            raise UserError(f"model: {error}; change these keys of the recipe") from None


@dataclass(frozen=True)
class BatchConfig:
    """How much audio an update sees, over all processes together, and how it is split."""

    seconds: float = option(5760.0, above=0.0)
    """Audio of one update, over all processes: the batch size that the recipe means."""
    micro_seconds: float = option(87.5, above=0.0, may_change=True)
    """Most padded audio of one forward pass of one process; smaller needs less memory and gives the same gradient."""
    min_seconds: float = option(0.1, low=0.0)
    """Shorter utterances are left out, and counted."""
    max_seconds: float = option(30.0, above=0.0)
    """Longer ones are cropped at random (pre-training) or left out and counted (fine-tuning)."""
    length_jitter: float = option(0.1, low=0.0)
    """Width of the random factor on lengths before they are sorted into batches: these mix anew each epoch."""
    workers: int = option(1, low=0, machine=True)
    """Processes that read audio; 0 reads in the main process."""
    prefetch: int = option(4, low=1, machine=True)
    """Micro-batches that each of them reads ahead."""
    in_memory: bool = option(False, machine=True)
    """Keep what was decoded as 16-bit samples in memory that they share (115 MB an hour), for devices that outrun the
    decoder."""


@dataclass(frozen=True)
class TrainConfig:
    """Updates, learning rate, optimiser (AdamW), precision."""

    updates: int = option(400_000, low=1)
    lr: float = option(5e-4, above=0.0)
    scale_lr: bool = False
    """Multiply lr by sqrt(batch.seconds / 5760), for a batch other than the paper's; announced when it acts."""
    schedule: Literal["linear", "tri-stage"] = "linear"
    """linear: warm-up, then linearly to 0. tri-stage: warm-up, hold, decay."""
    warmup_share: float = option(0.08, low=0.0, high=1.0)
    hold_share: float = option(0.4, low=0.0, high=1.0)
    """tri-stage only."""
    decay: Literal["exponential", "linear"] = "exponential"
    """Last stage of tri-stage: exponential as in the released recipes, or linear as the paper has it."""
    initial_scale: float = option(0.01, low=0.0, high=1.0)
    """tri-stage: the warm-up starts from this share of lr."""
    final_scale: float = option(0.05, low=0.0, high=1.0)
    """tri-stage: the decay ends at this share of lr."""
    beta1: float = option(0.9, low=0.0, below=1.0)
    beta2: float = option(0.98, low=0.0, below=1.0)
    eps: float = option(1e-6, above=0.0)
    weight_decay: float = option(0.01, low=0.0)
    decay_all: bool = False
    """Weight decay on all parameters, as the paper's code does; else not on biases, norms, mask embedding, codebooks.
    """
    clip_norm: float = option(0.0, low=0.0)
    """Clip the gradient's norm to this; 0 does not clip."""
    max_skips: int = option(20, low=1, may_change=True)
    """Updates in a row with a gradient that is not finite (they are skipped) before the run stops."""
    precision: Literal["fp32", "bf16", "fp64"] = "fp32"
    """bf16 is autocast; fp64 is for exactness checks."""
    device: str = option("auto", machine=True)
    """auto (CUDA where there is one), cpu or cuda."""
    threads: int = option(0, low=0, machine=True)
    """Threads of the main process on a CPU; 0 leaves PyTorch's choice."""
    max_minutes: float = option(0.0, low=0.0, machine=True)
    """Save and leave after this time; the same command goes on. 0: no limit."""


@dataclass(frozen=True)
class LogConfig:
    """How often things are written, counted in updates."""

    every: int = option(25, low=1, machine=True)
    """One line of numbers (log.jsonl, TensorBoard, console), averaged over the updates since the last."""
    validate_every: int = option(500, low=0, may_change=True)
    save_every: int = option(500, low=0, machine=True)
    keep_last: int = option(2, low=1, machine=True)
    """Checkpoints kept for resuming."""
    tensorboard: bool = option(True, machine=True)


@dataclass(frozen=True)
class HealthConfig:
    """The monitor that names a sick run and stops it; its state stays on disk."""

    enabled: bool = option(True, may_change=True)
    patience: int = option(4, low=1, may_change=True)
    """Log lines in a row that must look collapsed."""
    grace_share: float = option(0.02, low=0.0, high=1.0, may_change=True)
    """Share of the updates at the start during which collapse is not judged (codes are few before the first steps)."""
    chance_share: float = option(0.15, low=0.0, high=1.0, may_change=True)
    """After this share of the updates the loss must have left chance."""
    chance_margin: float = option(0.02, low=0.0, may_change=True)
    """Nats around chance that count as chance."""
    collapse_perplexity: float = option(2.5, low=0.0, may_change=True)
    """A codebook has collapsed when the perplexity of its codes is at most this (2: two entries are left), or at most a
    quarter of its entries where that is less."""


def refuse_impossible(config: Any) -> None:
    """Check a whole training configuration before anything is read.

    Raises:
        UserError: a number is not finite or outside the range of its option, or two options contradict each other; the
            message names them.
    """
    for key, value, rules in options(config):
        if isinstance(value, int | float) and not isinstance(value, bool):
            allowed = rules.range
            if not math.isfinite(value) or (allowed is not None and value not in allowed):
                raise UserError(f"{key} is {value:g}: it must be {allowed or 'a finite number'}")
    for section in ("masking", "variant"):
        if hasattr(config, section):
            try:
                getattr(config, section).check()
            except ValueError as error:
                raise UserError(f"{section}: {error}; change these keys of the recipe") from None
    if config.train.schedule == "tri-stage" and config.train.decay == "exponential" and not config.train.final_scale:
        raise UserError("train.final_scale is 0: an exponential decay never gets there, choose train.decay = linear")
