"""The names of our parameters in other tools: transformers, fairseq, fairseq2 and torchaudio.

Every name is translated from ours, so one table serves reading and writing.
"""

import re
from collections.abc import Iterable

_Rules = tuple[tuple[str, str], ...]
_ENCODER_PREFIX = "wav2vec2."

_HUGGINGFACE: _Rules = (
    (r"encoder\.feature_encoder\.layers\.(\d+)\.conv\.", r"wav2vec2.feature_extractor.conv_layers.\1.conv."),
    (r"encoder\.feature_encoder\.layers\.(\d+)\.norm\.", r"wav2vec2.feature_extractor.conv_layers.\1.layer_norm."),
    (r"encoder\.feature_norm\.", "wav2vec2.feature_projection.layer_norm."),
    (r"encoder\.feature_projection\.", "wav2vec2.feature_projection.projection."),
    (r"encoder\.mask_embedding", "wav2vec2.masked_spec_embed"),
    (r"encoder\.context\.pos_conv\.layers\.(\d+)\.", r"wav2vec2.encoder.pos_conv_embed.layers.\1.conv."),
    (r"encoder\.context\.pos_conv\.weight_g", "wav2vec2.encoder.pos_conv_embed.conv.parametrizations.weight.original0"),
    (r"encoder\.context\.pos_conv\.weight_v", "wav2vec2.encoder.pos_conv_embed.conv.parametrizations.weight.original1"),
    (r"encoder\.context\.pos_conv\.bias", "wav2vec2.encoder.pos_conv_embed.conv.bias"),
    (r"encoder\.context\.norm\.", "wav2vec2.encoder.layer_norm."),
    (
        r"encoder\.context\.layers\.(\d+)\.attention\.(query|key|value|out)\.",
        r"wav2vec2.encoder.layers.\1.attention.\2_proj.",
    ),
    (r"encoder\.context\.layers\.(\d+)\.attention_norm\.", r"wav2vec2.encoder.layers.\1.layer_norm."),
    (r"encoder\.context\.layers\.(\d+)\.ffn_in\.", r"wav2vec2.encoder.layers.\1.feed_forward.intermediate_dense."),
    (r"encoder\.context\.layers\.(\d+)\.ffn_out\.", r"wav2vec2.encoder.layers.\1.feed_forward.output_dense."),
    (r"encoder\.context\.layers\.(\d+)\.ffn_norm\.", r"wav2vec2.encoder.layers.\1.final_layer_norm."),
    (r"encoder\.context\.layers\.(\d+)\.adapter\.norm\.", r"wav2vec2.encoder.layers.\1.adapter_layer.norm."),
    (r"encoder\.context\.layers\.(\d+)\.adapter\.down\.", r"wav2vec2.encoder.layers.\1.adapter_layer.linear_1."),
    (r"encoder\.context\.layers\.(\d+)\.adapter\.up\.", r"wav2vec2.encoder.layers.\1.adapter_layer.linear_2."),
    (r"quantizer\.logits\.", "quantizer.weight_proj."),
    (r"quantizer\.codevectors", "quantizer.codevectors"),
    (r"quantizer\.project\.", "project_q."),
    (r"quantizer\.glu\.", "target_glu."),
    (r"target_encoder\.feature_encoder\.layers\.(\d+)\.conv\.", r"target_encoder.conv_layers.\1.conv."),
    (r"target_encoder\.feature_encoder\.layers\.(\d+)\.norm\.", r"target_encoder.conv_layers.\1.layer_norm."),
    (r"target_encoder\.feature_norm\.", "target_encoder.layer_norm."),
    (r"encoder\.input_quantizer\.logits\.", "wav2vec2.input_quantizer.weight_proj."),
    (r"encoder\.input_quantizer\.codevectors", "wav2vec2.input_quantizer.codevectors"),
    (r"context_projection\.", "project_hid."),
    (r"head\.", "lm_head."),
)

