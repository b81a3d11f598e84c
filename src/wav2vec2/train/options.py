"""The sections of a recipe that pre-training and fine-tuning share. Lengths of audio are in seconds."""

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

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

    seconds: float = 5760.0
    """Audio of one update, over all processes: the batch size that the recipe means."""
    micro_seconds: float = 87.5
    """Most padded audio of one forward pass of one process; smaller needs less memory and gives the same gradient."""
    min_seconds: float = 0.1
    """Shorter utterances are left out, and counted."""
    max_seconds: float = 30.0
    """Longer ones are cropped at random (pre-training) or left out and counted (fine-tuning)."""
    length_jitter: float = 0.1
    """Width of the random factor on lengths before they are sorted into batches: these mix anew each epoch."""
    workers: int = 1
    """Processes that read audio; 0 reads in the main process."""
    prefetch: int = 4
    """Micro-batches that each of them reads ahead."""
    in_memory: bool = False
    """Keep what was decoded as 16-bit samples in memory that they share (115 MB an hour), for devices that outrun the
    decoder."""


@dataclass(frozen=True)
class TrainConfig:
    """Updates, learning rate, optimiser (AdamW), precision."""

    updates: int = 400_000
    lr: float = 5e-4
    scale_lr: bool = False
    """Multiply lr by sqrt(batch.seconds / 5760), for a batch other than the paper's; announced when it acts."""
    schedule: Literal["linear", "tri-stage"] = "linear"
    """linear: warm-up, then linearly to 0. tri-stage: warm-up, hold, decay."""
    warmup_share: float = 0.08
    hold_share: float = 0.4
    """tri-stage only."""
    decay: Literal["exponential", "linear"] = "exponential"
    """Last stage of tri-stage."""
    initial_scale: float = 0.01
    """tri-stage: the warm-up starts from this share of lr."""
    final_scale: float = 0.05
    """tri-stage: the decay ends at this share of lr."""
    beta1: float = 0.9
    beta2: float = 0.98
    eps: float = 1e-6
    weight_decay: float = 0.01
    decay_all: bool = False
    """Weight decay on all parameters, as the paper's code does; else not on biases, norms, mask embedding, codebooks.
    """
    clip_norm: float = 0.0
    """Clip the gradient's norm to this; 0 does not clip."""
    max_skips: int = 20
    """Updates in a row with a gradient that is not finite (they are skipped) before the run stops."""
    precision: Literal["fp32", "bf16", "fp64"] = "fp32"
    """bf16 is autocast; fp64 is for exactness checks."""
    device: str = "auto"
    """auto (CUDA where there is one), cpu or cuda."""
    threads: int = 0
    """Threads of the main process on a CPU; 0 leaves PyTorch's choice."""
    max_minutes: float = 0.0
    """Save and leave after this time; the same command goes on. 0: no limit."""


@dataclass(frozen=True)
class LogConfig:
    """How often things are written, counted in updates."""

    every: int = 25
    """One line of numbers (log.jsonl, TensorBoard, console), averaged over the updates since the last."""
    validate_every: int = 500
    save_every: int = 500
    keep_last: int = 2
    """Checkpoints kept for resuming."""
    tensorboard: bool = True


@dataclass(frozen=True)
class HealthConfig:
    """The monitor that names a sick run and stops it; its state stays on disk."""

    enabled: bool = True
    patience: int = 4
    """Log lines in a row that must look collapsed."""
    grace_share: float = 0.02
    """Share of the updates at the start during which collapse is not judged (codes are few before the first steps)."""
    chance_share: float = 0.15
    """After this share of the updates the loss must have left chance."""
    chance_margin: float = 0.02
    """Nats around chance that count as chance."""
