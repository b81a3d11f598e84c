"""torchaudio's wav2vec 2.0 state dicts: read every bundle's, and write ones that ``wav2vec2_model`` loads.

A state dict says nothing but tensors. Beside a written ``model.pth`` lies ``model.json`` with the arguments of
``torchaudio.models.wav2vec2_model``, the labels, and whether the waveform is normalised; reading understands it too.

The files of the fine-tuned bundles have 32 rows in their head; ``bundle.get_model()`` drops rows 1 to 3 (names that
CTC never emits) and is left with 29 labels, blank first. Both kinds are read: the dropped rows stay dropped.
"""

import json
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wav2vec2.checkpoints.checkpoint import Checkpoint, Model
from wav2vec2.checkpoints.head_rows import arranged, own_vocabulary, stored_rules, symbols_for, with_stored_rules
from wav2vec2.checkpoints.huggingface.config import read_json
from wav2vec2.checkpoints.names import old_weight_norm, torchaudio_name
from wav2vec2.checkpoints.tensors.sizes import sizes_from_shapes
from wav2vec2.checkpoints.tensors.table import ChangedTable, TensorTable
from wav2vec2.checkpoints.tensors.torch_file import write_torch_file
from wav2vec2.checkpoints.torchaudio.labels import bundle_labels
from wav2vec2.checkpoints.write_checks import check_expressible
from wav2vec2.errors import UserError
from wav2vec2.model.architecture import SAMPLE_RATE, Architecture, Masking, Regularization
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.output_file import writing_together
from wav2vec2.text.vocabulary import Vocabulary

_BLANK = "-"
_PAD = "<pad>"


def is_torchaudio(shapes: Mapping[str, Tensor]) -> bool:
    """Tell whether a table of tensors has torchaudio's names."""
    return "encoder.feature_projection.projection.weight" in shapes


def open_torchaudio(path: Path, table: TensorTable) -> Checkpoint:
    """Open a state dict of torchaudio's; without an ``aux`` layer it is an encoder without a head.

    Raises:
        UserError: A tensor is missing, the description beside it is damaged, or sizes cannot be known.
    """
    table = ChangedTable(table, rename=lambda name: old_weight_norm(name.removeprefix("model.")))
    if not is_torchaudio(table.shapes):
        raise UserError(f"{path}: not a wav2vec 2.0 state dict of torchaudio's; give the file of one of its bundles")
    described = _description(path)
    has_layer_norms = "feature_extractor.conv_layers.1.layer_norm.weight" in table.shapes
    arguments = described.get("arguments", {})
    architecture = sizes_from_shapes(
        table.shapes,
        _known_name,
        path,
        layer_norm_first=bool(arguments.get("encoder_layer_norm_first", has_layer_norms)),
        described=_described_sizes(described, path),
    )
    stored = table.shapes["aux.weight"].shape[0] if "aux.weight" in table.shapes else None
    vocabulary, dropped, origin = (None, (), "") if stored is None else _labels(path, described, stored, architecture)
    kept = [row for row in range(stored or 0) if row not in dropped]
    changed = {name: (lambda value: value[kept]) for name in ("aux.weight", "aux.bias")} if dropped else {}
    return Checkpoint(
        path=path,
        file_format="torchaudio state dict",
        kind="encoder" if stored is None else "ctc",
        architecture=architecture,
        regularization=_regularization(arguments),
        masking=Masking(),
        tensors=lambda: ChangedTable(table, changed=changed),
        names=_known_name,
        vocabulary=vocabulary,
        vocabulary_size=len(kept) if stored is not None else None,
        optional={"encoder.mask_embedding": torch.zeros(architecture.hidden_size)},
        origin=origin,
    )


def _known_name(name: str) -> str:
    """Their name of a parameter; what they do not have gets a name that no file holds."""
    try:
        return torchaudio_name(name)
    except KeyError:
        return f"(none) {name}"


def _labels(
    path: Path, described: Mapping[str, Any], rows: int, a: Architecture
) -> tuple[Vocabulary | None, tuple[int, ...], str]:
    """Return the symbol table of a head, described or known, which of its rows are to be dropped, and what told it."""
    if described.get("labels") is not None:
        return with_stored_rules(_table(described["labels"][1:]), described, path.with_suffix(".json")), (), ""
    labels, told = bundle_labels(
        path.stem, rows, layer_norm_extractor=a.conv_norm == "layer", hidden_size=a.hidden_size
    )
    if labels is None:
        return None, (), ""
    return _table(labels.symbols), labels.dropped if rows == labels.file_rows else (), told


def _table(symbols: Any) -> Vocabulary:
    return Vocabulary.from_symbols((_PAD, *symbols), blank=0)


