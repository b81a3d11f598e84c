"""The configuration of a Hugging Face model directory in our terms: ``config.json`` and ``preprocessor_config.json``.

transformers' ``mask_time_prob`` is the paper's p times the length of a span. Settings for which transformers has no
field (gradient multiplier, Gumbel temperature, the architecture's name, input normalisation, longest utterance,
variants) are stored beside its own fields; transformers keeps such keys as they are.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from wav2vec2.audio.normalize import FAIRSEQ_EPSILON, TRANSFORMERS_EPSILON
from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.checkpoints.checkpoint import Kind, mask_start
from wav2vec2.checkpoints.huggingface.families import (
    FAMILIES,
    Family,
    architecture_family,
    head_named,
    in_our_fields,
    kind_named,
    unsupported,
    why_not_read,
)
from wav2vec2.checkpoints.sizes import named
from wav2vec2.config import from_plain, read_json
from wav2vec2.errors import UserError, cause, quoted
from wav2vec2.model.architecture import Architecture, Masking, Regularization
from wav2vec2.model.variants.variant import PROPOSED, Variant

T = TypeVar("T")

# transformers' defaults for fields that a file leaves out.
_DEFAULTS: dict[str, Any] = {
    "activation_dropout": 0.1,
    "attention_dropout": 0.1,
    "codevector_dim": 256,
    "contrastive_logits_temperature": 0.1,
    "conv_bias": False,
    "conv_dim": [512] * 7,
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "do_stable_layer_norm": False,
    "feat_extract_norm": "group",
    "feat_proj_dropout": 0.0,
    "feat_quantizer_dropout": 0.0,
    "final_dropout": 0.1,
    "hidden_dropout": 0.1,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "layer_norm_eps": 1e-5,
    "layerdrop": 0.1,
    "mask_feature_length": 10,
    "mask_feature_prob": 0.0,
    "mask_time_length": 10,
    "mask_time_min_masks": 2,
    "mask_time_prob": 0.05,
    "num_attention_heads": 12,
    "num_codevector_groups": 2,
    "num_codevectors_per_group": 320,
    "num_conv_pos_embedding_groups": 16,
    "num_conv_pos_embeddings": 128,
    "num_hidden_layers": 12,
    "num_negatives": 100,
    "pad_token_id": 0,
    "proj_codevector_dim": 256,
    "vocab_size": 32,
}
_MOST_LAYERS = 1000
_MOST_SECONDS = 1e6
PREPROCESSOR_FILE, PROCESSOR_FILE = "preprocessor_config.json", "processor_config.json"


@dataclass(frozen=True)
class ModelConfig:
    """A directory's configuration in our terms.

    family: under which name transformers knows the model. kind: None where only the names of the tensors show it. head:
    in words, a head that is neither for CTC nor for pre-training; empty if none is named.
    """

    family: Family
    kind: Kind | None
    head: str
    architecture: Architecture
    regularization: Regularization
    masking: Masking
    vocabulary_size: int
    blank: int
    longest_heard: float | None
    origin: str


def read_config(directory: Path) -> ModelConfig:
    """Read the configuration of a model directory, ours or transformers'.

    Raises:
        UserError: A file is missing, damaged, contradicts another, or describes a model that is not supported.
    """
    path = directory / "config.json"
    raw = read_json(path, missing="give a model directory with config.json and model.safetensors")
    family = FAMILIES.get(str(raw.get("model_type")))
    if family is None:
        raise UserError(f"{path}: {why_not_read(raw.get('model_type'))}")
    if lacking := unsupported(raw):
        raise UserError(f"{path}: {lacking}")
    variant = _differences(Variant, raw, "variant", PROPOSED, path)
    try:
        config = {**_DEFAULTS, **in_our_fields(family, raw)}
        _check_sizes(config)
        masking = _differences(Masking, config, "mask_time_variant", _masking(config), path)
        masking.check()
        return ModelConfig(
            family=family,
            kind=kind_named(family, _classes(raw)),
            head=head_named(family, _classes(raw)),
            architecture=_architecture(config, _normalize_input(directory, config), variant, family),
            regularization=_regularization(config),
            masking=masking,
            vocabulary_size=int(config["vocab_size"]),
            blank=int(config["pad_token_id"] or 0),
            longest_heard=_longest_heard(config),
            origin=_origin(raw),
        )
    except (TypeError, ValueError, KeyError, ArithmeticError) as error:
        raise UserError(
            f"{path}: a field has an impossible value ({cause(error)}); copy it again from its model"
        ) from error


def _longest_heard(config: Mapping[str, Any]) -> float | None:
    stored = config.get("longest_heard")
    if stored is not None and not (isinstance(stored, int | float) and 0 < stored < _MOST_SECONDS):
        raise ValueError(f"longest_heard {quoted(stored)}")
    return None if stored is None else float(stored)


def _differences(cls: type[T], config: Mapping[str, Any], key: str, base: T, path: Path) -> T:
    """Return ``base`` with the fields that a table of ours in ``config.json`` changes."""
    stored = config.get(key) or {}
    if not isinstance(stored, Mapping):
        raise UserError(f"{path}: {key} is not a table; copy it again from its model")
    return from_plain(cls, stored, source=str(path), base=base, prefix=f"{key}.")


def _check_sizes(config: Mapping[str, Any]) -> None:
    """Raise ValueError for a size that is not a positive whole number, before anything is computed with it."""
    lists = (config[name] for name in ("conv_dim", "conv_kernel", "conv_stride"))
    single = (config[name] for name in ("hidden_size", "intermediate_size", "num_conv_pos_embeddings", "vocab_size"))
    sizes = [config["num_hidden_layers"], *single, *itertools.chain(*lists)]
    if not all(isinstance(size, int) and size > 0 for size in sizes):
        raise ValueError("a size is not a positive whole number")
    if config["num_hidden_layers"] > _MOST_LAYERS:  # building so many would take for ever
        raise ValueError(f"{config['num_hidden_layers']} layers")
    rest = (config.get("pos_conv_depth", 1), config.get("adapter_attn_dim") or 0)
    if not all(type(size) is int and size >= 0 for size in rest):
        raise ValueError("a size is not a whole number")
    if not isinstance(config["layer_norm_eps"], float):
        raise ValueError(f"layer_norm_eps {quoted(config['layer_norm_eps'])}")


def _classes(raw: Mapping[str, Any]) -> list[str]:
    """Return transformers' names of the model's classes, which some files lack."""
    stored = raw.get("architectures")
    return [name for name in stored if isinstance(name, str)] if isinstance(stored, list) else []


def _origin(raw: Mapping[str, Any]) -> str:
    parts = [f"transformers {raw['transformers_version']}"] if raw.get("transformers_version") else []
    parts += [f"model {raw['_name_or_path']}"] if raw.get("_name_or_path") else []
    return ", ".join(parts)


def _normalize_input(directory: Path, config: Mapping[str, Any]) -> bool:
    """Whether the input must be normalised: as stored or, if nothing is stored, as the model's family was trained.

    The wrong choice lowers accuracy without any other sign, so two files that contradict each other are refused.
    """
    stored = config.get("normalize_input")
    path, extractor = _feature_extractor(directory)
    if extractor is None:
        return config["feat_extract_norm"] == "layer" if stored is None else bool(stored)
    rate = extractor.get("sampling_rate", SAMPLE_RATE)
    if rate != SAMPLE_RATE:
        raise UserError(f"{path}: sampling_rate is {quoted(rate)}; only models for {SAMPLE_RATE} Hz can be loaded")
    normalize = extractor.get("do_normalize", True if stored is None else stored)  # True is transformers' default
    if stored is not None and normalize != stored:
        both = f"do_normalize is {quoted(normalize)}, config.json says {quoted(stored)}"
        raise UserError(f"{path}: {both}; set both as the model was trained")
    return bool(normalize)


def _feature_extractor(directory: Path) -> tuple[Path, dict[str, Any] | None]:
    """Return transformers' settings of the feature extractor, None if there are none, and the file they are in.

    transformers 5 writes them inside those of the processor, and prefers these to the older file of their own.
    """
    path = directory / PROCESSOR_FILE
    if path.exists():
        processor = read_json(path)
        for key in ("feature_extractor", "audio_processor"):
            if isinstance(processor.get(key), dict):
                return path, processor[key]
    path = directory / PREPROCESSOR_FILE
    return path, read_json(path) if path.exists() else None


def _input_epsilon(raw: Mapping[str, Any]) -> float:
    """Return the epsilon of the input normalisation: as stored, else that of the tool which wrote the file."""
    ours_without = FAIRSEQ_EPSILON if "normalize_input" in raw else TRANSFORMERS_EPSILON
    return float(raw.get("input_epsilon", ours_without))


def _architecture(config: Mapping[str, Any], normalize_input: bool, variant: Variant, family: Family) -> Architecture:
    if config["feat_extract_norm"] not in ("group", "layer"):
        raise ValueError(f"feat_extract_norm {quoted(config['feat_extract_norm'])}")
    sizes = Architecture(
        name="custom",
        family=architecture_family(family),
        conv_channels=tuple(config["conv_dim"]),
        conv_kernels=tuple(config["conv_kernel"]),
        conv_strides=tuple(config["conv_stride"]),
        conv_bias=config["conv_bias"],
        conv_norm=config["feat_extract_norm"],
        normalize_input=normalize_input,
        input_epsilon=_input_epsilon(config),
        hidden_size=config["hidden_size"],
        layers=config["num_hidden_layers"],
        ffn_size=config["intermediate_size"],
        heads=config["num_attention_heads"],
        layer_norm_first=config["do_stable_layer_norm"],
        pos_conv_kernel=config["num_conv_pos_embeddings"],
        pos_conv_groups=config["num_conv_pos_embedding_groups"],
        pos_conv_depth=config.get("pos_conv_depth", 1),
        # transformers puts adapters into pre-LN layers only.
        adapter_size=(config.get("adapter_attn_dim") or 0) if config["do_stable_layer_norm"] else 0,
        layer_norm_eps=config["layer_norm_eps"],
        codebook_groups=config["num_codevector_groups"],
        codebook_entries=config["num_codevectors_per_group"],
        codevector_size=config["codevector_dim"],
        final_size=config["proj_codevector_dim"],
        negatives=config["num_negatives"],
        logit_temperature=config["contrastive_logits_temperature"],
        variant=variant,
    )
    return named(sizes, config.get("architecture"))


def _regularization(config: Mapping[str, Any]) -> Regularization:
    ours = Regularization()
    start, end, decay = config.get("gumbel_temperature", (ours.tau_start, ours.tau_end, ours.tau_decay))
    return Regularization(
        dropout=config["hidden_dropout"],
        attention_dropout=config["attention_dropout"],
        activation_dropout=config["activation_dropout"],
        input_dropout=config["feat_proj_dropout"],
        feature_dropout=config["feat_quantizer_dropout"],
        final_dropout=config["final_dropout"],
        layerdrop=config["layerdrop"],
        feature_grad_mult=config.get("feature_grad_mult", ours.feature_grad_mult),
        tau_start=start,
        tau_end=end,
        tau_decay=decay,
    )


def _masking(config: Mapping[str, Any]) -> Masking:
    return Masking(
        time_start=mask_start(config["mask_time_prob"], config["mask_time_length"]),
        time_span=config["mask_time_length"],
        min_spans=config["mask_time_min_masks"],
        channel_start=mask_start(config["mask_feature_prob"], config["mask_feature_length"]),
        channel_span=config["mask_feature_length"],
    )
