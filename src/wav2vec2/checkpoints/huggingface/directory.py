"""Model directories in the Hugging Face format, opened and saved: transformers loads what we save, and the reverse.

An encoder that transformers has no class for is saved with a ``model_type`` of our own, so that transformers refuses it
instead of loading it wrongly.
"""

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.checkpoints.checkpoint import Checkpoint, Kind, Model, mask_share
from wav2vec2.checkpoints.huggingface.adapters import (
    HEAD,
    adapter_tensors,
    language_table,
    stored_language,
    write_adapter,
)
from wav2vec2.checkpoints.huggingface.config import PROCESSOR_FILE, read_config
from wav2vec2.checkpoints.huggingface.families import family_to_write, in_their_fields
from wav2vec2.checkpoints.huggingface.weights import (
    beside_encoder,
    head_shown_by,
    kind_shown_by,
    tensors_of,
    weight_path,
)
from wav2vec2.checkpoints.names import huggingface_name
from wav2vec2.checkpoints.other_tools import own_vocabulary
from wav2vec2.errors import UserError
from wav2vec2.model.architecture import Architecture, Masking, Regularization
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.model.encoder import Wav2Vec2Encoder
from wav2vec2.model.variants.variant import PROPOSED
from wav2vec2.output_file import writing_together
from wav2vec2.text.tokenizer_files import TOKENIZER_FILES
from wav2vec2.text.vocabulary import Vocabulary

# Buffers that some versions of transformers stored; none is a parameter of ours.
_IGNORED = (r"\.position_ids$", r"\.num_batches_tracked$")
_VARIED_SPANS = ("span_lengths", "span_spread", "overlap", "min_space")


def open_directory(directory: Path, language: str | None = None, *, without_weights: bool = False) -> Checkpoint:
    """Open a model directory, ours or transformers': read its configuration and vocabulary, but no weights.

    Weights may be in ``model.safetensors``, its shards, or ``pytorch_model.bin``, with either spelling of weight norm.
    Where the configuration does not say what kind of model it is, the names of the tensors do; of a model with another
    head than those for CTC and pre-training, the encoder is opened. ``language`` chooses adapter, head and symbols of a
    multilingual model (``adapter.LANGUAGE.safetensors``). ``without_weights``: they are not there, only the model is to
    be described; one whose kind the configuration does not say counts as an encoder then.

    Raises:
        UserError: A file is missing, cut short, or does not fit its configuration; the message names it and the tensor.
    """
    config = read_config(directory)
    architecture, family, kind, head = config.architecture, config.family, config.kind, ""
    if kind is None and without_weights:
        kind = "encoder"
    elif kind is None:
        names = tensors_of(directory, family).shapes
        kind = kind_shown_by(names, family)
        shown = head_shown_by(names, family) if kind == "encoder" else ""
        head = shown and (config.head or f"a head that is not known here ({shown})")
    multilingual = bool(config.architecture.adapter_size) and kind == "ctc"
    if language and not multilingual:
        raise UserError(f"{directory}: has no adapters; only a multilingual CTC model takes a language")
    adapter = language_table(directory, language) if language else None
    size = config.vocabulary_size if kind == "ctc" else None
    if adapter is not None:
        size = adapter.shapes[HEAD].shape[0]
    # transformers leaves the mask embedding out of models that never mask. Some old files, as base-960h's on the hub,
    # lack it although their configuration asks for masks: transformers draws a new one, here it is zero.
    unmasked = {"encoder.mask_embedding": torch.zeros(architecture.hidden_size)}
    return Checkpoint(
        path=directory if without_weights else weight_path(directory),
        file_format="model directory",
        kind=kind,
        architecture=architecture,
        regularization=config.regularization,
        masking=config.masking,
        tensors=lambda: tensors_of(directory, family, adapter),
        names=functools.partial(huggingface_name, prefix=family.prefix),
        vocabulary=_vocabulary(directory, size, language),
        vocabulary_size=size,
        blank=config.blank,
        longest_heard=config.longest_heard if kind == "ctc" else None,
        language=(language or stored_language(directory)) if multilingual else None,
        ignored=(*_IGNORED, beside_encoder(family)) if head else _IGNORED,
        optional=unmasked,
        head=head,
        origin=config.origin,
    )


def _vocabulary(directory: Path, size: int | None, language: str | None) -> Vocabulary | None:
    if size is None or not (directory / "vocab.json").exists():
        return None
    vocabulary = Vocabulary.load(directory, language=language, size=size)
    if len(vocabulary) != size:
        raise UserError(
            f"{directory / 'vocab.json'}: has {len(vocabulary)} symbols, the model's head has {size} rows; "
            "give the vocabulary that the model was trained with"
        )
    return vocabulary


