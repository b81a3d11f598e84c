"""Sections of a recipe that pre-training, fine-tuning and language models share, and the check of a whole recipe.

Lengths of audio are in seconds.
"""

import math
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from wav2vec2.config import option, options
from wav2vec2.data.mixing import MixBy
from wav2vec2.errors import UserError
from wav2vec2.model.architecture import ARCHITECTURES, Architecture
from wav2vec2.model.variants.variant import Variant


@dataclass(frozen=True)
class SpeechData:
    """Which utterances of which manifest are learned from, and how often."""

    manifest: str = option("", may_change=True)
    """Manifest: a file, or the folder that 'wav2vec2 prepare' wrote, or a URL such as s3://bucket/folder. Several are
    joined by "+"."""
    split: str = ""
    """Use only this split, or several ("train+dev"); empty: all."""
    mix: MixBy = "none"
    """Balance languages or corpora (the column source): small ones are repeated, large ones wait. source+language:
    languages within each corpus, then the corpora. none: every utterance once an epoch."""
    mix_beta: float = option(0.5, low=0.0, high=1.0)
    """With mix: each gets a share of an epoch in proportion to its hours to this power. 1: as they are; 0: all the
    same. XLS-R and MMS used 0.5."""


@dataclass(frozen=True)
class ModelConfig:
    """A named architecture, and changes to it. What is unset stays as in the named one."""

    architecture: str = "base"
    """base, large, large_lv60k, 300m, 1b, 2b, 3b, 7b, tiny, small or medium."""
    conv_channels: tuple[int, ...] | None = None
    """Channels of each convolution of the feature encoder."""
    conv_kernels: tuple[int, ...] | None = None
    """Kernel sizes of these convolutions."""
    conv_strides: tuple[int, ...] | None = None
    """Strides of these convolutions."""
    conv_bias: bool | None = None
    """Whether these convolutions have a bias."""
    conv_norm: Literal["group", "layer"] | None = None
    """Group norm after the first convolution, or layer norm after each."""
    normalize_input: bool | None = None
    """Give each utterance mean 0 and variance 1 before the model."""
    hidden_size: int | None = None
    """Width of the Transformer."""
    layers: int | None = None
    """Transformer blocks."""
    ffn_size: int | None = None
    """Width of the feed-forward layers."""
    heads: int | None = None
    """Attention heads."""
    layer_norm_first: bool | None = None
    """Layer norm before attention and feed-forward layers instead of after them."""
    pos_conv_kernel: int | None = None
    """Kernel size of the positional convolution."""
    pos_conv_groups: int | None = None
    """Groups of the positional convolution."""
    codebook_groups: int | None = None
    """Number of codebooks (G)."""
    codebook_entries: int | None = None
    """Entries of each codebook (V)."""
    codevector_size: int | None = None
    """Size of the concatenated codebook entries."""
    final_size: int | None = None
    """Size of the projected context vectors and targets."""
    negatives: int | None = None
    """Distractors of each masked frame (K)."""
    logit_temperature: float | None = None
    """Temperature of the contrastive loss (kappa)."""

    def build(self, variant: Variant | None = None) -> Architecture:
        """Return the architecture, with ``variant`` where one is given.

        Raises:
            UserError: the name is unknown, or sizes and variant contradict each other.
        """
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
    """How much audio an update uses, and how it is divided into forward passes."""

    seconds: float = option(5760.0, above=0.0)
    """Batch size: audio of one update, over all processes together."""
    micro_seconds: float = option(87.5, above=0.0, may_change=True)
    """Most audio, with padding, of a forward pass of one process. Less needs less memory and gives the same gradient.
    A process may hold up to one utterance more where those of all processes cannot be divided evenly."""
    min_seconds: float = option(0.1, low=0.0)
    """Shorter utterances are left out and counted."""
    max_seconds: float = option(30.0, above=0.0)
    """Longer utterances are cropped at random (pre-training), or left out and counted (fine-tuning)."""
    length_jitter: float = option(0.1, low=0.0)
    """Width of the random factor on each length before sorting by length, so that batches differ between epochs."""
    buckets: int = option(0, low=0, high=32)
    """Use rows of at most so many lengths, and as many rows of each, for compiled code and GPUs. Pre-training crops
    utterances to the length below (at random), fine-tuning pads to the length above. 0: rows keep their lengths."""
    multiple: int = option(8, low=1)
    """With buckets: the rows of an update are a multiple of this. Best is a multiple of the number of processes."""
    workers: int = option(-1, low=-1, machine=True)
    """Processes that read audio for each training process; -1: enough to stay ahead, counted from how fast a few
    recordings are read at the start; 0 reads in the training process itself."""
    prefetch: int = option(4, low=1, machine=True)
    """Micro-batches that each of these processes reads ahead."""
    in_memory: bool = option(False, machine=True)
    """Keep decoded audio in the memory of the machine (/dev/shm), once for all its processes, as 16-bit samples (115 MB
    an hour). Helps if decoding limits the speed."""
    by_node: bool = option(False, machine=True)
    """Give a file to the same node in every epoch, as far as possible. For several nodes and a network drive that they
    cache. Batches stay the same."""


