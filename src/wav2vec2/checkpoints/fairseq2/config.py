"""The card beside a fairseq2 checkpoint (``model.yaml``), read and written: sizes, dropouts and masking.

fairseq2's ``max_temporal_mask_prob`` is the paper's p times the length of a span. fairseq2 draws starts with
replacement, so that the same value masks a little less (its defaults are some 6 % larger for that reason). The value is
not corrected for this.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.checkpoints.checkpoint import Model, mask_share, mask_start
from wav2vec2.checkpoints.other_tools import input_entry, input_epsilon
from wav2vec2.errors import UserError, cause, quoted
from wav2vec2.input_file import read_text
from wav2vec2.model.architecture import Masking, Regularization

_CARD = "model.yaml"
_LARGEST_CARD = 1 << 20
_FINETUNING = Regularization(0.0, 0.0, 0.1, 0.0, 0.0, 0.0, 0.1, 0.0)
_SIZES = {"heads": "num_encoder_attn_heads", "pos_conv_kernel": "pos_conv_kernel_size"}
_DROPOUTS = {
    "dropout": "dropout_p",
    "attention_dropout": "attn_dropout_p",
    "activation_dropout": "ffn_inner_dropout_p",
    "layerdrop": "layer_drop_p",
    "feature_grad_mult": "feature_grad_scale",
    "input_dropout": "first_pass_dropout_p",
    "feature_dropout": "first_pass_dropout_p",
}


def read_card(path: Path) -> dict[str, Any]:
    """Return the card of a checkpoint; empty if there is none.

    It lies beside the file, or, for a shard of a training run, beside the ``step_N`` folder.

    Raises:
        UserError: It is not YAML, not a card, or describes a model that is not supported.
    """
    folders = [path.parent, *([path.parents[4]] if path.name.startswith("sdp_") and len(path.parents) > 4 else [])]
    found = next((folder / _CARD for folder in folders if (folder / _CARD).is_file()), None)
    if found is None:
        return {}
    import yaml

    try:
        text = read_text(found, most=_LARGEST_CARD)
        # An alias repeats a part of the file; a few lines of them can stand for more than all memory holds.
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)):
            raise ValueError("it has aliases, which no card has")
        content = next(iter(yaml.safe_load_all(text)), None)
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        reason = cause(error)
        raise UserError(f"{found}: not readable YAML ({reason}); copy it again from its run") from error
    if not isinstance(content, dict) or not isinstance(content.get("model_config", {}), dict):
        raise UserError(f"{found}: not a fairseq2 card with a model_config; copy it again from its run")
    encoder = content.get("model_config", {}).get("encoder_config", {})
    if not isinstance(encoder, dict):
        raise UserError(f"{found}: encoder_config is not a table; copy it again from its run")
    if encoder.get("use_conformer"):
        raise UserError(f"{found}: use_conformer (a Conformer encoder) is not supported; only Transformer encoders are")
    if encoder.get("pos_encoder_type", "conv") != "conv":
        raise UserError(
            f"{found}: pos_encoder_type = {quoted(encoder['pos_encoder_type'])} is not supported; only 'conv' is"
        )
    if content.get("sample_rate", SAMPLE_RATE) != SAMPLE_RATE:
        raise UserError(
            f"{found}: sample_rate is {quoted(content['sample_rate'])}; only {SAMPLE_RATE} Hz can be loaded"
        )
    return content


@contextmanager
def _checked_values(path: Path) -> Iterator[None]:
    try:
        yield
    except (TypeError, ValueError, LookupError, ArithmeticError) as error:
        raise UserError(
            f"{path.parent / _CARD}: a value is impossible ({cause(error)}); copy it again from its run"
        ) from error


def described_sizes(described: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return the fields of an architecture that only a card gives; UserError for an impossible value."""
    config = described.get("model_config", {})
    encoder = config.get("encoder_config", {})
    sizes: dict[str, Any] = {}
    with _checked_values(path):
        sizes |= {ours: int(encoder[theirs]) for ours, theirs in _SIZES.items() if theirs in encoder}
        if "feature_extractor_layer_descs" in encoder:
            sizes["conv_strides"] = tuple(int(layer[2]) for layer in encoder["feature_extractor_layer_descs"])
        if "num_distractors" in config:
            sizes["negatives"] = int(config["num_distractors"])
        if "logit_temp" in config:
            sizes["logit_temperature"] = float(config["logit_temp"])
        if "normalize_audio" in described:
            sizes["normalize_input"] = bool(described["normalize_audio"])
        sizes["input_epsilon"] = input_epsilon(described)
    return sizes


