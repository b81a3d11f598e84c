"""torchaudio's wav2vec 2.0 state dicts: reads those of all its bundles, and writes ones that ``wav2vec2_model`` loads.

A state dict holds nothing but tensors. Beside a ``model.pth`` we write ``model.json``, with the arguments of
``torchaudio.models.wav2vec2_model``, the labels, and whether the waveform is to be normalised; we read it back.

The heads of the fine-tuned bundles' files have rows that ``bundle.get_model()`` drops: rows 1 to 3, special symbols
that CTC never emits, and in some files the row of a stray label. They are dropped here, too; files without these rows
are also read. The files do not store their labels, so the labels are listed here.
"""

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.checkpoints.checkpoint import Checkpoint, Model
from wav2vec2.checkpoints.names import old_weight_norm, torchaudio_name
from wav2vec2.checkpoints.other_tools import (
    arranged_head,
    check_blank,
    check_expressible,
    input_entry,
    input_epsilon,
    own_vocabulary,
    plain_ids,
    plain_symbols,
    text_rules_entry,
    with_text_rules,
)
from wav2vec2.checkpoints.sizes import sizes_from_shapes
from wav2vec2.checkpoints.tensors.table import ChangedTable, TensorTable
from wav2vec2.checkpoints.tensors.torch_file import write_torch_file
from wav2vec2.config import read_json
from wav2vec2.errors import UserError, cause, quoted
from wav2vec2.model.architecture import Architecture, Masking, Regularization
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.output_file import writing_together
from wav2vec2.text.vocabulary import Vocabulary

_BLANK = "-"
_PAD = "<pad>"


@dataclass(frozen=True)
class BundleLabels:
    """The labels of a fine-tuned bundle.

    symbols: those that follow the blank. stray: row of a label that crept into VoxPopuli's training data.
    """

    symbols: tuple[str, ...]
    stray: int | None = None

    @property
    def dropped(self) -> tuple[int, ...]:
        """Rows of the file that the bundle drops: fairseq's three symbols that CTC never emits, and a stray label."""
        return (1, 2, 3) if self.stray is None else (1, 2, 3, self.stray)

    @property
    def kept_rows(self) -> int:
        """Rows of the bundle's model: the blank and the symbols."""
        return 1 + len(self.symbols)

    @property
    def file_rows(self) -> int:
        """Rows of the published file."""
        return self.kept_rows + len(self.dropped)


LIBRISPEECH = BundleLabels(tuple("|ETAONIHSRDLUMWCFGYPBVK'XJQZ"))
ALIGNMENT = BundleLabels(tuple("aienoutsrmkldghybpwcvjzf'qx"))
VOXPOPULI = {
    "de": BundleLabels(tuple("|enirstadhulgcmobwfkzpvüäöjßyxq"), 35),
    "en": BundleLabels(tuple("|etoiansrhldcumpfgwybvkxjqz"), 31),
    "es": BundleLabels(tuple("|eaosnrildctupmbqygvhófíájzñéxúkwü"), 35),
    "fr": BundleLabels(tuple("|esnitraouldcpmévqfgbhxàjèyêzôkçœûùîâwïëüæ")),
    "it": BundleLabels(tuple("|eiaontrlscdupmgvhzfbqàèùéòìkyxwjóíï")),
}
_LIBRISPEECH_FILES = ("asr_ll10m", "asr_ls100", "asr_ls960")
_BASE_SIZE = 768


def bundle_labels(
    file_stem: str, rows: int, *, layer_norm_extractor: bool, hidden_size: int
) -> tuple[BundleLabels | None, str]:
    """Return the labels of a head with ``rows`` rows (with or without those that are dropped), and how they were found.

    The name of a published file decides if it names the data that the model was trained on. Otherwise the shapes do:
    the VoxPopuli bundles are BASE models with a group-norm extractor, and the multilingual aligner has a layer-norm
    extractor. 32 rows are taken for LibriSpeech's, though English and German VoxPopuli have as many. If no labels fit,
    returns None and "".
    """
    named = any(mark in file_stem for mark in ("voxpopuli", *_LIBRISPEECH_FILES))
    if "voxpopuli" in file_stem:
        candidates = [labels for language, labels in VOXPOPULI.items() if file_stem.endswith(f"_{language}")]
    elif named:
        candidates = [LIBRISPEECH]
    elif layer_norm_extractor:
        candidates = [LIBRISPEECH, ALIGNMENT]
    else:
        candidates = [LIBRISPEECH, *(VOXPOPULI.values() if hidden_size == _BASE_SIZE else ())]
    fitting = [labels for labels in candidates if rows in (labels.kept_rows, labels.file_rows)]
    if not fitting:
        return None, ""
    if named:
        return fitting[0], "labels known from the file's name"
    others = f", which {len(fitting) - 1} other bundles have, too" if len(fitting) > 1 else ""
    return fitting[0], f"labels guessed from the {rows} rows of its head{others}; if they are wrong, give --vocabulary"


def is_torchaudio(shapes: Mapping[str, Tensor]) -> bool:
    """Whether a table of tensors has torchaudio's names."""
    return "encoder.feature_projection.projection.weight" in shapes


