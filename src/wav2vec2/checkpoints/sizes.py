"""The name of an architecture, and the sizes of a model whose file stores none, from the shapes of its tensors."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from wav2vec2.audio.normalize import FAIRSEQ_EPSILON
from wav2vec2.errors import UserError, cause
from wav2vec2.model.architecture import ARCHITECTURES, Architecture

_PUBLISHED = ARCHITECTURES["base"]
_HEADS = {known.hidden_size: known.heads for known in ARCHITECTURES.values()}


def named(sizes: Architecture, name: object = None) -> Architecture:
    """Give an architecture its stored name, or that of the published one with the same sizes, or "custom".

    The epsilon of the input normalisation, which depends on the tool, and the family are no part of the comparison.
    """
    if isinstance(name, str):
        return replace(sizes, name=name)
    nameless = replace(sizes, input_epsilon=Architecture.input_epsilon, family=Architecture.family)
    same = (known.name for known in ARCHITECTURES.values() if replace(nameless, name=known.name) == known)
    return replace(sizes, name=next(same, sizes.name))


def sizes_from_shapes(
    shapes: Mapping[str, Tensor],
    names: Callable[[str], str | None],
    path: Path,
    *,
    layer_norm_first: bool,
    described: Mapping[str, Any],
) -> Architecture:
    """Return the architecture of a table of tensors, for formats that store no sizes (torchaudio, fairseq2).

    No shape shows the strides or the number of heads. They are taken from the published model with these kernels or
    this width. ``described``, fields from a description beside the file, overrides them and the shapes. The input
    counts as normalised where the extractor has layer norms, as in every published model, and as fairseq does it.

    Raises:
        UserError: A tensor that every model has is missing, or strides or heads cannot be known.
    """
    tensors = _Tensors(shapes, names, path)
    extractor = "encoder.feature_encoder.layers"
    convolutions = [
        tensors.shape(f"{extractor}.{index}.conv.weight", 3)
        for index in range(tensors.count(extractor + ".{}.conv.weight"))
    ]
    width = tensors.shape("encoder.context.layers.0.attention.out.bias", 1)[0]
    depth = tensors.count("encoder.context.pos_conv.layers.{}.weight")
    positions = "encoder.context.pos_conv.layers.0.weight" if depth else "encoder.context.pos_conv.weight_v"
    kernel = tensors.shape(positions, 3)
    kernels = tuple(convolution[2] for convolution in convolutions)
    layer_norms = tensors.has(f"{extractor}.1.norm.weight")
    found: dict[str, Any] = {
        "conv_channels": tuple(convolution[0] for convolution in convolutions),
        "conv_kernels": kernels,
        "conv_strides": described.get("conv_strides") or _strides(kernels, path),
        "conv_bias": tensors.has(f"{extractor}.0.conv.bias"),
        "conv_norm": "layer" if layer_norms else "group",
        "normalize_input": layer_norms,
        "input_epsilon": FAIRSEQ_EPSILON,
        "hidden_size": width,
        "layers": tensors.count("encoder.context.layers.{}.attention.out.bias"),
        "ffn_size": tensors.shape("encoder.context.layers.0.ffn_in.bias", 1)[0],
        "heads": described.get("heads") or _heads(width, path),
        "layer_norm_first": layer_norm_first,
        "pos_conv_kernel": kernel[2] * max(depth, 1),
        "pos_conv_groups": max(1, width // max(1, kernel[1])),
        "pos_conv_depth": max(depth, 1),
    }
    if tensors.has("quantizer.codevectors"):
        found |= _quantizer_sizes(tensors)
    try:
        return named(Architecture(name="custom", **{**found, **described}))
    except (TypeError, ValueError, ArithmeticError) as error:
        raise UserError(f"{path}: its sizes contradict each other ({cause(error)}); the file is damaged") from error


@dataclass(frozen=True)
class _Tensors:
    """Shapes of another tool's tensors, found by our names."""

    shapes: Mapping[str, Tensor]
    names: Callable[[str], str | None]
    path: Path

    def shape(self, name: str, dimensions: int) -> list[int]:
        theirs = self.names(name)
        found = None if theirs is None else self.shapes.get(theirs)
        if found is None or found.dim() != dimensions:
            raise UserError(f"{self.path}: tensor {theirs} is missing; give the complete file of a wav2vec 2.0 model")
        return list(found.shape)

    def has(self, name: str) -> bool:
        return self.names(name) in self.shapes

    def count(self, pattern: str) -> int:
        return next(index for index in range(10_000) if not self.has(pattern.format(index)))


def _quantizer_sizes(tensors: _Tensors) -> dict[str, int]:
    codevectors, projection = tensors.shape("quantizer.codevectors", 3), tensors.shape("quantizer.project.weight", 2)
    groups = max(1, projection[1] // max(1, codevectors[2]))
    return {
        "codebook_groups": groups,
        "codebook_entries": max(1, codevectors[1] // groups),
        "codevector_size": projection[1],
        "final_size": projection[0],
    }


def _strides(kernels: tuple[int, ...], path: Path) -> tuple[int, ...]:
    if kernels != _PUBLISHED.conv_kernels:
        raise UserError(
            f"{path}: no published model has the convolution kernels {list(kernels)}, and the file stores no strides; "
            "put the description that was written with the file beside it"
        )
    return _PUBLISHED.conv_strides


def _heads(width: int, path: Path) -> int:
    if width not in _HEADS:
        raise UserError(
            f"{path}: no published model is {width} wide, and the file does not store the number of heads; "
            "put the description that was written with the file beside it"
        )
    return _HEADS[width]
