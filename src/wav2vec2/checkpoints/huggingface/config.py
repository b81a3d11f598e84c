"""``config.json`` and ``preprocessor_config.json`` of a Hugging Face model directory <-> our dataclasses.

transformers calls ``mask_time_prob`` what the paper calls p times the span length. What it has no field for (gradient
multiplier, Gumbel temperature, the architecture's name, input normalisation) sits beside its own fields; transformers
keeps such keys untouched. An encoder that it has no class for gets a ``model_type`` of ours, so that it refuses it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from wav2vec2.checkpoints.checkpoint import Kind
from wav2vec2.checkpoints.huggingface.defaults import DEFAULTS, check_sizes
from wav2vec2.checkpoints.huggingface.variant_fields import span_differences, span_fields, variant_from
from wav2vec2.errors import UserError
from wav2vec2.model.architecture import ARCHITECTURES, SAMPLE_RATE, Architecture, Masking, Regularization
from wav2vec2.model.variants.variant import PROPOSED

# Variants whose numbers would differ: field -> the only value that is ours.
_FIXED = {"hidden_act": "gelu", "feat_extract_activation": "gelu", "add_adapter": False}
_THEIR_TYPE, _OWN_TYPE = "wav2vec2", "wav2vec2-variant"
_CLASSES: dict[str, Kind] = {
    "Wav2Vec2ForPreTraining": "pretraining",
    "Wav2Vec2ForCTC": "ctc",
    "Wav2Vec2Model": "encoder",
}


@dataclass(frozen=True)
class ModelConfig:
    """A directory's configuration in our terms."""

    kind: Kind
    architecture: Architecture
    regularization: Regularization
    masking: Masking
    vocabulary_size: int
    blank: int
    has_mask_embedding: bool
    origin: str


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON object; UserError when the file is missing, unreadable or something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path}: missing; give a model directory with config.json and model.safetensors") from error
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: not readable JSON ({reason}); copy it again from its model") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a JSON object; copy it again from its model")
    return content


def read_config(directory: Path) -> ModelConfig:
    """Read ``config.json`` (and the input's normalisation) of a model directory of ours or of transformers.

    Raises:
        UserError: A file is missing, damaged, contradicts another, or describes a model that is not supported.
    """
    path = directory / "config.json"
    raw = read_json(path)
    if raw.get("model_type") not in (_THEIR_TYPE, _OWN_TYPE):
        raise UserError(f"{path}: model_type is {raw.get('model_type')!r}; only 'wav2vec2' models can be loaded")
    for field, value in _FIXED.items():
        if raw.get(field, value) != value:
            raise UserError(
                f"{path}: {field} = {raw[field]!r} is not supported; only models with {value!r} can be loaded"
            )
    config = {**DEFAULTS, **raw}
    try:
        check_sizes(config)
        return ModelConfig(
            kind=_kind(raw, path),
            architecture=_architecture(config, _normalize_input(directory, config)),
            regularization=_regularization(config),
            masking=_masking(config),
            vocabulary_size=int(config["vocab_size"]),
            blank=int(config["pad_token_id"]),
            has_mask_embedding=config["mask_time_prob"] > 0 or config["mask_feature_prob"] > 0,
            origin=_origin(raw),
        )
    except (TypeError, ValueError, KeyError, ZeroDivisionError) as error:
        raise UserError(f"{path}: a field has an impossible value ({error}); copy it again from its model") from error


def _kind(raw: Mapping[str, Any], path: Path) -> Kind:
    classes = raw.get("architectures") or []
    for name, kind in _CLASSES.items():
        if name in classes:
            return kind
    raise UserError(f"{path}: architectures is {classes}; only {', '.join(_CLASSES)} can be loaded")


def _origin(raw: Mapping[str, Any]) -> str:
    parts = [f"transformers {raw['transformers_version']}"] if raw.get("transformers_version") else []
    parts += [f"model {raw['_name_or_path']}"] if raw.get("_name_or_path") else []
    return ", ".join(parts)


