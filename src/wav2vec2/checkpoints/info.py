"""``wav2vec2 info MODEL``: what a model is, in a few lines, from its configuration and the headers of its files."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wav2vec2.model.variants.variant import PROPOSED

if TYPE_CHECKING:
    from wav2vec2.checkpoints.load import ModelDescription

_KINDS = {"ctc": "recogniser (CTC)", "pretraining": "pre-training", "encoder": "encoder without a head"}


@dataclass(frozen=True)
class InfoOptions:
    """What a model is: family, sizes, parameters, vocabulary, normalisation, origin. No weight is read."""

    model: str
    """A model directory, a checkpoint of fairseq, fairseq2, omnilingual or torchaudio, or an id on the hub."""
    language: str | None = None
    """Of a multilingual model (MMS): the language whose head and symbols to describe."""


def run(options: InfoOptions) -> None:
    """Print the description; raises UserError when the model cannot be read."""
    from wav2vec2.checkpoints.load import describe

    for name, value in rows(describe(options.model, language=options.language)).items():
        print(f"{name:<14}{value}")


def rows(model: "ModelDescription") -> dict[str, str]:
    """Return the lines of a description, by their names."""
    a, masks = model.architecture, model.masking
    lines = {
        "model": f"{model.source} ({model.file_format})",
        "kind": _KINDS[model.kind],
        "family": model.family,
        "convolutions": f"channels {', '.join(map(str, a.conv_channels))}; a frame every {a.stride} samples",
        "transformer": f"{a.layers} layers, width {a.hidden_size}, feed-forward {a.ffn_size}, {a.heads} heads",
        "parameters": f"{model.parameters:,}",
        "input": "16 kHz, " + ("zero mean and unit variance per utterance" if a.normalize_input else "as it is"),
    }
    if a.pos_conv_depth > 1:
        lines["positions"] = f"{a.pos_conv_depth} stacked convolutions"
    if a.adapter_size:
        lines["adapters"] = f"one a layer, {a.adapter_size} wide"
    if a.variant != PROPOSED and (model.kind == "pretraining" or a.variant.inputs == "quantized"):
        lines["variant"] = ", ".join(f"{name} = {value}" for name, value in a.variant.differences().items())
    if model.kind == "pretraining":
        lines["quantizer"] = (
            f"{a.codebook_groups} groups of {a.codebook_entries} entries, code size {a.codevector_size}"
        )
    elif model.kind == "ctc" and model.vocabulary is None:
        lines["vocabulary"] = f"{model.vocabulary_size} symbols, not stored with the model"
    elif model.vocabulary is not None:
        lines["vocabulary"] = f"{len(model.vocabulary)} symbols: {_shown(model.vocabulary.symbols)}"
    if masks.time_start or masks.channel_start:
        channels = f", channels p {masks.channel_start:g} x {masks.channel_span}" if masks.channel_start else ""
        lines["masking"] = f"time p {masks.time_start:g} x {masks.time_span} frames{channels}"
    else:
        lines["masking"] = "none"
    return lines | {name: said for name, said in (("origin", model.origin), ("training", model.training)) if said}


def _shown(symbols: tuple[str, ...], most: int = 100) -> str:
    return " ".join(symbols[:most]) + (f" ... ({len(symbols) - most} more)" if len(symbols) > most else "")