_FAIRSEQ: _Rules = (
    (r"encoder\.feature_encoder\.layers\.(\d+)\.conv\.", r"feature_extractor.conv_layers.\1.0."),
    (r"encoder\.feature_norm\.", "layer_norm."),
    (r"encoder\.feature_projection\.", "post_extract_proj."),
    (r"encoder\.mask_embedding", "mask_emb"),
    (r"encoder\.context\.pos_conv\.layers\.(\d+)\.", r"encoder.pos_conv.\1.0."),
    (r"encoder\.context\.pos_conv\.", "encoder.pos_conv.0."),
    (r"encoder\.context\.norm\.", "encoder.layer_norm."),
    (r"encoder\.context\.layers\.(\d+)\.attention\.(query|key|value)\.", r"encoder.layers.\1.self_attn.\2_proj."),
    (r"encoder\.context\.layers\.(\d+)\.attention\.out\.", r"encoder.layers.\1.self_attn.out_proj."),
    (r"encoder\.context\.layers\.(\d+)\.attention_norm\.", r"encoder.layers.\1.self_attn_layer_norm."),
    (r"encoder\.context\.layers\.(\d+)\.ffn_in\.", r"encoder.layers.\1.fc1."),
    (r"encoder\.context\.layers\.(\d+)\.ffn_out\.", r"encoder.layers.\1.fc2."),
    (r"encoder\.context\.layers\.(\d+)\.ffn_norm\.", r"encoder.layers.\1.final_layer_norm."),
    (r"quantizer\.logits\.", "quantizer.weight_proj."),
    (r"quantizer\.codevectors", "quantizer.vars"),
    (r"quantizer\.project\.", "project_q."),
    (r"quantizer\.glu\.", "target_glu."),
    (r"context_projection\.", "final_proj."),
)

_FAIRSEQ2: _Rules = (
    (r"encoder\.feature_encoder\.layers\.(\d+)\.conv\.", r"encoder_frontend.feature_extractor.layers.\1.conv."),
    (r"encoder\.feature_norm\.", "encoder_frontend.post_extract_layer_norm."),
    (r"encoder\.feature_projection\.", "encoder_frontend.model_dim_proj."),
    (r"encoder\.mask_embedding", "masker.temporal_mask_embed"),
    (r"encoder\.context\.pos_conv\.layers\.(\d+)\.", r"encoder_frontend.pos_encoder.layers.\1.conv."),
    (r"encoder\.context\.pos_conv\.", "encoder_frontend.pos_encoder.conv."),
    (r"encoder\.context\.layers\.(\d+)\.attention\.(query|key|value)\.", r"encoder.layers.\1.self_attn.\2_proj."),
    (r"encoder\.context\.layers\.(\d+)\.attention\.out\.", r"encoder.layers.\1.self_attn.output_proj."),
    (r"encoder\.context\.layers\.(\d+)\.attention_norm\.", r"encoder.layers.\1.self_attn_layer_norm."),
    (r"encoder\.context\.layers\.(\d+)\.ffn_in\.", r"encoder.layers.\1.ffn.inner_proj."),
    (r"encoder\.context\.layers\.(\d+)\.ffn_out\.", r"encoder.layers.\1.ffn.output_proj."),
    (r"encoder\.context\.layers\.(\d+)\.ffn_norm\.", r"encoder.layers.\1.ffn_layer_norm."),
    (r"quantizer\.logits\.", "quantizer.entry_proj."),
    (r"quantizer\.codevectors", "quantizer.entries"),
    (r"quantizer\.project\.", "final_target_proj."),
    (r"context_projection\.", "final_proj."),
    (r"head\.", "final_proj."),
)

_TORCHAUDIO: _Rules = (
    (r"encoder\.feature_encoder\.layers\.(\d+)\.conv\.", r"feature_extractor.conv_layers.\1.conv."),
    (r"encoder\.feature_encoder\.layers\.(\d+)\.norm\.", r"feature_extractor.conv_layers.\1.layer_norm."),
    (r"encoder\.feature_norm\.", "encoder.feature_projection.layer_norm."),
    (r"encoder\.feature_projection\.", "encoder.feature_projection.projection."),
    (r"encoder\.context\.pos_conv\.", "encoder.transformer.pos_conv_embed.conv."),
    (r"encoder\.context\.norm\.", "encoder.transformer.layer_norm."),
    (
        r"encoder\.context\.layers\.(\d+)\.attention\.(query|key|value|out)\.",
        r"encoder.transformer.layers.\1.attention.\2_proj.",
    ),
    (r"encoder\.context\.layers\.(\d+)\.attention_norm\.", r"encoder.transformer.layers.\1.layer_norm."),
    (r"encoder\.context\.layers\.(\d+)\.ffn_in\.", r"encoder.transformer.layers.\1.feed_forward.intermediate_dense."),
    (r"encoder\.context\.layers\.(\d+)\.ffn_out\.", r"encoder.transformer.layers.\1.feed_forward.output_dense."),
    (r"encoder\.context\.layers\.(\d+)\.ffn_norm\.", r"encoder.transformer.layers.\1.final_layer_norm."),
    (r"head\.", "aux."),
)

