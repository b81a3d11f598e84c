"""The description of a model in a few lines, from its configuration and the headers of its files."""

from pathlib import Path
from typing import TYPE_CHECKING

from wav2vec2.model.architecture import Architecture
from wav2vec2.model.variants.variant import PROPOSED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wav2vec2.checkpoints.checkpoint import Checkpoint
    from wav2vec2.checkpoints.hub import HubModel
    from wav2vec2.checkpoints.hub_download import RemoteFile

_FILES = 6
_KINDS = {"ctc": "recogniser (CTC)", "pretraining": "pre-training", "encoder": "encoder without a head"}


def model_lines(source: str, language: str | None = None) -> dict[str, str]:
    """Return a description of a model by name of the line; no weights are read, nor are those of the hub downloaded.

    language: of a multilingual model, whose head and symbols to describe.

    Raises:
        UserError: the model cannot be read.
    """
    from wav2vec2.checkpoints.hub import is_hub_id, look_at
    from wav2vec2.checkpoints.load import describe

    if not Path(source).exists() and is_hub_id(source) and (listed := look_at(source, language)) is not None:
        return {"model": f"{source} (on the hub)", **_described(listed, language), **_files(listed)}
    checkpoint = describe(source, language=language)
    return {"model": f"{source} ({checkpoint.file_format})", **rows(checkpoint)}


def _described(listed: "HubModel", language: str | None) -> dict[str, str]:
    from wav2vec2.checkpoints.huggingface.directory import open_directory

    if (listed.folder / "config.json").is_file():
        return rows(open_directory(listed.folder, language, without_weights=True))
    return {"kind": "a checkpoint without config.json: its file alone says what it is, so download it to know"}


def _files(listed: "HubModel") -> dict[str, str]:
    """What loading downloads, and what else there is, with sizes."""
    from wav2vec2.checkpoints.hub_download import size_in_words

    def sized(files: "Sequence[RemoteFile]") -> str:
        shown = [f"{file.name} ({size_in_words(file.size)})" for file in files[:_FILES]]
        return ", ".join(shown) + (f" and {len(files) - _FILES} smaller ones" if len(files) > _FILES else "")

    lines = {"download": f"{size_in_words(sum(file.size for file in listed.needed))}: {sized(listed.needed)}"}
    if large := [file for file in listed.others if file.sha256 is not None]:
        lines["not needed"] = sized(large)
    return lines | {"licence": listed.licence}


def rows(model: "Checkpoint") -> dict[str, str]:
    """Return the lines of a description, by name."""
    a, masks = model.architecture, model.masking
    lines = {
        "kind": _KINDS[model.kind],
        "family": _family(a),
        "convolutions": f"channels {', '.join(map(str, a.conv_channels))}; a frame every {a.stride} samples",
        "transformer": f"{a.layers} layers, width {a.hidden_size}, feed-forward {a.ffn_size}, {a.heads} heads",
        "parameters": f"{model.parameters():,}",
        "input": "16 kHz, " + _input(a),
    }
    if model.head:
        lines |= {"kind": "encoder", "head": f"{model.head}; not read"}
    if a.pos_conv_depth > 1:
        lines["positions"] = f"{a.pos_conv_depth} stacked convolutions"
    if a.adapter_size:
        lines["adapters"] = f"one per layer, {a.adapter_size} wide"
    if a.variant != PROPOSED and (model.kind == "pretraining" or a.variant.inputs == "quantized"):
        lines["variant"] = ", ".join(f"{name} = {value}" for name, value in a.variant.differences().items())
    if model.kind == "pretraining":
        lines["quantizer"] = (
            f"{a.codebook_groups} groups of {a.codebook_entries} entries, code size {a.codevector_size}"
        )
    elif model.vocabulary is not None:
        lines["vocabulary"] = f"{len(model.vocabulary)} symbols: {_shortened(model.vocabulary.symbols)}"
        if model.vocabulary.normalization is not None:
            lines["text"] = str(model.vocabulary.normalization)
    elif model.kind == "ctc":
        lines["vocabulary"] = f"{model.vocabulary_size} symbols, not stored with the model"
    if model.longest_heard is not None:
        lines["heard"] = f"utterances of up to {model.longest_heard:g} s (95 % of those in training)"
    if masks.time_start or masks.channel_start:
        channels = f", channels p {masks.channel_start:g} x {masks.channel_span}" if masks.channel_start else ""
        lines["masking"] = f"time p {masks.time_start:g} x {masks.time_span} frames{channels}"
    else:
        lines["masking"] = "none"
    known = (("origin", model.origin), ("training", model.training))
    return lines | {name: text for name, text in known if text}


def _input(a: Architecture) -> str:
    if not a.normalize_input:
        return "not normalised"
    return f"zero mean and unit variance per utterance (epsilon {a.input_epsilon:g})"


def _family(a: Architecture) -> str:
    """Return extractor norm, place of the layer norms, and input: the published models differ in these."""
    norms = "pre-LN" if a.layer_norm_first else "post-LN"
    name = "" if a.family == Architecture.family else f"{a.family}: "
    return f"{name}{a.conv_norm}-norm extractor, {norms}, {'normalised' if a.normalize_input else 'raw'} input"


def _shortened(symbols: tuple[str, ...], most: int = 100) -> str:
    return " ".join(symbols[:most]) + (f" ... ({len(symbols) - most} more)" if len(symbols) > most else "")
