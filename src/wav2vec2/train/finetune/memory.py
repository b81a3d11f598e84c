"""Memory that fine-tuning needs, by formula from the architecture, and the choice of what fits (``memory``).

A weight has 4 bytes, and a trained one 12 more: its gradient and AdamW's two moments. Beside them are the activations:
what the backward pass needs of every frame, what is there for a moment only, and in half precision the weights in that
type. ``scripts/finetune_memory.py`` compares the formula with torch's own tracker.

Legend: d context channels, f channels of the feed-forward networks, h bytes of a number in a matrix product.
"""

import importlib.util
import re
from dataclasses import dataclass, replace

import torch

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.errors import UserError, quoted
from wav2vec2.model.architecture import Architecture, Regularization
from wav2vec2.train.finetune.config import SCRATCH, FinetuneConfig
from wav2vec2.train.finetune.ways import TuneConfig, Way, with_adapters

_UNITS = {"gb": 1e9, "g": 1e9, "gib": 2.0**30, "mb": 1e6, "m": 1e6, "mib": 2.0**20}
_SIZE = re.compile(rf"\s*([0-9]+(?:\.[0-9]+)?)\s*({'|'.join(_UNITS)})\s*", re.IGNORECASE)
_RUNTIME = 0.6e9
"""The CUDA context and workspaces of its libraries; on a CPU, Python and its libraries."""
_FRAGMENTS = 1.1
"""What activations take of a GPU's memory, with the gaps between them."""
_SHORTER = 0.8
"""Forward passes are tried in steps of this."""


@dataclass(frozen=True)
class Setting:
    """What decides how much memory is needed."""

    way: Way
    recompute: bool
    half: bool
    """Whether matrix products are in half precision."""
    seconds: float
    """Audio of a forward pass."""


def bytes_of(text: str) -> float:
    """The number of bytes that a text such as 8GB means. Raises UserError for another."""
    found = _SIZE.fullmatch(text)
    if found is None or float(found[1]) == 0:
        raise UserError(f"memory is {quoted(text)}: give a number with its unit, such as 8GB or 11.5GB")
    return float(found[1]) * _UNITS[found[2].lower()]


def weights(architecture: Architecture, way: Way, tune: TuneConfig, symbols: int) -> tuple[int, int]:
    """Number of weights of a recogniser, all and those that a way trains."""
    a, d, f = architecture, architecture.hidden_size, architecture.ffn_size
    channels, extractor = 1, 0
    for index, (out, kernel) in enumerate(zip(a.conv_channels, a.conv_kernels, strict=True)):
        normed = a.conv_norm == "layer" or index == 0
        extractor += channels * out * kernel + out * (a.conv_bias + 2 * normed)
        channels = out
    adapter = 2 * d * a.adapter_size + a.adapter_size + 3 * d if a.adapter_size else 0
    block = 4 * d * d + 2 * d * f + 9 * d + f + adapter
    positions = d * d // a.pos_conv_groups * a.pos_conv_kernel + a.pos_conv_kernel + d
    around = 2 * channels + channels * d + d + d + positions + 2 * d
    head = (d + 1) * symbols
    every = extractor + around + a.layers * block + head
    low_rank = a.layers * tune.lora_rank * (4 * 2 * d + 2 * (d + f))
    trained = {
        "everything": every,
        "context": every - extractor,
        "adapters": a.layers * adapter + head,
        "lora": low_rank + head,
    }
    return every + (low_rank if way == "lora" else 0), trained[way]