def open_torchaudio(path: Path, table: TensorTable) -> Checkpoint:
    """Open a torchaudio state dict; without an ``aux`` layer it is an encoder without a head.

    Raises:
        UserError: A tensor is missing, the description beside it is damaged, or sizes cannot be known.
    """
    table = ChangedTable(table, rename=lambda name: old_weight_norm(name.removeprefix("model.")))
    if not is_torchaudio(table.shapes):
        raise UserError(f"{path}: not a wav2vec 2.0 state dict of torchaudio; give the file of one of its bundles")
    described = _description(path)
    has_layer_norms = "feature_extractor.conv_layers.1.layer_norm.weight" in table.shapes
    arguments = described.get("arguments", {})
    architecture = sizes_from_shapes(
        table.shapes,
        torchaudio_name,
        path,
        layer_norm_first=bool(arguments.get("encoder_layer_norm_first", has_layer_norms)),
        described=_described_sizes(described, path),
    )
    rows = table.shapes["aux.weight"].shape[0] if "aux.weight" in table.shapes else None
    vocabulary, dropped, origin = (None, (), "") if rows is None else _vocabulary(path, described, rows, architecture)
    kept = [row for row in range(rows or 0) if row not in dropped]
    changed = {name: (lambda value: value[kept]) for name in ("aux.weight", "aux.bias")} if dropped else {}
    return Checkpoint(
        path=path,
        file_format="torchaudio state dict",
        kind="encoder" if rows is None else "ctc",
        architecture=architecture,
        regularization=_regularization(arguments),
        masking=Masking(),
        tensors=lambda: ChangedTable(table, changed=changed),
        names=torchaudio_name,
        vocabulary=vocabulary,
        vocabulary_size=len(kept) if rows is not None else None,
        optional={"encoder.mask_embedding": torch.zeros(architecture.hidden_size)},
        origin=origin,
    )


def _vocabulary(
    path: Path, described: Mapping[str, Any], rows: int, a: Architecture
) -> tuple[Vocabulary | None, tuple[int, ...], str]:
    """Return the described or known vocabulary of a head, the rows to drop, and how the labels were found."""
    if described.get("labels") is not None:
        vocabulary = _after_blank(described["labels"][1:])
        return with_text_rules(vocabulary, described, path.with_suffix(".json")), (), ""
    labels, recognised = bundle_labels(
        path.stem, rows, layer_norm_extractor=a.conv_norm == "layer", hidden_size=a.hidden_size
    )
    if labels is None:
        return None, (), ""
    return _after_blank(labels.symbols), labels.dropped if rows == labels.file_rows else (), recognised


def _after_blank(symbols: Sequence[str]) -> Vocabulary:
    return Vocabulary.from_symbols((_PAD, *symbols), blank=0)


def _description(path: Path) -> dict[str, Any]:
    beside = path.with_suffix(".json")
    if not beside.is_file():
        return {}
    described = read_json(beside)
    arguments, labels = described.get("arguments", {}), described.get("labels")
    symbols = isinstance(labels, list) and all(isinstance(label, str) for label in labels) and len(set(labels)) > 1
    if not isinstance(arguments, dict) or not (labels is None or symbols):
        raise UserError(f"{beside}: not the description of a torchaudio model; convert the model again")
    if described.get("sample_rate", SAMPLE_RATE) != SAMPLE_RATE:
        rate = quoted(described["sample_rate"])
        raise UserError(f"{beside}: sample_rate is {rate}; only {SAMPLE_RATE} Hz can be loaded")
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
        sizes["input_epsilon"] = input_epsilon(described)
    except (TypeError, ValueError, IndexError, KeyError, ArithmeticError) as error:
        beside = path.with_suffix(".json")
        raise UserError(f"{beside}: a size is impossible ({cause(error)}); convert the model again") from error
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
    """Write a model to ``path``, and its description beside it; return the files.

    For a pre-training model, only the encoder is written.

    Raises:
        UserError: torchaudio cannot express the model or a symbol, or the folder cannot be written.
    """
    check_expressible(model, path, "torchaudio", headless=True, stacked_positions=False)
    vocabulary = own_vocabulary(model, path)
    state = {name: value.detach() for name, value in model.state_dict().items()}
    labels = None
    if isinstance(model, Wav2Vec2ForCTC):
        check_blank(model, path, "torchaudio")
        if vocabulary is not None:
            symbols = plain_symbols(vocabulary, path)
            labels = [_BLANK if _BLANK not in symbols else _PAD, *symbols]
            ids = [vocabulary.blank, *plain_ids(vocabulary)]
            state["head.weight"], state["head.bias"] = arranged_head(model, ids)
    tensors = OrderedDict(
        (theirs, value.to("cpu", dtype).contiguous())
        for name, value in state.items()
        if (theirs := torchaudio_name(name)) is not None
    )
    rows = len(state["head.bias"]) if "head.bias" in state else None
    description = {
        "arguments": factory_arguments(model.architecture, model.regularization, rows),
        "labels": labels,
        "sample_rate": SAMPLE_RATE,
        "normalize_waveform": model.architecture.normalize_input,
        **input_entry(model.architecture),
        **text_rules_entry(vocabulary),
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
