"""fairseq2's wav2vec 2.0 checkpoints, omnilingual's among them, read and written.

A file holds a state dict, at its top or under ``model``. The folder of a training run holds a card, ``model.yaml``, and
shards below ``step_N/model``. Sizes come from the shapes of the tensors, the rest from the card if there is one. The
rows of a CTC head are in fairseq's order: row 0 is the blank. Its symbols are in a SentencePiece model beside the file.
"""

import functools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wav2vec2.checkpoints.checkpoint import Checkpoint, Model
from wav2vec2.checkpoints.fairseq2.config import card, described_sizes, masking, read_card, regularization
from wav2vec2.checkpoints.fairseq2.sentencepiece import read_pieces, write_character_model
from wav2vec2.checkpoints.names import fairseq2_name, old_weight_norm
from wav2vec2.checkpoints.other_tools import (
    check_expressible,
    fairseq_tensors,
    identity_projection,
    own_vocabulary,
    plain_symbols,
    text_rules_entry,
    with_text_rules,
)
from wav2vec2.checkpoints.sizes import sizes_from_shapes
from wav2vec2.checkpoints.tensors.table import ChangedTable, TensorTable, TorchTable
from wav2vec2.checkpoints.tensors.torch_file import TorchFile, write_torch_file
from wav2vec2.errors import UserError
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.output_file import writing_together
from wav2vec2.text.vocabulary import Vocabulary

_FRONTEND = "encoder_frontend.post_extract_layer_norm.weight"
_UPDATES = "quantizer.num_updates"
_TOKENIZER = "tokenizer.model"


def state_dict(content: object) -> Mapping[str, Any] | None:
    """Return the table of tensors in a file's content, under ``model`` or at its top; None if there is none."""
    inner = content.get("model") if isinstance(content, Mapping) else None
    for table in (inner, content):
        if isinstance(table, Mapping) and table and all(isinstance(value, Tensor) for value in table.values()):
            return table
    return None


def is_fairseq2(shapes: Mapping[str, Tensor]) -> bool:
    """Whether a table of tensors has fairseq2's names."""
    return _FRONTEND in shapes


def open_fairseq2_step(folder: Path) -> Checkpoint | None:
    """Open a training run's folder, at its newest step, or one of its ``step_N`` folders; None for any other folder.

    Raises:
        UserError: The model is spread over several shards, or a file is damaged.
    """
    steps = [
        (int(found[1]), path) for path in folder.glob("step_*") if (found := re.fullmatch(r"step_(\d+)", path.name))
    ]
    step = max(steps)[1] if steps else folder
    shards = sorted((step / "model").glob("pp_*/tp_*/sdp_*.pt"))
    if not shards:
        return None
    if len(shards) > 1:
        raise UserError(f"{step}: its model is spread over {len(shards)} shards; consolidate them with fairseq2 first")
    return open_fairseq2(
        shards[0], TorchTable([TorchFile(shards[0])], state_dict), training=step.name.replace("_", " ")
    )


def open_fairseq2(path: Path, table: TensorTable, *, training: str = "") -> Checkpoint:
    """Open a checkpoint of fairseq2's ``wav2vec2`` or ``wav2vec2_asr`` family.

    Raises:
        UserError: It is damaged, or its model is a variant that is not supported.
    """
    table = ChangedTable(table, rename=lambda name: old_weight_norm(name.removeprefix("module.")))
    _check_variants(path, table.shapes)
    described = read_card(path)
    layer_norm = "encoder_frontend.feature_extractor.layers.1.layer_norm.weight" in table.shapes
    layer_norm_first = "encoder.layer_norm.weight" in table.shapes
    names = functools.partial(fairseq2_name, layer_norm_extractor=layer_norm, layer_norm_first=layer_norm_first)
    architecture = sizes_from_shapes(
        table.shapes,
        names,
        path,
        layer_norm_first=layer_norm_first,
        described=described_sizes(described, path),
    )
    if architecture.pos_conv_depth > 1 and architecture.pos_conv_kernel // architecture.pos_conv_depth % 2 == 0:
        raise UserError(f"{path}: stacked positional convolutions with an even kernel are not supported")
    ctc = "quantizer.entries" not in table.shapes
    rows = table.shapes["final_proj.weight"].shape[0] if ctc and "final_proj.weight" in table.shapes else None
    no_masks = {"encoder.mask_embedding": torch.zeros(architecture.hidden_size)} if ctc else {}
    return Checkpoint(
        path=path,
        file_format="fairseq2 checkpoint",
        kind="encoder" if rows is None and ctc else "ctc" if ctc else "pretraining",
        architecture=architecture,
        regularization=regularization(described, path, ctc),
        masking=masking(described, path, ctc, masked="masker.temporal_mask_embed" in table.shapes),
        tensors=lambda: table,
        names=names,
        vocabulary=None if rows is None else _vocabulary(path, rows, described),
        vocabulary_size=rows,
        ignored=(rf"^{re.escape(_UPDATES)}$",),
        optional={**identity_projection(architecture), **no_masks},
        origin=str(described.get("model_family") or ""),
        training=training,
    )


