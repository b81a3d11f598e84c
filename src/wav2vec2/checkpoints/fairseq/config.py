"""Conversion between the settings in a fairseq checkpoint and our dataclasses.

fairseq's ``mask_prob`` is the paper's p times the length of a span. Its ``conv_feature_layers`` is a Python expression
in a string; it is parsed, never evaluated.
"""

import ast
from collections.abc import Mapping
from typing import Any

from wav2vec2.checkpoints.checkpoint import mask_share, mask_start
from wav2vec2.checkpoints.sizes import named
from wav2vec2.errors import quoted
from wav2vec2.model.architecture import Architecture, Masking, Regularization
from wav2vec2.model.variants.variant import PROPOSED, Variant

# fairseq's defaults for the lengths and places of masked spans.
_SPANS: dict[str, Any] = {"mask_selection": "static", "mask_other": 0, "no_mask_overlap": False, "mask_min_space": 1}
# fairseq's defaults for settings that a file leaves out, but for the targets: all published models are quantized.
DEFAULTS: dict[str, Any] = {
    "extractor_mode": "default",
    "encoder_layers": 12,
    "encoder_embed_dim": 768,
    "encoder_ffn_embed_dim": 3072,
    "encoder_attention_heads": 12,
    "dropout": 0.1,
    "attention_dropout": 0.1,
    "activation_dropout": 0.0,
    "encoder_layerdrop": 0.0,
    "dropout_input": 0.0,
    "dropout_features": 0.0,
    "final_dim": 0,
    "layer_norm_first": False,
    "conv_feature_layers": "[(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512, 2, 2)] * 2",
    "conv_bias": False,
    "logit_temp": 0.1,
    "feature_grad_mult": 1.0,
    "latent_vars": 320,
    "latent_groups": 2,
    "latent_dim": 0,
    "latent_temp": (2, 0.5, 0.999995),
    "mask_prob": 0.65,
    "mask_length": 10,
    "mask_channel_prob": 0.0,
    "mask_channel_length": 10,
    "num_negatives": 100,
    "conv_pos": 128,
    "conv_pos_groups": 16,
    "pos_conv_depth": 1,
    "quantize_targets": True,
    "target_glu": False,
    "quantizer_depth": 1,
    "negatives_from_everywhere": False,
    "cross_sample_negatives": 0,
    "codebook_negatives": 0,
}
# Settings for which our model has only one value; with another value, fairseq's model computes something else. Whatever
# is neither here nor in DEFAULTS (masks of channels, checkpointing, padding to a multiple) leaves its outputs alone.
FIXED: dict[str, Any] = {
    "activation_fn": "gelu",
    "layer_type": "transformer",
    "conv_pos_batch_norm": False,
    "crop_seq_to_multiple": 1,
    "quantize_input": False,
}
VARIANTS = ("targets", "target_glu", "quantizer_depth", "negatives_from", "batch_negatives", "codebook_negatives")
"""Options of our pre-training head that fairseq has."""
_MODES = {"default": "group", "layer_norm": "layer"}
# fairseq's defaults for the settings of fine-tuning that a fine-tuned file leaves out.
FINETUNING: dict[str, Any] = {
    "dropout": 0.0,
    "attention_dropout": 0.0,
    "activation_dropout": 0.0,
    "dropout_input": 0.0,
    "final_dropout": 0.0,
    "mask_prob": 0.5,
    "mask_length": 10,
    "mask_channel_prob": 0.0,
    "mask_channel_length": 10,
    "feature_grad_mult": 0.0,
    **_SPANS,
}


def _literal(value: object) -> Any:
    return ast.literal_eval(value) if isinstance(value, str) else value


def parse_conv_layers(stored: object) -> list[tuple[int, int, int]]:
    """Return (channels, kernel, stride) of every layer, stored as nested lists or as a Python expression.

    An expression such as "[(512,10,5)] + [(512,3,2)] * 4" is never evaluated. It may consist of lists of tuples, sums,
    and products with a small number.

    Raises:
        ValueError: Anything else.
    """
    text = repr([tuple(layer) for layer in stored]) if isinstance(stored, list | tuple) else str(stored)

    def value(node: ast.expr) -> list[Any]:
        if isinstance(node, ast.List):
            return [tuple(ast.literal_eval(item)) for item in node.elts]
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return value(node.left) + value(node.right)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            many, times = (node.left, node.right) if isinstance(node.right, ast.Constant) else (node.right, node.left)
            if isinstance(times, ast.Constant) and isinstance(times.value, int) and 0 < times.value <= 100:
                return value(many) * times.value
        raise ValueError(f"conv_feature_layers {quoted(text)}")

    layers = value(ast.parse(text.strip(), mode="eval").body)
    triples = all(len(layer) == 3 and all(type(n) is int and n > 0 for n in layer) for layer in layers)
    if not triples or len(layers) > 100:
        raise ValueError(f"conv_feature_layers {quoted(text)}")
    return layers