@dataclass(frozen=True)
class TrainConfig:
    """Number of updates, learning rate, optimiser (AdamW), precision."""

    updates: int = option(400_000, low=1)
    """Length of the run."""
    lr: float = option(5e-4, above=0.0)
    """Peak learning rate."""
    scale_lr: bool = False
    """Multiply lr by sqrt(batch.seconds / 5760), to adapt it to a batch of another size than the paper's."""
    schedule: Literal["linear", "tri-stage"] = "linear"
    """linear: warm up, then fall linearly to 0. tri-stage: warm up, hold, decay."""
    warmup_share: float = option(0.08, low=0.0, high=1.0)
    """Share of the updates in which the learning rate warms up."""
    hold_share: float = option(0.4, low=0.0, high=1.0)
    """tri-stage: share of the updates in which the learning rate is held."""
    decay: Literal["exponential", "linear"] = "exponential"
    """tri-stage: shape of the decay, exponential as in the released recipes or linear as in the paper."""
    initial_scale: float = option(0.01, low=0.0, high=1.0)
    """tri-stage: the warm-up starts at this share of lr."""
    final_scale: float = option(0.05, low=0.0, high=1.0)
    """tri-stage: the decay ends at this share of lr."""
    beta1: float = option(0.9, low=0.0, below=1.0)
    """Decay of AdamW's first moment."""
    beta2: float = option(0.98, low=0.0, below=1.0)
    """Decay of AdamW's second moment."""
    eps: float = option(1e-6, above=0.0)
    """Added to the root of AdamW's second moment."""
    weight_decay: float = option(0.01, low=0.0)
    """Decoupled weight decay of AdamW."""
    decay_all: bool = False
    """Decay all parameters, as the released code does; otherwise not biases, norms, mask embedding and codebooks."""
    clip_norm: float = option(0.0, low=0.0)
    """Clip the norm of the gradient to this; 0: no clipping."""
    max_skips: int = option(20, low=1, may_change=True)
    """Stop after skipping this many updates in a row (its gradient is not finite, or no recording could be read)."""
    precision: Literal["fp32", "bf16", "fp16", "fp64"] = "fp32"
    """fp32: every number has 32 bits. bf16: matrix products have 16, which is faster and needs less memory on a GPU (on
    a CPU faster only with AVX512_BF16 or AMX); a GPU without bf16 (T4, V100) says so and computes in fp16. fp16: the
    same for such cards, with a scaled loss. fp64: for exact comparisons."""
    residual: Literal["float32", "bf16"] = "float32"
    """Type of what goes from Transformer block to block, with precision bf16. bf16 moves and keeps half as much; in
    small models of both families it left the loss within 0.1 % (scripts/precision_gate.py).
    """
    device: str = option("auto", machine=True)
    """auto (CUDA if available), cpu or cuda."""
    threads: int = option(0, low=0, machine=True)
    """Threads of the main process on a CPU; 0: PyTorch's choice."""
    compile: bool = option(False, machine=True)
    """Compile the Transformer blocks by torch.compile, for GPUs. Needs few shapes (batch.buckets)."""
    triton: bool = option(True, machine=True)
    """On a GPU where Triton is installed, compute the first convolution, its group norm and GELU by one kernel."""
    max_minutes: float = option(0.0, low=0.0, machine=True)
    """Save and stop after this time; the same command continues. 0: no limit."""


