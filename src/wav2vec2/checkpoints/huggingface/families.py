"""The models of transformers that are wav2vec 2.0's network under other names, and those that are not.

HuBERT, UniSpeech and UniSpeech-SAT differ in how they were pre-trained: encoder and CTC head are the same.
data2vec-audio has other positions, a stack of short convolutions, and always layer norms in its extractor and after
its blocks. Their pre-training heads are not read: a model of theirs is an encoder or a recogniser.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wav2vec2.checkpoints.checkpoint import Kind
from wav2vec2.errors import quoted
from wav2vec2.model.architecture import SAME_NETWORK, Architecture

_OWN_TYPE = "wav2vec2-variant"
"""``model_type`` of encoders of ours that transformers has no class for, so that it refuses to load them."""


@dataclass(frozen=True)
class Family:
    """A family of models: its ``model_type``, the prefix of its encoder's tensors, the names of its classes by kind."""

    model_type: str
    prefix: str
    classes: Mapping[str, Kind]


def _family(model_type: str, name: str) -> Family:
    classes: dict[str, Kind] = {f"{name}ForCTC": "ctc", f"{name}Model": "encoder"}
    return Family(model_type, f"{model_type.replace('-', '_')}.", classes)


_PRETRAINING: dict[str, Kind] = {"Wav2Vec2ForPreTraining": "pretraining"}
_WAV2VEC2 = Family("wav2vec2", "wav2vec2.", {**_PRETRAINING, **_family("wav2vec2", "Wav2Vec2").classes})
_OWN = Family(_OWN_TYPE, _WAV2VEC2.prefix, _WAV2VEC2.classes)
_DATA2VEC = _family("data2vec-audio", "Data2VecAudio")
_NAMES = {"hubert": "Hubert", "unispeech": "UniSpeech", "unispeech-sat": "UniSpeechSat"}
_SAME_NETWORK = tuple(_family(model_type, _NAMES[model_type]) for model_type in SAME_NETWORK)
FAMILIES = {family.model_type: family for family in (_WAV2VEC2, _OWN, _DATA2VEC, *_SAME_NETWORK)}
"""By ``model_type``."""

# What is not read: what it has that wav2vec 2.0's network lacks, and the published model to take in its place.
_BASE, _LARGE = "facebook/hubert-base-ls960 or facebook/wav2vec2-base", "facebook/wav2vec2-xls-r-300m"
_OTHERS = {
    "wavlm": ("WavLM, whose attention has gated relative positions", _BASE),
    "wav2vec2-bert": ("w2v-BERT 2.0, a Conformer over filterbanks", f"{_LARGE} or facebook/mms-300m"),
    "wav2vec2-conformer": ("wav2vec 2.0 with Conformer blocks", "facebook/wav2vec2-large-lv60"),
    "sew": ("SEW, which squeezes its frames", _BASE),
    "sew-d": ("SEW-D, which squeezes its frames and has DeBERTa's attention", _BASE),
    "whisper": ("Whisper, an encoder and decoder over filterbanks", "facebook/wav2vec2-base-960h"),
    "mctct": ("M-CTC-T, over filterbanks", "facebook/mms-1b-all"),
    "speech_to_text": ("an encoder and decoder over filterbanks", "facebook/wav2vec2-base-960h"),
    "data2vec-text": ("data2vec for text", "facebook/data2vec-audio-base-960h"),
    "data2vec-vision": ("data2vec for images", "facebook/data2vec-audio-base-960h"),
    "vits": ("a model that speaks", "facebook/mms-1b-all to recognise the same languages"),
}


def why_not_read(model_type: object) -> str:
    """Return why a directory with this ``model_type`` is not read, and what to use instead."""
    what, instead = _OTHERS.get(str(model_type), ("", ""))
    if what:
        return f"is {what}: its network is not computed here; use {instead}"
    known = ", ".join(name for name in FAMILIES if name != _OWN_TYPE)
    return f"model_type is {quoted(model_type)}; only {known} can be loaded"