def unsupported(pretraining: Mapping[str, Any], finetuning: Mapping[str, Any] | None) -> str:
    """Return the first setting under which our model would compute something else, with the reason; empty if none."""
    if pretraining.get("layer_type") == "conformer":
        kind = pretraining.get("pos_enc_type") or "abs"
        return (
            f"layer_type = 'conformer' is not supported (a Conformer encoder, {kind} positions); only 'transformer' "
            "can be loaded"
        )
    head = {"blank_weight": (finetuning or {}).get("blank_weight", 0)}
    for field, value in {**FIXED, "blank_weight": 0}.items():
        stored = {**pretraining, **head}.get(field, value)
        if stored != value:
            return f"{field} = {quoted(stored)} is not supported; only {quoted(value)} can be loaded"
    if (mode := pretraining.get("extractor_mode", "default")) not in _MODES:
        return f"extractor_mode = {quoted(mode)} is not supported; only {' and '.join(_MODES)} are"
    if finetuning is None and pretraining.get("quantizer_depth", 1) > 1 and pretraining.get("quantizer_factor", 3) != 3:
        return f"quantizer_factor = {quoted(pretraining['quantizer_factor'])} is not supported; only 3 can be loaded"
    if (pretraining.get("adp_num") or -1) > 0:
        return f"adp_num = {pretraining['adp_num']} is not supported; load MMS from its transformers directory"
    return ""


def _variant(s: Mapping[str, Any]) -> Variant:
    return Variant(
        targets="quantized" if s["quantize_targets"] else "continuous",
        target_glu=bool(s["target_glu"]),
        quantizer_depth=s["quantizer_depth"] if s["quantize_targets"] else 1,
        negatives_from="anywhere" if s["negatives_from_everywhere"] else "masked",
        batch_negatives=s["cross_sample_negatives"],
        codebook_negatives=s["codebook_negatives"] if s["quantize_targets"] else 0,
    )


def architecture(s: Mapping[str, Any], *, normalize: bool, epsilon: float, ctc: bool) -> Architecture:
    """Return the architecture that pre-training settings describe.

    ``normalize`` is a setting of the task, ``epsilon`` that of the normalisation. ``ctc``: a fine-tuned model no longer
    has the pre-training head, whose variant then does not count.
    """
    channels, kernels, strides = zip(*parse_conv_layers(s["conv_feature_layers"]), strict=True)
    final = s["final_dim"] or s["encoder_embed_dim"]
    return named(
        Architecture(
            name="custom",
            conv_channels=channels,
            conv_kernels=kernels,
            conv_strides=strides,
            conv_bias=bool(s["conv_bias"]),
            conv_norm=_MODES[s["extractor_mode"]],  # type: ignore[arg-type]
            normalize_input=normalize,
            input_epsilon=epsilon,
            hidden_size=s["encoder_embed_dim"],
            layers=s["encoder_layers"],
            ffn_size=s["encoder_ffn_embed_dim"],
            heads=s["encoder_attention_heads"],
            layer_norm_first=bool(s["layer_norm_first"]),
            pos_conv_kernel=s["conv_pos"],
            pos_conv_groups=s["conv_pos_groups"],
            pos_conv_depth=s["pos_conv_depth"],
            codebook_groups=s["latent_groups"],
            codebook_entries=s["latent_vars"],
            codevector_size=s["latent_dim"] or final,
            final_size=final,
            negatives=s["num_negatives"],
            logit_temperature=s["logit_temp"],
            variant=PROPOSED if ctc else _variant(s),
        )
    )


def regularization(s: Mapping[str, Any], finetuning: Mapping[str, Any] | None) -> Regularization:
    """Return the dropouts of pre-training settings, or those of ``finetuning`` if the model was fine-tuned."""
    start, end, decay = _literal(s["latent_temp"])
    layerdrop = s["encoder_layerdrop"]
    if finetuning is not None:
        s = {**s, **FINETUNING, **finetuning}
        layerdrop = finetuning.get("layerdrop", 0.0)
    return Regularization(
        dropout=s["dropout"],
        attention_dropout=s["attention_dropout"],
        activation_dropout=s["activation_dropout"],
        input_dropout=s["dropout_input"],
        feature_dropout=s["dropout_features"],
        final_dropout=s.get("final_dropout", 0.0),
        layerdrop=layerdrop,
        feature_grad_mult=s["feature_grad_mult"],
        tau_start=float(start),
        tau_end=float(end),
        tau_decay=float(decay),
    )