@dataclass(frozen=True)
class ParallelConfig:
    """How several processes (started by torchrun) train one model, and memory against time."""

    strategy: Literal["ddp", "fsdp", "none"] = option("ddp", machine=True)
    """ddp: every process holds the whole model. fsdp: each holds a part of weights, gradients and moments, for models
    that do not fit into one device. none: refuse several processes. One process trains alone with any of them.
    """
    recompute: bool = option(False, machine=True)
    """Save memory for a third more time: keep only the input of each Transformer block, and compute the block again
    when its gradient is needed. The result is the same."""
    timeout_minutes: float = option(30.0, above=0.0, machine=True)
    """How long a process waits for the others before it leaves, so that the launcher can start all of them again. It
    must be longer than the slowest save or validation.
    """


@dataclass(frozen=True)
class LogConfig:
    """How often the run logs, validates and saves, in updates."""

    every: int = option(25, low=1, machine=True)
    """Write a line of numbers (log.jsonl, TensorBoard, console), averaged over the updates since the last one."""
    validate_every: int = option(500, low=0, may_change=True)
    """Validate after so many updates, and at the end; 0: never."""
    save_every: int = option(500, low=0, machine=True)
    """Write a checkpoint after so many updates, and at the end; 0: only at the end, or when the run is stopped."""
    keep_last: int = option(2, low=1, machine=True)
    """Number of checkpoints to keep for resuming."""
    tensorboard: bool = option(True, machine=True)
    """Write TensorBoard files as well."""


@dataclass(frozen=True)
class HealthConfig:
    """Checks that stop a run which has collapsed or learns nothing. Its checkpoints are kept."""

    enabled: bool = option(True, may_change=True)
    """Check at all."""
    go_back: bool = option(True, may_change=True)
    """Before stopping, go back to the last good checkpoint, once, and go on from there with half the learning rate."""
    patience: int = option(4, low=1, may_change=True)
    """Stop, or go back, after this many suspicious log lines in a row."""
    grace_share: float = option(0.02, low=0.0, high=1.0, may_change=True)
    """Do not check for collapse in this share of the updates, at the start (few codes are in use at first)."""
    chance_share: float = option(0.15, low=0.0, high=1.0, may_change=True)
    """After this share of the updates the loss must be below chance."""
    chance_margin: float = option(0.02, low=0.0, may_change=True)
    """A loss within this many nats of chance counts as chance."""
    collapse_perplexity: float = option(2.5, low=0.0, may_change=True)
    """A codebook whose code perplexity is at most this has collapsed (below ten entries: a quarter, at least 1.5)."""


def refuse_impossible(config: Any) -> None:
    """Check a recipe before any data is read.

    Raises:
        UserError: a number is not finite or outside the range of its option, or options contradict each other. The
            message names the option.
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
    if config.train.compile and not getattr(config.batch, "buckets", 0):
        raise UserError("train.compile needs batches of few shapes: set batch.buckets (8), or leave train.compile out")
    if config.train.residual == "bf16" and config.train.precision != "bf16":
        raise UserError("train.residual = bf16 needs train.precision = bf16")
    if config.train.schedule == "tri-stage" and config.train.decay == "exponential" and not config.train.final_scale:
        raise UserError("train.final_scale is 0: an exponential decay never reaches 0; choose train.decay = linear")