def regularization(described: Mapping[str, Any], path: Path, ctc: bool) -> Regularization:
    """Return the dropouts of a card, fairseq2's own where it gives none; UserError for an impossible value."""
    config = described.get("model_config", {})
    encoder = config.get("encoder_config", {})
    ours = _FINETUNING if ctc else Regularization()
    with _checked_values(path):
        read = {name: float(encoder[theirs]) for name, theirs in _DROPOUTS.items() if theirs in encoder}
        if "final_dropout_p" in config:
            read["final_dropout"] = float(config["final_dropout_p"])
        if "codebook_sampling_temperature" in config:
            start, end, decay = (float(value) for value in config["codebook_sampling_temperature"])
            read |= {"tau_start": start, "tau_end": end, "tau_decay": decay}
    return replace(ours, **read)


def masking(described: Mapping[str, Any], path: Path, ctc: bool, *, masked: bool) -> Masking:
    """Return the masking of a card; no masking unless the file has a mask embedding (``masked``).

    Raises:
        UserError: A value is impossible.
    """
    config = described.get("model_config", {})
    ours = Masking(channel_start=0.0)
    if not masked or (ctc and config.get("use_masking") is False):
        return Masking(time_start=0.0, channel_start=0.0)
    with _checked_values(path):
        time_span = int(config.get("temporal_mask_span_len", ours.time_span))
        channel_span = int(config.get("spatial_mask_span_len", ours.channel_span))
        time = float(config.get("max_temporal_mask_prob", ours.time_start * ours.time_span))
        channel = float(config.get("max_spatial_mask_prob", 0.0))
        return Masking(
            time_start=mask_start(time, time_span),
            time_span=time_span,
            min_spans=int(config.get("min_num_temporal_mask_spans", ours.min_spans)),
            channel_start=mask_start(channel, channel_span),
            channel_span=channel_span,
        )


def card(model: Model, path: Path, rows: int | None, *, tokenizer: bool) -> dict[str, Any]:
    """Return the content of ``model.yaml``; ``rows`` is the size of the CTC head, None for a pre-training model."""
    a, r, m = model.architecture, model.regularization, model.masking
    masks = {
        "temporal_mask_span_len": m.time_span,
        "max_temporal_mask_prob": mask_share(m.time_start, m.time_span),
        "min_num_temporal_mask_spans": m.min_spans,
        "spatial_mask_span_len": m.channel_span,
        "max_spatial_mask_prob": mask_share(m.channel_start, m.channel_span),
    }
    if rows is None:
        head: dict[str, Any] = {
            "final_dim": a.final_size,
            "quantized_dim": a.codevector_size,
            "num_codebooks": a.codebook_groups,
            "num_codebook_entries": a.codebook_entries,
            "codebook_sampling_temperature": [r.tau_start, r.tau_end, r.tau_decay],
            "num_distractors": a.negatives,
            "logit_temp": a.logit_temperature,
        }
    else:
        head = {"target_vocab_size": rows, "final_dropout_p": r.final_dropout, "use_masking": True}
    found = {"tokenizer_family": "char_tokenizer", "tokenizer": "tokenizer.model"} if tokenizer else {}
    return {
        "name": "checkpoint",
        "model_family": "wav2vec2" if rows is None else "wav2vec2_asr",
        "model_config": {"encoder_config": _encoder_config(model), **head, **masks},
        "checkpoint": path.name,
        "sample_rate": SAMPLE_RATE,
        "normalize_audio": a.normalize_input,
        **input_entry(a),
        **found,
    }


def _encoder_config(model: Model) -> dict[str, Any]:
    a, r = model.architecture, model.regularization
    layers = zip(a.conv_channels, a.conv_kernels, a.conv_strides, strict=True)
    return {
        "model_dim": a.hidden_size,
        "feature_dim": a.feature_size,
        "first_pass_dropout_p": r.input_dropout,
        "layer_norm_features": not a.layer_norm_first,
        "feature_extractor_layer_descs": [list(layer) for layer in layers],
        "feature_extractor_bias": a.conv_bias,
        "feature_extractor_layer_norm_convs": a.conv_norm == "layer",
        # fairseq2 requires a scale above 0: it freezes by requires_grad.
        "feature_grad_scale": r.feature_grad_mult or 1.0,
        "pos_encoder_type": "conv",
        "pos_encoder_depth": a.pos_conv_depth,
        "pos_conv_kernel_size": a.pos_conv_kernel,
        "num_pos_conv_groups": a.pos_conv_groups,
        "num_encoder_layers": a.layers,
        "num_encoder_attn_heads": a.heads,
        "ffn_inner_dim": a.ffn_size,
        "dropout_p": r.dropout,
        "attn_dropout_p": r.attention_dropout,
        "ffn_inner_dropout_p": r.activation_dropout,
        "layer_drop_p": r.layerdrop,
        "norm_order": "PRE" if a.layer_norm_first else "POST",
    }