def masking(s: Mapping[str, Any]) -> Masking:
    """Return the masking of pre-training or fine-tuning settings; none if ``apply_mask`` is off."""
    used = float(s.get("apply_mask", True))
    s = {**_SPANS, **s}
    lengths, spread = s["mask_selection"], float(s["mask_other"] or 0)
    if lengths == "normal" and not spread:
        lengths = "static"
    found = Masking(
        time_start=mask_start(used * s["mask_prob"], s["mask_length"]),
        time_span=s["mask_length"],
        min_spans=2,
        channel_start=mask_start(used * s["mask_channel_prob"], s["mask_channel_length"]),
        channel_span=s["mask_channel_length"],
        span_lengths=lengths,
        span_spread=spread if lengths in ("uniform", "normal") else 0.0,
        overlap=not s["no_mask_overlap"],
        min_space=s["mask_min_space"],
    )
    found.check()
    return found


def pretraining_settings(a: Architecture, r: Regularization, m: Masking) -> dict[str, Any]:
    """Return fairseq's settings of a pre-trained model, which the three functions above read back."""
    layers = zip(a.conv_channels, a.conv_kernels, a.conv_strides, strict=True)
    return {
        "_name": "wav2vec2",
        **{name: FIXED[name] for name in ("activation_fn", "layer_type", "quantize_input")},
        "quantize_targets": a.variant.targets == "quantized",
        "target_glu": a.variant.target_glu,
        "quantizer_depth": a.variant.quantizer_depth,
        "negatives_from_everywhere": a.variant.negatives_from == "anywhere",
        "cross_sample_negatives": a.variant.batch_negatives,
        "codebook_negatives": a.variant.codebook_negatives,
        "extractor_mode": "default" if a.conv_norm == "group" else "layer_norm",
        "encoder_layers": a.layers,
        "encoder_embed_dim": a.hidden_size,
        "encoder_ffn_embed_dim": a.ffn_size,
        "encoder_attention_heads": a.heads,
        "layer_norm_first": a.layer_norm_first,
        "conv_feature_layers": str(list(layers)),
        "conv_bias": a.conv_bias,
        "conv_pos": a.pos_conv_kernel,
        "conv_pos_groups": a.pos_conv_groups,
        "pos_conv_depth": a.pos_conv_depth,
        "latent_vars": a.codebook_entries,
        "latent_groups": a.codebook_groups,
        "latent_dim": 0 if a.codevector_size == a.final_size else a.codevector_size,
        "final_dim": a.final_size,
        "num_negatives": a.negatives,
        "logit_temp": a.logit_temperature,
        "dropout": r.dropout,
        "attention_dropout": r.attention_dropout,
        "activation_dropout": r.activation_dropout,
        "dropout_input": r.input_dropout,
        "dropout_features": r.feature_dropout,
        "encoder_layerdrop": r.layerdrop,
        "feature_grad_mult": r.feature_grad_mult,
        "latent_temp": [r.tau_start, r.tau_end, r.tau_decay],
        **_mask_settings(m),
    }


def finetuning_settings(r: Regularization, m: Masking, normalize: bool) -> dict[str, Any]:
    """Return fairseq's settings of a CTC model, without the pre-training settings that it carries beside them."""
    return {
        "_name": "wav2vec_ctc",
        "w2v_path": "",
        "normalize": normalize,
        "apply_mask": m.time_start > 0 or m.channel_start > 0,
        "dropout": r.dropout,
        "attention_dropout": r.attention_dropout,
        "activation_dropout": r.activation_dropout,
        "dropout_input": r.input_dropout,
        "final_dropout": r.final_dropout,
        "layerdrop": r.layerdrop,
        "feature_grad_mult": r.feature_grad_mult,
        **_mask_settings(m),
    }


def _mask_settings(m: Masking) -> dict[str, Any]:
    spans = dict(zip(_SPANS, (m.span_lengths, m.span_spread, not m.overlap, m.min_space), strict=True))
    return {
        # older fairseq refuses a setting that it does not know
        **{name: value for name, value in spans.items() if value != _SPANS[name]},
        "mask_prob": mask_share(m.time_start, m.time_span),
        "mask_length": m.time_span,
        "mask_channel_prob": mask_share(m.channel_start, m.channel_span),
        "mask_channel_length": m.channel_span,
    }
