"""Variants in a ``config.json``: what differs from the paper's proposal is written, and read with its type checked."""

import typing
from collections.abc import Mapping
from typing import Any, Literal

from wav2vec2.model.architecture import Masking
from wav2vec2.model.variants.variant import Variant

_SPANS = ("span_lengths", "span_spread", "overlap", "min_space")


def variant_from(stored: Mapping[str, Any]) -> Variant:
    """The variant of these differences; ValueError or TypeError for what no variant has."""
    return Variant(**_checked(stored, typing.get_type_hints(Variant)))


def span_fields(stored: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of ``Masking`` that tell of spans of random length or without overlap; errors as ``variant_from``."""
    hints = {name: hint for name, hint in typing.get_type_hints(Masking).items() if name in _SPANS}
    return _checked(stored, hints)


def span_differences(masking: Masking) -> dict[str, Any]:
    """What ``span_fields`` reads back."""
    proposed = Masking()
    return {name: getattr(masking, name) for name in _SPANS if getattr(masking, name) != getattr(proposed, name)}


def _checked(stored: Mapping[str, Any], hints: Mapping[str, Any]) -> dict[str, Any]:
    for name, value in stored.items():
        if name not in hints:
            raise ValueError(f"unknown field {name!r} of a variant")
        hint = hints[name]
        fits = value in typing.get_args(hint) if typing.get_origin(hint) is Literal else type(value) is hint
        if not fits:
            raise ValueError(f"{name} {value!r}")
    return dict(stored)
