"""Sizes of a model from the shapes of its tensors, for formats that store nothing else (torchaudio, fairseq2).

What no shape tells: the convolutions' strides and the number of attention heads. Both are those of the published
models, recognised by kernels and width, unless a description beside the file says otherwise. The input is normalised
where the extractor has layer norms, as in every published model.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from wav2vec2.checkpoints.huggingface.config import named
from wav2vec2.errors import UserError
from wav2vec2.model.architecture import ARCHITECTURES, Architecture

_PUBLISHED = ARCHITECTURES["base"]
_HEADS = {known.hidden_size: known.heads for known in ARCHITECTURES.values()}


def sizes_from_shapes(
    shapes: Mapping[str, Tensor],
    names: Callable[[str], str],
    path: Path,
    *,
    layer_norm_first: bool,
    described: Mapping[str, Any],
) -> Architecture:
    """Return the architecture of tensors called as ``names`` says; ``described`` are fields that win over shapes.

    Raises:
        UserError: A tensor that every model has is missing, or strides or heads cannot be known.
    """

    def shape(name: str, dimensions: int) -> list[int]:
        home = names(name)
        if home not in shapes or shapes[home].dim() != dimensions:
            raise UserError(f"{path}: tensor {home} is missing; give the complete file of a wav2vec 2.0 model")
        return list(shapes[home].shape)

    def has(name: str) -> bool:
        return names(name) in shapes

    def count(pattern: str) -> int:
        return next(index for index in range(10_000) if not has(pattern.format(index)))

    extractor = "encoder.feature_encoder.layers"
    convolutions = [
        shape(f"{extractor}.{index}.conv.weight", 3) for index in range(count(extractor + ".{}.conv.weight"))
    ]
    width = shape("encoder.context.layers.0.attention.out.bias", 1)[0]
    depth = count("encoder.context.pos_conv.layers.{}.weight")
    kernel = shape("encoder.context.pos_conv.layers.0.weight" if depth else "encoder.context.pos_conv.weight_v", 3)
    pretraining = has("quantizer.codevectors")
    codebook = shape("quantizer.codevectors", 3) if pretraining else [1, 640, _PUBLISHED.codevector_size // 2]
    code = shape("quantizer.project.weight", 2) if pretraining else [_PUBLISHED.final_size, _PUBLISHED.codevector_size]
    kernels = tuple(conv[2] for conv in convolutions)
    groups = max(1, code[1] // max(1, codebook[2]))
    found = {
        "conv_channels": tuple(conv[0] for conv in convolutions),
        "conv_kernels": kernels,
        "conv_strides": described.get("conv_strides") or _strides(kernels, path),
        "conv_bias": has(f"{extractor}.0.conv.bias"),
        "conv_norm": "layer" if has(f"{extractor}.1.norm.weight") else "group",
        "normalize_input": has(f"{extractor}.1.norm.weight"),
        "hidden_size": width,
        "layers": count("encoder.context.layers.{}.attention.out.bias"),
        "ffn_size": shape("encoder.context.layers.0.ffn_in.bias", 1)[0],
        "heads": described.get("heads") or _heads(width, path),
        "layer_norm_first": layer_norm_first,
        "pos_conv_kernel": kernel[2] * max(depth, 1),
        "pos_conv_groups": max(1, width // max(1, kernel[1])),
        "pos_conv_depth": max(depth, 1),
        "codebook_groups": groups,
        "codebook_entries": max(1, codebook[1] // groups),
        "codevector_size": code[1],
        "final_size": code[0],
    }
    try:
        return named(Architecture(name="custom", **{**found, **described}))
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}: its sizes contradict each other ({error}); the file is damaged") from error


def _strides(kernels: tuple[int, ...], path: Path) -> tuple[int, ...]:
    if kernels != _PUBLISHED.conv_kernels:
        raise UserError(
            f"{path}: convolution kernels {list(kernels)} are no published model's and the file stores no strides; "
            "put the description that was written with it beside it"
        )
    return _PUBLISHED.conv_strides


def _heads(width: int, path: Path) -> int:
    if width not in _HEADS:
        raise UserError(
            f"{path}: a width of {width} is no published model's and the file does not store the number of heads; "
            "put the description that was written with it beside it"
        )
    return _HEADS[width]