def activations(
    architecture: Architecture, setting: Setting, regularization: Regularization, rank: int, symbols: int, *, gpu: bool
) -> float:
    """Bytes beside weights, gradients and moments at the peak of a forward and backward pass."""
    a, d, f = architecture, architecture.hidden_size, architecture.ffn_size
    h, everything = 2 if setting.half else 4, setting.way == "everything"
    frames = a.frame_length(round(setting.seconds * SAMPLE_RATE))
    block = frames * _kept_of_a_frame(a, setting, regularization, rank) + _kept_weights(a, setting)
    passing = frames * (2 * f + 2 * d) * h + (4 * d * f if setting.way in ("everything", "context") else 0)
    # without anything trained before the first adapter, the first block keeps nothing
    blocks = (a.layers - (setting.way == "adapters")) * block
    if setting.recompute:
        blocks = a.layers * frames * 4 * d + block
    around = frames * (4 * d * 4 + 2 * 4 * a.feature_size + 4 * 4 * symbols)
    samples, extractor, widest = round(setting.seconds * SAMPLE_RATE), 0.0, 0.0
    for index, (channels, kernel, stride) in enumerate(
        zip(a.conv_channels, a.conv_kernels, a.conv_strides, strict=True)
    ):
        samples = max(0, (samples - kernel) // stride + 1)
        size = float(4 * samples * channels)
        widest = max(widest, (3 if gpu else 2) * size)
        chained = 3 if a.conv_norm == "layer" else 7 if index == 0 else 2
        extractor += (index > 0) * size * h / 4 if gpu else chained * size
    if everything:
        return blocks + around + extractor + max(passing, widest)
    return max(blocks + around + passing, widest)


def _kept_of_a_frame(a: Architecture, setting: Setting, regularization: Regularization, rank: int) -> float:
    """Bytes that the backward pass of one block needs of a frame."""
    d, f, h, r = a.hidden_size, a.ffn_size, 2 if setting.half else 4, regularization
    kept = 2 * 4 * d + 4 * h * d + h * f  # inputs of both norms; q, k, v and what attention gives; input of the GELU
    if setting.way != "adapters":
        kept += 2 * h * d + h * f  # inputs of the matrices, for their own gradients
    if a.adapter_size:
        kept += 4 * d + h * (d if setting.way != "lora" else 0)
    if setting.way == "lora":
        kept += 6 * h * rank
    kept += f if r.activation_dropout else 0  # masks
    return kept + (2 * d if r.dropout else 0)


def _kept_weights(a: Architecture, setting: Setting) -> float:
    """Bytes of one block's matrices in half precision; else of the three that are joined for one product."""
    d, f = a.hidden_size, a.ffn_size
    if setting.half:
        return 2 * (4 * d * d + 2 * d * f)
    return 0 if setting.way == "lora" else 4 * 3 * d * d


def needed(architecture: Architecture, setting: Setting, config: FinetuneConfig, symbols: int, *, gpu: bool) -> float:
    """Bytes at the peak of training, on a GPU or, with all that the process has, on a CPU."""
    tune = config.tune
    if setting.way == "adapters":
        architecture = with_adapters(architecture, tune.adapter_size)
    every, trained = weights(architecture, setting.way, tune, symbols)
    moving = activations(architecture, setting, config.regularization, tune.lora_rank, symbols, gpu=gpu)
    if gpu:
        return 4 * every + 12 * trained + _FRAGMENTS * moving + _RUNTIME
    saved = 8 * trained + 4 * (trained if setting.way in ("adapters", "lora") else every)  # a copy, while it is written
    written = 4 * every * (2 if setting.way == "lora" else 1)
    return 4 * every + 8 * trained + saved + max(4 * trained + moving, written) + _RUNTIME


def fitted(
    config: FinetuneConfig, architecture: Architecture, symbols: int, longest: float, device: torch.device
) -> tuple[FinetuneConfig, list[str]]:
    """The recipe with way, recomputation, precision and length of forward passes such that it fits, and a line.

    Args:
        config: the recipe, with a ``memory``.
        architecture: of the model that it starts from.
        symbols: of the output layer.
        longest: seconds of the longest utterance that is trained on: a forward pass holds it.
        device: that computes.

    Raises:
        UserError: nothing fits.
    """
    limit, gpu = bytes_of(config.memory), device.type == "cuda"
    half = config.train.precision in ("bf16", "fp16") or (gpu and config.train.precision == "fp32")
    least: list[tuple[float, Way]] = []
    for way in _ways(config, architecture):
        for recompute in (False, True) if not config.parallel.recompute else (True,):
            seconds = max(longest, min(config.batch.micro_seconds, config.batch.seconds))
            while True:
                setting = Setting(way, recompute, half, seconds)
                need = needed(architecture, setting, config, symbols, gpu=gpu)
                if need <= limit:
                    return _with(config, setting), [_line(config, setting, need, least, gpu=gpu)]
                if seconds <= longest:
                    break
                seconds = max(longest, seconds * _SHORTER)
        least.append((need, way))
    need, way = min(least)
    raise UserError(
        f"memory: {config.memory} is too little to fine-tune {architecture.name}: tune.what = {way}, with recomputed "
        f"blocks and one utterance of {longest:.1f} s at a time, needs about {need / 1e9:.1f} GB; give more, a smaller "
        "model, or leave out long utterances (batch.max_seconds)"
    )


def _ways(config: FinetuneConfig, architecture: Architecture) -> list[Way]:
    """The ways to try, from the one that learns most."""
    way = config.tune.way(config.regularization)
    if config.init == SCRATCH:
        return ["everything"]
    if config.tune.what != "auto":
        return [way]
    few: list[Way] = ["lora"] if importlib.util.find_spec("peft") is not None else []
    if architecture.adapter_size:
        few.insert(0, "adapters")
    elif architecture.layer_norm_first:
        few.append("adapters")
    return [way, *([] if way == "context" else ["context"]), *few]  # type: ignore[list-item]


def _with(config: FinetuneConfig, setting: Setting) -> FinetuneConfig:
    precision = config.train.precision
    if setting.half and precision == "fp32":
        precision = "bf16"
    return replace(
        config,
        tune=config.tune if config.init == SCRATCH else replace(config.tune, what=setting.way),
        parallel=replace(config.parallel, recompute=setting.recompute),
        batch=replace(config.batch, micro_seconds=round(setting.seconds, 3)),
        train=replace(config.train, precision=precision),
    )


def _line(config: FinetuneConfig, setting: Setting, need: float, least: list[tuple[float, Way]], *, gpu: bool) -> str:
    chosen = _with(config, setting)
    options = [] if config.init == SCRATCH else [f"--tune.what {setting.way}"]
    options += [
        "--parallel.recompute" if setting.recompute else "--parallel.no-recompute",
        f"--batch.micro-seconds {chosen.batch.micro_seconds:g}",
        f"--train.precision {chosen.train.precision}",
    ]
    more = "".join(f"; {way} would need {size / 1e9:.1f} GB" for size, way in least)
    where = "of the GPU" if gpu else "of this process"
    return (
        f"memory {config.memory}: {' '.join(options)}, which need about {need / 1e9:.1f} GB {where} at the peak{more}"
    )
