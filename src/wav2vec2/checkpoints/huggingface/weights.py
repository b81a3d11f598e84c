"""The weights of a Hugging Face model directory: its files, the names of their tensors, and what they show of the head.

transformers stores a headless model without the prefix of its family, such as ``wav2vec2.``. Every other class has the
encoder under this prefix, and its own head beside it.
"""

import re
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from wav2vec2.checkpoints.checkpoint import Kind
from wav2vec2.checkpoints.huggingface.families import Family
from wav2vec2.checkpoints.names import new_weight_norm
from wav2vec2.checkpoints.tensors.table import ChangedTable, JoinedTable, SafetensorsTable, TensorTable, TorchTable
from wav2vec2.checkpoints.tensors.torch_file import TorchFile
from wav2vec2.config import read_json
from wav2vec2.errors import UserError

_PRETRAINING = ("quantizer.", "project_hid.", "project_q.", "target_encoder.")


def weight_path(directory: Path) -> Path:
    """Return the file to name in messages about weights."""
    for name in ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"):
        if (directory / name).exists():
            return directory / name
    return directory / "pytorch_model.bin.index.json"


def beside_encoder(family: Family) -> str:
    """Return a pattern of the tensors that are no part of the encoder."""
    return rf"^(?!{re.escape(family.prefix)})"


def tensors_of(directory: Path, family: Family, adapter: TensorTable | None = None) -> TensorTable:
    """Open a directory's weights, with those of ``adapter`` in place of the adapters of another language.

    Raises:
        UserError: A file is missing or damaged.
    """
    table = _stored_tensors(directory)
    bare = not any(name.startswith(family.prefix) for name in table.shapes)
    if adapter is not None:
        table = JoinedTable(table, adapter)
    return ChangedTable(table, rename=partial(_with_prefix, family.prefix) if bare else new_weight_norm)


def _with_prefix(prefix: str, name: str) -> str:
    """Add the prefix that an encoder stored alone lacks, and give weight norm its newer spelling."""
    prefixes = ("feature_extractor.", "feature_projection.", "encoder.", "input_quantizer.")
    bare = name.startswith(prefixes) or name == "masked_spec_embed"
    return new_weight_norm(f"{prefix}{name}" if bare else name)


def kind_shown_by(names: Iterable[str], family: Family) -> Kind:
    """Return what kind of model has tensors of these names, for a directory that does not say it."""
    names = tuple(names)
    if any(name.startswith("lm_head.") for name in names):
        return "ctc"
    if "pretraining" not in family.classes.values():
        return "encoder"
    return "pretraining" if any(name.startswith(_PRETRAINING) for name in names) else "encoder"


def head_shown_by(names: Iterable[str], family: Family) -> str:
    """Return the first part of the names of an encoder's head, such as "classifier"; empty if it has none."""
    return next((name.partition(".")[0] for name in names if not name.startswith(family.prefix)), "")


def _is_name(shard: object) -> bool:
    return isinstance(shard, str) and 0 < len(Path(shard).name) < 256 and "\0" not in shard


def weight_files(directory: Path) -> list[Path]:
    """Return the files that hold a directory's weights, which may be missing; none where it names none.

    Raises:
        UserError: The index of the shards is damaged.
    """
    for single in ("model.safetensors", "pytorch_model.bin"):
        if (directory / single).exists():
            return [directory / single]
        index = directory / f"{single}.index.json"
        if index.exists():
            weights = read_json(index).get("weight_map")
            if not isinstance(weights, dict) or not weights or not all(map(_is_name, weights.values())):
                raise UserError(f"{index}: its weight_map is not a table of file names; copy it again from its model")
            return [directory / Path(shard).name for shard in sorted(set(weights.values()))]
    return []


def _stored_tensors(directory: Path) -> TensorTable:
    if files := weight_files(directory):
        return tensor_table(files)
    raise UserError(f"{directory}: has neither model.safetensors nor pytorch_model.bin; give the complete directory")


def tensor_table(files: list[Path]) -> TensorTable:
    """Open files of one kind, safetensors or ``torch.save``. Raises UserError if one is missing or damaged."""
    if files[0].suffix == ".safetensors":
        return SafetensorsTable(files)
    return TorchTable([TorchFile(file) for file in files])
