"""What a ``config.json`` may leave out, and which sizes it may hold."""

import itertools
from collections.abc import Mapping
from typing import Any

# What transformers assumes for a field that the file leaves out.
DEFAULTS: dict[str, Any] = {
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


def check_sizes(config: Mapping[str, Any]) -> None:
    """Raise ValueError for a size that is not a positive whole number, before anything is computed with it."""
    lists = (config[name] for name in ("conv_dim", "conv_kernel", "conv_stride"))
    single = (config[name] for name in ("hidden_size", "intermediate_size", "num_conv_pos_embeddings", "vocab_size"))
    sizes = [config["num_hidden_layers"], *single, *itertools.chain(*lists)]
    if not all(isinstance(size, int) and size > 0 for size in sizes):
        raise ValueError("a size is not a positive whole number")
    if config["num_hidden_layers"] > _MOST_LAYERS:  # each is built: this would take for ever
        raise ValueError(f"{config['num_hidden_layers']} layers")
    rest = (config.get("pos_conv_depth", 1), config.get("adapter_attn_dim") or 0)
    if not all(type(size) is int and size >= 0 for size in rest):
        raise ValueError("a size is not a whole number")
    if not isinstance(config["layer_norm_eps"], float):
        raise ValueError(f"layer_norm_eps {config['layer_norm_eps']!r}")
