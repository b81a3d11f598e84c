"""What each parameter is called: ours, transformers' and fairseq's; and putting named tensors into a model.

Every name is translated from ours, so one table serves reading and writing.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from wav2vec2.errors import UserError

_Model = TypeVar("_Model", bound=nn.Module)
_Rules = tuple[tuple[str, str], ...]

_HUGGINGFACE: _Rules = (
    (r"encoder\.feature_encoder\.layers\.(\d+)\.conv\.", r"wav2vec2.feature_extractor.conv_layers.\1.conv."),
    (r"encoder\.feature_encoder\.layers\.(\d+)\.norm\.", r"wav2vec2.feature_extractor.conv_layers.\1.layer_norm."),
    (r"encoder\.feature_norm\.", "wav2vec2.feature_projection.layer_norm."),
    (r"encoder\.feature_projection\.", "wav2vec2.feature_projection.projection."),
    (r"encoder\.mask_embedding", "wav2vec2.masked_spec_embed"),
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
    (r"quantizer\.logits\.", "quantizer.weight_proj."),
    (r"quantizer\.codevectors", "quantizer.codevectors"),
    (r"quantizer\.project\.", "project_q."),
    (r"context_projection\.", "project_hid."),
    (r"head\.", "lm_head."),
)

_FAIRSEQ: _Rules = (
    (r"encoder\.feature_encoder\.layers\.(\d+)\.conv\.", r"feature_extractor.conv_layers.\1.0."),
    (r"encoder\.feature_norm\.", "layer_norm."),
    (r"encoder\.feature_projection\.", "post_extract_proj."),
    (r"encoder\.mask_embedding", "mask_emb"),
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
    (r"context_projection\.", "final_proj."),
)


def _translate(name: str, rules: _Rules) -> str:
    for pattern, replacement in rules:
        translated, count = re.subn(f"^{pattern}", replacement, name)
        if count:
            return translated
    raise KeyError(name)


def huggingface_name(name: str) -> str:
    """Return what transformers calls one of our parameters (of either model)."""
    return re.sub(r"\.(query|key|value)_proj\.", lambda m: f".{m[1][0]}_proj.", _translate(name, _HUGGINGFACE))


def fairseq_name(name: str, *, ctc: bool, layer_norm_extractor: bool) -> str:
    """Return what fairseq calls one of our parameters; a fine-tuned file has its own prefixes."""
    if name.startswith("head."):
        return f"w2v_encoder.proj.{name.removeprefix('head.')}"
    norm = re.match(r"encoder\.feature_encoder\.layers\.(\d+)\.norm\.(\w+)$", name)
    if norm:
        # Sequential(conv, dropout, norm, gelu); the layer norm sits between two transposes.
        middle = "2.1" if layer_norm_extractor else "2"
        theirs = f"feature_extractor.conv_layers.{norm[1]}.{middle}.{norm[2]}"
    else:
        theirs = re.sub(r"\.(query|key|value)_proj\.", lambda m: f".{m[1][0]}_proj.", _translate(name, _FAIRSEQ))
    return f"w2v_encoder.w2v_model.{theirs}" if ctc else theirs


def one_weight_norm_spelling(tensors: Mapping[str, Tensor], *, parametrized: bool) -> dict[str, Tensor]:
    """Return the tensors with torch's two spellings of weight norm (``weight_g``, ``parametrizations``) made one."""
    spellings = {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1"}
    if not parametrized:
        spellings = {new: old for old, new in spellings.items()}
    renamed = {}
    for name, tensor in tensors.items():
        for old, new in spellings.items():
            name = re.sub(rf"\.{re.escape(old)}$", f".{new}", name)
        renamed[name] = tensor
    return renamed


def fill(
    build: Callable[[], _Model],
    tensors: Mapping[str, Tensor],
    theirs: Callable[[str], str],
    source: object,
    *,
    ignored: Iterable[str] = (),
) -> _Model:
    """Return ``build()`` with every parameter taken from ``tensors`` as float32; nothing may be missing or left over.

    ``theirs`` gives a parameter's name in ``tensors``; names that match a pattern of ``ignored`` may be left over. The
    model is built without memory of its own, so a large one is held once.

    Raises:
        UserError: A tensor is missing, has another shape, is not finite, or is not expected; the message names it and
            ``source``.
    """
    with torch.device("meta"):
        model = build()
    state: dict[str, Tensor] = {}
    used = set()
    for name, expected in model.state_dict().items():
        key = theirs(name)
        if key not in tensors:
            raise UserError(f"{source}: tensor {key} is missing; give the complete file with its own configuration")
        found = tensors[key]
        if not isinstance(found, Tensor) or found.shape != expected.shape:
            shape = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise UserError(f"{source}: tensor {key} has shape {shape}, its configuration says {list(expected.shape)}")
        state[name] = found.to(torch.float32).contiguous()
        if not (found.is_meta or state[name].sum(dtype=torch.float64).isfinite()):
            raise UserError(f"{source}: tensor {key} holds numbers that are not finite; give the model of a sound run")
        used.add(key)
    unexpected = [key for key in tensors if key not in used and not any(re.search(p, key) for p in ignored)]
    if unexpected:
        more = f" and {len(unexpected) - 1} more" if len(unexpected) > 1 else ""
        raise UserError(
            f"{source}: unexpected tensor {unexpected[0]}{more}; its configuration belongs to another kind of model"
        )
    model.load_state_dict(state, assign=True)
    return model