def _description(path: Path) -> dict[str, Any]:
    beside = path.with_suffix(".json")
    if not beside.is_file():
        return {}
    described = read_json(beside)
    arguments, labels = described.get("arguments", {}), described.get("labels")
    good = isinstance(arguments, dict) and (labels is None or (isinstance(labels, list) and len(set(labels)) > 1))
    if not good:
        raise UserError(f"{beside}: not the description of a torchaudio model; write it again")
    if described.get("sample_rate", SAMPLE_RATE) != SAMPLE_RATE:
        raise UserError(f"{beside}: sample_rate is {described['sample_rate']}; only {SAMPLE_RATE} Hz can be loaded")
    return described


def _described_sizes(described: Mapping[str, Any], path: Path) -> dict[str, Any]:
    sizes: dict[str, Any] = {}
    arguments = described.get("arguments", {})
    try:
        if "extractor_conv_layer_config" in arguments:
            sizes["conv_strides"] = tuple(int(layer[2]) for layer in arguments["extractor_conv_layer_config"])
        if "encoder_num_heads" in arguments:
            sizes["heads"] = int(arguments["encoder_num_heads"])
        if "normalize_waveform" in described:
            sizes["normalize_input"] = bool(described["normalize_waveform"])
    except (TypeError, ValueError, IndexError, KeyError) as error:
        raise UserError(f"{path.with_suffix('.json')}: a size is impossible ({error}); write it again") from error
    return sizes


def _regularization(arguments: Mapping[str, Any]) -> Regularization:
    ours = Regularization(feature_grad_mult=1.0)
    return Regularization(
        dropout=arguments.get("encoder_dropout", ours.dropout),
        attention_dropout=arguments.get("encoder_attention_dropout", ours.attention_dropout),
        activation_dropout=arguments.get("encoder_ff_interm_dropout", ours.activation_dropout),
        input_dropout=arguments.get("encoder_projection_dropout", ours.input_dropout),
        layerdrop=arguments.get("encoder_layer_drop", ours.layerdrop),
        feature_grad_mult=ours.feature_grad_mult,
    )


def save_torchaudio(model: Model, path: Path, dtype: torch.dtype) -> list[Path]:
    """Write ``path`` and its description; return the files. A pre-training model gives its encoder.

    Raises:
        UserError: torchaudio cannot express the model or a symbol, or the folder cannot be written.
    """
    check_expressible(model, path, "torchaudio", headless=True, stacked_positions=False)
    vocabulary = own_vocabulary(model, path)
    state = {name: value.detach() for name, value in model.state_dict().items()}
    labels = None
    if isinstance(model, Wav2Vec2ForCTC) and vocabulary is not None:
        rows = [row for row in vocabulary.fairseq_order[4:] if row is not None]
        symbols = symbols_for(vocabulary, rows, path)
        labels = [_BLANK if _BLANK not in symbols else _PAD, *symbols]
        state["head.weight"], state["head.bias"] = arranged(model, [vocabulary.blank, *rows])
    elif isinstance(model, Wav2Vec2ForCTC) and model.blank != 0:
        raise UserError(f"{path}: torchaudio's blank is row 0, the model's {model.blank}; name its --vocabulary")
    tensors = OrderedDict(
        (theirs, value.to("cpu", dtype).contiguous())
        for name, value in state.items()
        if not (theirs := _known_name(name)).startswith("(none)")
    )
    description = {
        "arguments": factory_arguments(
            model.architecture, model.regularization, len(state["head.bias"]) if "head.bias" in state else None
        ),
        "labels": labels,
        "sample_rate": SAMPLE_RATE,
        "normalize_waveform": model.architecture.normalize_input,
        **stored_rules(vocabulary),
    }
    with writing_together(path.parent, last=path.name) as folder:
        write_torch_file(tensors, folder / path.name)
        text = json.dumps(description, ensure_ascii=False, indent=2)
        (folder / path.name).with_suffix(".json").write_text(text + "\n", encoding="utf-8")
    return [path, path.with_suffix(".json")]


def factory_arguments(a: Architecture, r: Regularization, rows: int | None) -> dict[str, Any]:
    """Return the arguments of ``torchaudio.models.wav2vec2_model`` that build this model."""
    return {
        "extractor_mode": f"{a.conv_norm}_norm",
        "extractor_conv_layer_config": [
            list(layer) for layer in zip(a.conv_channels, a.conv_kernels, a.conv_strides, strict=True)
        ],
        "extractor_conv_bias": a.conv_bias,
        "encoder_embed_dim": a.hidden_size,
        "encoder_projection_dropout": r.input_dropout,
        "encoder_pos_conv_kernel": a.pos_conv_kernel,
        "encoder_pos_conv_groups": a.pos_conv_groups,
        "encoder_num_layers": a.layers,
        "encoder_num_heads": a.heads,
        "encoder_attention_dropout": r.attention_dropout,
        "encoder_ff_interm_features": a.ffn_size,
        "encoder_ff_interm_dropout": r.activation_dropout,
        "encoder_dropout": r.dropout,
        "encoder_layer_norm_first": a.layer_norm_first,
        "encoder_layer_drop": r.layerdrop,
        "aux_num_out": rows,
    }