def _normalize_input(directory: Path, config: Mapping[str, Any]) -> bool:
    """Whether the caller must normalise the input, as stored; without a word on it, as the family was trained.

    A model's accuracy falls silently with the wrong choice, so two files that contradict each other are refused.
    """
    stored = config.get("normalize_input")
    path = directory / "preprocessor_config.json"
    if path.exists():
        preprocessor = read_json(path)
        rate = preprocessor.get("sampling_rate", SAMPLE_RATE)
        if rate != SAMPLE_RATE:
            raise UserError(f"{path}: sampling_rate is {rate}; only models for {SAMPLE_RATE} Hz can be loaded")
        said = preprocessor.get("do_normalize", stored)
        if stored is not None and said != stored:
            raise UserError(f"{path}: do_normalize {said} contradicts config.json's {stored}; set both as in training")
        stored = said
    return config["feat_extract_norm"] == "layer" if stored is None else bool(stored)


def _architecture(config: Mapping[str, Any], normalize_input: bool) -> Architecture:
    if config["feat_extract_norm"] not in ("group", "layer"):
        raise ValueError(f"feat_extract_norm {config['feat_extract_norm']!r}")
    sizes = Architecture(
        name="custom",
        conv_channels=tuple(config["conv_dim"]),
        conv_kernels=tuple(config["conv_kernel"]),
        conv_strides=tuple(config["conv_stride"]),
        conv_bias=config["conv_bias"],
        conv_norm=config["feat_extract_norm"],
        normalize_input=normalize_input,
        hidden_size=config["hidden_size"],
        layers=config["num_hidden_layers"],
        ffn_size=config["intermediate_size"],
        heads=config["num_attention_heads"],
        layer_norm_first=config["do_stable_layer_norm"],
        pos_conv_kernel=config["num_conv_pos_embeddings"],
        pos_conv_groups=config["num_conv_pos_embedding_groups"],
        pos_conv_depth=config.get("pos_conv_depth", 1),
        # transformers puts adapters into pre-LN layers only
        adapter_size=(config.get("adapter_attn_dim") or 0) if config["do_stable_layer_norm"] else 0,
        layer_norm_eps=config["layer_norm_eps"],
        codebook_groups=config["num_codevector_groups"],
        codebook_entries=config["num_codevectors_per_group"],
        codevector_size=config["codevector_dim"],
        final_size=config["proj_codevector_dim"],
        negatives=config["num_negatives"],
        logit_temperature=config["contrastive_logits_temperature"],
        variant=variant_from(config.get("variant") or {}),
    )
    return named(sizes, config.get("architecture"))


def named(sizes: Architecture, name: object = None) -> Architecture:
    """Give an architecture its stored name, or that of the published one with the same sizes, or "custom"."""
    if isinstance(name, str):
        return replace(sizes, name=name)
    return next((known for known in ARCHITECTURES.values() if replace(sizes, name=known.name) == known), sizes)


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


def _tidy(value: float) -> float:
    """Drop the last digits, so that 0.065 x 10 / 10 is 0.065 again."""
    return float(f"{value:.12g}")


def _masking(config: Mapping[str, Any]) -> Masking:
    masking = Masking(
        time_start=_tidy(config["mask_time_prob"] / config["mask_time_length"]),
        time_span=config["mask_time_length"],
        min_spans=config["mask_time_min_masks"],
        channel_start=_tidy(config["mask_feature_prob"] / config["mask_feature_length"]),
        channel_span=config["mask_feature_length"],
        **span_fields(config.get("mask_time_variant") or {}),
    )
    masking.check()
    return masking