def _check_variants(path: Path, shapes: Mapping[str, Tensor]) -> None:
    """Refuse models that ours would compute differently; the message names the difference."""
    variants = {
        r"^encoder\.layers\.0\.(ffn1|conv)\.": "a Conformer encoder",
        r"\.(rel_pos_encoding|sdpa\.r_proj|sdpa\.u_bias)": "relative positions",
        r"^llama_decoder\.|^encoder_proj\.|^text_frontend\.": "an omnilingual LLM recogniser",
        r"\.self_attn\.(q|k|v)_norm\.": "normalised queries and keys",
    }
    for pattern, what in variants.items():
        if any(re.search(pattern, name) for name in shapes):
            raise UserError(f"{path}: {what} is not supported; only Transformer encoders with CTC or no head are")
    if not any(".pos_encoder." in name for name in shapes):
        raise UserError(f"{path}: rotary or no positions are not supported; only positional convolutions are")
    if not any("feature_extractor.layers.0.conv" in name for name in shapes):
        raise UserError(f"{path}: filterbank input is not supported; only models that take the waveform are")


def _vocabulary(path: Path, rows: int, described: Mapping[str, Any]) -> Vocabulary | None:
    """Return the vocabulary in the SentencePiece model beside a CTC checkpoint; None if there is none."""
    candidates = [path.parent / _TOKENIZER, path.with_suffix(".model")]
    found = next((file for file in candidates if file.is_file()), None)
    if found is None:
        return None
    vocabulary = vocabulary_of_pieces(found)
    if len(vocabulary) != rows:
        raise UserError(
            f"{found}: has {len(vocabulary)} symbols, the head of {path.name} has {rows} rows; put the model's own "
            "tokenizer there"
        )
    return with_text_rules(vocabulary, described, path.parent / "model.yaml")


def vocabulary_of_pieces(path: Path) -> Vocabulary:
    """Return the pieces of a SentencePiece model as the symbols of a CTC head: row 0 is the blank, called ``<pad>``.

    Raises:
        UserError: The file is damaged, or holds a symbol twice.
    """
    pieces = read_pieces(path)
    swapped = {"<s>": "<pad>", "<pad>": "<s>"} if pieces[0] == "<s>" else {}
    try:
        return Vocabulary.from_symbols([swapped.get(piece, piece) for piece in pieces], blank=0)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def save_fairseq2(model: Model, path: Path, dtype: torch.dtype) -> list[Path]:
    """Write a model to ``path``, its card and, if it has a vocabulary, ``tokenizer.model``; return the files.

    Raises:
        UserError: fairseq2 cannot express the model or a symbol, or the folder cannot be written.
    """
    check_expressible(model, path, "fairseq2", headless=False, stacked_positions=True)
    a = model.architecture
    if a.pos_conv_depth > 1 and a.pos_conv_kernel // a.pos_conv_depth % 2 == 0:
        raise UserError(
            f"{path}: fairseq2 aligns stacked positional convolutions with an even kernel differently; "
            "use --to huggingface"
        )
    vocabulary = own_vocabulary(model, path)
    symbols = [] if vocabulary is None else plain_symbols(vocabulary, path)
    names = functools.partial(
        fairseq2_name, layer_norm_extractor=a.conv_norm == "layer", layer_norm_first=a.layer_norm_first
    )
    tensors = fairseq_tensors(model, path, "fairseq2", names, dtype)
    ctc = isinstance(model, Wav2Vec2ForCTC)
    rows = len(tensors["final_proj.bias"]) if ctc else None
    if not ctc:
        tensors[_UPDATES] = torch.zeros((), dtype=torch.int64)
    content = card(model, path, rows, tokenizer=vocabulary is not None) | text_rules_entry(vocabulary)
    with writing_together(path.parent, last=path.name) as folder:
        write_torch_file({"model": tensors}, folder / path.name)
        # Every JSON text is YAML.
        text = json.dumps(content, ensure_ascii=False, indent=2)
        (folder / "model.yaml").write_text(text + "\n", encoding="utf-8")
        if vocabulary is not None:
            write_character_model(folder / _TOKENIZER, symbols)
    tokenizer = [] if vocabulary is None else [path.parent / _TOKENIZER]
    return [path, path.parent / "model.yaml", *tokenizer]