_EXTRACTOR_NORM = re.compile(r"encoder\.feature_encoder\.layers\.(\d+)\.norm\.(\w+)")
_DEEP_LOGITS = re.compile(r"quantizer\.logits\.(\d+)\.(\w+)")
_WEIGHT_NORM = {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1"}


def _translate(name: str, rules: _Rules) -> str:
    for pattern, replacement in rules:
        translated, count = re.subn(f"^{pattern}", replacement, name)
        if count:
            return re.sub(r"\.(query|key|value)_proj\.", lambda m: f".{m[1][0]}_proj.", translated)
    raise KeyError(name)


def huggingface_name(name: str, *, prefix: str = _ENCODER_PREFIX) -> str:
    """Return transformers' name of one of our parameters, with the encoder's ``prefix``, which other families change.

    A model that is an encoder alone has none.
    """
    translated = _translate(name, _HUGGINGFACE)
    rest = translated.removeprefix(_ENCODER_PREFIX)
    return translated if rest == translated else f"{prefix}{rest}"


def fairseq_name(name: str, *, ctc: bool, layer_norm_extractor: bool, quantizer_depth: int = 1) -> str:
    """Return fairseq's name of one of our parameters; ``ctc``: in a fine-tuned model, which adds prefixes.

    ``quantizer_depth`` is the number of layers that compute the codebook logits.
    """
    if name.startswith("head."):
        return f"w2v_encoder.proj.{name.removeprefix('head.')}"
    norm, deep = _EXTRACTOR_NORM.fullmatch(name), _DEEP_LOGITS.fullmatch(name)
    if deep:
        # a pair (linear, GELU) for each layer but the last, where ours counts linear layers and GELUs alike
        place = int(deep[1]) // 2
        theirs = f"quantizer.weight_proj.{place}{'' if place == quantizer_depth - 1 else '.0'}.{deep[2]}"
    elif norm:
        # Sequential(conv, dropout, norm, gelu), where a layer norm sits between two transposes.
        middle = "2.1" if layer_norm_extractor else "2"
        theirs = f"feature_extractor.conv_layers.{norm[1]}.{middle}.{norm[2]}"
    else:
        theirs = _translate(name, _FAIRSEQ)
    return f"w2v_encoder.w2v_model.{theirs}" if ctc else theirs


def fairseq2_name(name: str, *, layer_norm_extractor: bool, layer_norm_first: bool) -> str:
    """Return fairseq2's name of one of our parameters.

    The layer norm beside the Transformer belongs to the encoder in pre-LN models and to its frontend in post-LN ones.
    """
    norm = _EXTRACTOR_NORM.fullmatch(name)
    if norm:
        kind = "layer_norm" if layer_norm_extractor else "group_norm"
        return f"encoder_frontend.feature_extractor.layers.{norm[1]}.{kind}.{norm[2]}"
    if name.startswith("encoder.context.norm."):
        owner = "encoder" if layer_norm_first else "encoder_frontend"
        return f"{owner}.layer_norm.{name.removeprefix('encoder.context.norm.')}"
    return _translate(name, _FAIRSEQ2)


def torchaudio_name(name: str) -> str | None:
    """Return torchaudio's name of one of our parameters; None for a parameter that its models lack."""
    try:
        return _translate(name, _TORCHAUDIO)
    except KeyError:
        return None


def old_weight_norm(name: str) -> str:
    """Return a name with torch's newer spelling of weight norm changed to ``weight_g`` and ``weight_v``."""
    for old, new in _WEIGHT_NORM.items():
        name = re.sub(rf"\.{re.escape(new)}$", f".{old}", name)
    return name


def new_weight_norm(name: str) -> str:
    """Return a name with torch's older spelling of weight norm changed to ``parametrizations.weight.original0/1``."""
    for old, new in _WEIGHT_NORM.items():
        name = re.sub(rf"\.{old}$", f".{new}", name)
    return name


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether any of the regular expressions matches some part of a name."""
    return any(re.search(pattern, name) for pattern in patterns)