def _sizes(architecture: Architecture) -> dict[str, Any]:
    a = architecture
    return {
        "conv_dim": list(a.conv_channels),
        "conv_kernel": list(a.conv_kernels),
        "conv_stride": list(a.conv_strides),
        "num_feat_extract_layers": len(a.conv_channels),
        "conv_bias": a.conv_bias,
        "feat_extract_norm": a.conv_norm,
        "feat_extract_activation": "gelu",
        "hidden_act": "gelu",
        "hidden_size": a.hidden_size,
        "num_hidden_layers": a.layers,
        "intermediate_size": a.ffn_size,
        "num_attention_heads": a.heads,
        "do_stable_layer_norm": a.layer_norm_first,
        "num_conv_pos_embeddings": a.pos_conv_kernel,
        "num_conv_pos_embedding_groups": a.pos_conv_groups,
        "layer_norm_eps": a.layer_norm_eps,
        "num_codevector_groups": a.codebook_groups,
        "num_codevectors_per_group": a.codebook_entries,
        "codevector_dim": a.codevector_size,
        "proj_codevector_dim": a.final_size,
        "num_negatives": a.negatives,
        "contrastive_logits_temperature": a.logit_temperature,
        "architecture": a.name,
        "normalize_input": a.normalize_input,
        **({"adapter_attn_dim": a.adapter_size} if a.adapter_size else {}),
        **({"pos_conv_depth": a.pos_conv_depth} if a.pos_conv_depth > 1 else {}),
        **({"variant": a.variant.differences()} if a.variant != PROPOSED else {}),
    }


def _fits_transformers(architecture: Architecture) -> bool:
    a = architecture
    plain_input = a.variant.inputs == "continuous"
    return plain_input and a.pos_conv_depth == 1 and (a.layer_norm_first or not a.adapter_size)


def config_json(
    architecture: Architecture,
    regularization: Regularization,
    masking: Masking,
    *,
    kind: Kind,
    vocabulary_size: int | None,
    blank: int = 0,
    dtype: str = "float32",
) -> dict[str, Any]:
    """Return the content of ``config.json``; ``vocabulary_size`` is None without a CTC head."""
    r, m = regularization, masking
    theirs = _fits_transformers(architecture)
    class_name = next(name for name, known in _CLASSES.items() if known == kind)
    config = {
        "model_type": _THEIR_TYPE if theirs else _OWN_TYPE,
        "architectures": [class_name],
        **_sizes(architecture),
        "hidden_dropout": r.dropout,
        "attention_dropout": r.attention_dropout,
        "activation_dropout": r.activation_dropout,
        "feat_proj_dropout": r.input_dropout,
        "feat_quantizer_dropout": r.feature_dropout,
        "final_dropout": r.final_dropout,
        "layerdrop": r.layerdrop,
        "feature_grad_mult": r.feature_grad_mult,
        "gumbel_temperature": [r.tau_start, r.tau_end, r.tau_decay],
        "apply_spec_augment": m.time_start > 0 or m.channel_start > 0,
        "mask_time_prob": _tidy(m.time_start * m.time_span),
        "mask_time_length": m.time_span,
        "mask_time_min_masks": m.min_spans,
        "mask_feature_prob": _tidy(m.channel_start * m.channel_span),
        "mask_feature_length": m.channel_span,
        "mask_feature_min_masks": 0,
        **({"mask_time_variant": spans} if (spans := span_differences(m)) else {}),
        "diversity_loss_weight": 0.1,
        "ctc_loss_reduction": "sum",
        "ctc_zero_infinity": True,
        "initializer_range": 0.02,
        "pad_token_id": blank,
        "dtype": dtype,
    }
    return config if vocabulary_size is None else {**config, "vocab_size": vocabulary_size}


def preprocessor_json(architecture: Architecture, *, with_tokenizer: bool) -> dict[str, Any]:
    """Return the content of ``preprocessor_config.json``.

    The group-norm family was trained without an attention mask, and transformers' would not mask its group norm either.
    """
    content = {
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "do_normalize": architecture.normalize_input,
        "feature_size": 1,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": architecture.conv_norm == "layer",
        "sampling_rate": SAMPLE_RATE,
    }
    return {**content, "processor_class": "Wav2Vec2Processor"} if with_tokenizer else content