def save(model: Model, directory: str | Path, dtype: torch.dtype = torch.float32) -> None:
    """Write a model directory that ``load`` and transformers read.

    Its files are ``config.json``, ``model.safetensors``, ``preprocessor_config.json`` and, for a CTC model with a
    vocabulary, the tokenizer's. A model with the adapters of a language that has a name has them in a file of their own
    as well, which transformers' ``load_adapter`` takes, and a table of symbols for that language. A
    ``processor_config.json`` of another model, which transformers would prefer, is removed. If writing fails, the files
    already in the directory are unchanged.

    Raises:
        UserError: The vocabulary does not fit the head, or the directory cannot be written (disk full, no permission).
    """
    target = Path(directory)
    vocabulary = own_vocabulary(model, target)
    language = model.language if isinstance(model, Wav2Vec2ForCTC) and model.architecture.adapter_size else None
    family = family_to_write(model.architecture, _kind(model))
    prefix = "" if isinstance(model, Wav2Vec2Encoder) else family.prefix
    names = functools.partial(huggingface_name, prefix=prefix)
    tensors = {names(name): value.detach() for name, value in model.state_dict().items()}
    with writing_together(target, obsolete=(*TOKENIZER_FILES, PROCESSOR_FILE)) as folder:
        _write_json(folder / "config.json", _model_config(model, dtype))
        _write_json(
            folder / "preprocessor_config.json",
            _preprocessor_config(model.architecture, with_tokenizer=vocabulary is not None),
        )
        if vocabulary is not None:
            vocabulary.save(folder, language=language)
        tensors = {name: value.to("cpu", dtype).contiguous() for name, value in tensors.items()}
        if language is not None:
            write_adapter(adapter_tensors(tensors), language, folder)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _model_config(model: Model, dtype: torch.dtype) -> dict[str, Any]:
    a, r, m = model.architecture, model.regularization, model.masking
    if isinstance(model, Wav2Vec2ForCTC):
        size, heard = model.head.out_features, model.longest_heard
        content = config_json(a, r, m, kind="ctc", vocabulary_size=size, blank=model.blank, dtype=dtype)
        return content if heard is None else {**content, "longest_heard": heard}
    return config_json(a, r, m, kind=_kind(model), dtype=dtype)


def _kind(model: Model) -> Kind:
    if isinstance(model, Wav2Vec2ForCTC):
        return "ctc"
    return "encoder" if isinstance(model, Wav2Vec2Encoder) else "pretraining"


def config_json(
    architecture: Architecture,
    regularization: Regularization,
    masking: Masking,
    *,
    kind: Kind,
    vocabulary_size: int | None = None,
    blank: int = 0,
    dtype: torch.dtype = torch.float32,
) -> dict[str, Any]:
    """Return the content of ``config.json``; ``vocabulary_size`` is None without a CTC head."""
    r, m = regularization, masking
    family = family_to_write(architecture, kind)
    proposed = Masking()
    spans = {name: getattr(m, name) for name in _VARIED_SPANS if getattr(m, name) != getattr(proposed, name)}
    config = {
        "model_type": family.model_type,
        "architectures": [next(name for name, known in family.classes.items() if known == kind)],
        **in_their_fields(family, _sizes(architecture)),
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
        "mask_time_prob": mask_share(m.time_start, m.time_span),
        "mask_time_length": m.time_span,
        "mask_time_min_masks": m.min_spans,
        "mask_feature_prob": mask_share(m.channel_start, m.channel_span),
        "mask_feature_length": m.channel_span,
        "mask_feature_min_masks": 0,
        **({"mask_time_variant": spans} if spans else {}),
        "diversity_loss_weight": 0.1,
        "ctc_loss_reduction": "sum",
        "ctc_zero_infinity": True,
        "initializer_range": 0.02,
        "pad_token_id": blank,
        "dtype": str(dtype).removeprefix("torch."),
    }
    return config if vocabulary_size is None else {**config, "vocab_size": vocabulary_size}


def _sizes(a: Architecture) -> dict[str, Any]:
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
        "input_epsilon": a.input_epsilon,
        **({"adapter_attn_dim": a.adapter_size} if a.adapter_size else {}),
        **({"pos_conv_depth": a.pos_conv_depth} if a.pos_conv_depth > 1 else {}),
        **({"variant": a.variant.differences()} if a.variant != PROPOSED else {}),
    }


def _preprocessor_config(a: Architecture, *, with_tokenizer: bool) -> dict[str, Any]:
    """Return the content of ``preprocessor_config.json``.

    The group-norm family was trained without an attention mask, which transformers' group norm would ignore.
    """
    content = {
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "do_normalize": a.normalize_input,
        "feature_size": 1,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": a.conv_norm == "layer",
        "sampling_rate": SAMPLE_RATE,
    }
    return {**content, "processor_class": "Wav2Vec2Processor"} if with_tokenizer else content