def architecture_family(family: Family) -> str:
    """Return the family as an architecture keeps it: only where another of its fields does not show it."""
    return family.model_type if family in _SAME_NETWORK else _WAV2VEC2.model_type


def family_to_write(architecture: Architecture, kind: Kind) -> Family:
    """Return the family under whose name transformers loads a model of ours; one that it refuses, if there is none."""
    a = architecture
    if a.variant.inputs != "continuous" or (a.adapter_size and not a.layer_norm_first):
        return _OWN
    if a.pos_conv_depth > 1:
        blocks = a.conv_norm == "layer" and not a.layer_norm_first and not a.adapter_size
        even = a.pos_conv_kernel % a.pos_conv_depth == 0 and a.pos_conv_kernel // a.pos_conv_depth >= SHORTEST_POSITION
        return _DATA2VEC if kind != "pretraining" and blocks and even else _OWN
    return FAMILIES[a.family] if kind != "pretraining" else _WAV2VEC2


SHORTEST_POSITION = 3
"""Frames of the shortest of stacked positional convolutions that the model has."""

# Settings for which our model has only one value; with another value, transformers' model computes something else.
_FIXED: dict[str, object] = {
    "hidden_act": "gelu",
    "feat_extract_activation": "gelu",
    "add_adapter": False,
    "feat_proj_layer_norm": True,
    "conv_pos_batch_norm": False,
}


def unsupported(raw: Mapping[str, Any]) -> str:
    """Return which setting of a configuration our model lacks; empty if it has them all."""
    for field, value in _FIXED.items():
        if raw.get(field, value) != value:
            return f"{field} = {quoted(raw[field])} is not supported; only {quoted(value)} can be loaded"
    return ""


def in_our_fields(family: Family, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration with data2vec's positions, extractor and blocks in the fields of wav2vec 2.0."""
    if family is not _DATA2VEC:
        return dict(config)
    depth, kernel = config.get("num_conv_pos_embeddings", 5), config.get("conv_pos_kernel_size", 19)
    if type(depth) is not int or type(kernel) is not int or depth <= 1 or kernel < SHORTEST_POSITION:
        raise ValueError(f"{quoted(depth)} positional convolutions of {quoted(kernel)} frames")
    ours = {"num_conv_pos_embeddings": depth * kernel, "pos_conv_depth": depth}
    return {**config, **ours, "feat_extract_norm": "layer", "do_stable_layer_norm": False, "adapter_attn_dim": None}


def in_their_fields(family: Family, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the reverse of ``in_our_fields``, for writing."""
    if family is not _DATA2VEC:
        return dict(config)
    depth, kernel = config["pos_conv_depth"], config["num_conv_pos_embeddings"]
    theirs = {"num_conv_pos_embeddings": depth, "conv_pos_kernel_size": kernel // depth}
    return {name: value for name, value in {**config, **theirs}.items() if name != "pos_conv_depth"}


# Heads of transformers that are no part of wav2vec 2.0, by the end of their names: what they are, for messages.
_HEADS = {
    "ForSequenceClassification": "a classifier of whole recordings",
    "ForAudioFrameClassification": "a classifier of frames",
    "ForXVector": "a head for speaker embeddings",
    "ForPreTraining": "a pre-training head of another kind",
}


def kind_named(family: Family, classes: Sequence[str]) -> Kind | None:
    """Return the kind of model that a configuration's classes name; None where the names of its tensors show it."""
    named = [family.classes[name] for name in classes if name in family.classes]
    return None if not named or named[0] == "encoder" else named[0]


def head_named(family: Family, classes: Sequence[str]) -> str:
    """Return in words the head that a configuration names beside those that are read; empty if it names none."""
    name = next((name for name in classes if name not in family.classes), "")
    known = next((words for end, words in _HEADS.items() if name.endswith(end)), "a head that is not known here")
    return name and f"{known} ({name[:80]})"
