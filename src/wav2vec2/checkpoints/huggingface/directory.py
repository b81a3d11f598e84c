"""Model directories: what we save, transformers loads, and the reverse, with no conversion in between."""

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from wav2vec2.checkpoints.checkpoint import Checkpoint, Kind, Model
from wav2vec2.checkpoints.head_rows import own_vocabulary
from wav2vec2.checkpoints.huggingface.config import ModelConfig, config_json, preprocessor_json, read_config, read_json
from wav2vec2.checkpoints.names import huggingface_name, new_weight_norm
from wav2vec2.checkpoints.tensors.table import ChangedTable, JoinedTable, SafetensorsTable, TensorTable, TorchTable
from wav2vec2.checkpoints.tensors.torch_file import TorchFile
from wav2vec2.errors import UserError
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.model.encoder import Wav2Vec2Encoder
from wav2vec2.output_file import writing_together
from wav2vec2.text.tokenizer_files import TOKENIZER_FILES
from wav2vec2.text.vocabulary import Vocabulary

# Buffers of transformers versions that stored them; no parameter of ours.
_IGNORED = (r"\.position_ids$", r"\.num_batches_tracked$")
_HEAD = "lm_head.weight"


def save(model: Model, directory: str | Path, dtype: torch.dtype = torch.float32) -> None:
    """Write a model directory that ``load`` and transformers read.

    Files: ``config.json``, ``model.safetensors``, ``preprocessor_config.json`` and, for a CTC model with a
    vocabulary, the tokenizer's. All are written aside and then renamed into place: a failed save leaves the old model.

    Raises:
        UserError: The vocabulary does not fit the head, or the directory cannot be written (disk full, no permission).
    """
    target = Path(directory)
    size = model.head.out_features if isinstance(model, Wav2Vec2ForCTC) else None
    vocabulary = own_vocabulary(model, target)
    kind: Kind = "encoder" if isinstance(model, Wav2Vec2Encoder) else "pretraining" if size is None else "ctc"
    config = config_json(
        model.architecture,
        model.regularization,
        model.masking,
        kind=kind,
        vocabulary_size=size,
        blank=model.blank if isinstance(model, Wav2Vec2ForCTC) else 0,
        dtype=str(dtype).removeprefix("torch."),
    )
    with writing_together(target, obsolete=TOKENIZER_FILES) as folder:
        _write_json(folder / "config.json", config)
        _write_json(
            folder / "preprocessor_config.json",
            preprocessor_json(model.architecture, with_tokenizer=vocabulary is not None),
        )
        if vocabulary is not None:
            vocabulary.save(folder)
        names = functools.partial(huggingface_name, bare=kind == "encoder")
        tensors = {names(name): value.detach() for name, value in model.state_dict().items()}
        tensors = {name: value.to("cpu", dtype).contiguous() for name, value in tensors.items()}
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def open_directory(directory: Path, language: str | None = None) -> Checkpoint:
    """Open a directory of ours or of transformers: configuration and vocabulary, no weights.

    Weights may lie in ``model.safetensors``, its shards, or ``pytorch_model.bin``, with either spelling of weight norm.
    ``language`` chooses adapter, head and symbols of a multilingual model (``adapter.LANGUAGE.safetensors``).

    Raises:
        UserError: A file is missing, cut short, or does not fit its configuration; the message names it and the tensor.
    """
    config = read_config(directory)
    architecture = config.architecture
    adapter = _language_table(directory, config, language) if language else None
    size = config.vocabulary_size if config.kind == "ctc" else None
    if adapter is not None:
        size = adapter.shapes[_HEAD].shape[0]
    # transformers leaves the embedding out of models that never mask; the value is then never used
    unmasked = {} if config.has_mask_embedding else {"encoder.mask_embedding": torch.zeros(architecture.hidden_size)}
    return Checkpoint(
        path=_weight_path(directory),
        file_format="model directory",
        kind=config.kind,
        architecture=architecture,
        regularization=config.regularization,
        masking=config.masking,
        tensors=lambda: _tensors(directory, adapter),
        names=huggingface_name,
        vocabulary=read_vocabulary(directory, size, language),
        vocabulary_size=size,
        blank=config.blank,
        ignored=_IGNORED,
        optional=unmasked,
        origin=config.origin,
    )


def read_vocabulary(directory: Path, size: int | None, language: str | None = None) -> Vocabulary | None:
    """Return the symbol table beside a CTC model, None when there is none; UserError when it does not fit the head."""
    if size is None or not (directory / "vocab.json").exists():
        return None
    vocabulary = Vocabulary.load(directory, language=language)
    if len(vocabulary) != size:
        raise UserError(
            f"{directory / 'vocab.json'}: has {len(vocabulary)} symbols, the model's head {size}; "
            "give the table that the model was trained with"
        )
    return vocabulary


def _language_table(directory: Path, config: ModelConfig, language: str) -> TensorTable:
    if not config.architecture.adapter_size or config.kind != "ctc":
        raise UserError(f"{directory}: has no adapters; only a multilingual CTC model has a choice of language")
    for suffix in ("safetensors", "bin"):
        path = directory / f"adapter.{language}.{suffix}"
        if path.is_file():
            table: TensorTable = SafetensorsTable([path]) if suffix == "safetensors" else TorchTable([TorchFile(path)])
            if _HEAD not in table.shapes or table.shapes[_HEAD].dim() != 2:
                raise UserError(f"{path}: tensor {_HEAD} is missing; fetch or copy the file again")
            return table
    known = sorted(path.name.split(".")[1] for path in directory.glob("adapter.*.*"))
    have = f"it has {len(known)}, such as {', '.join(known[:5])}" if known else "it has none"
    raise UserError(f"{directory}: no file adapter.{language}.safetensors; {have}")


def _weight_path(directory: Path) -> Path:
    """The file that messages about weights name."""
    for name in ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"):
        if (directory / name).exists():
            return directory / name
    return directory / "pytorch_model.bin.index.json"


def _tensors(directory: Path, adapter: TensorTable | None) -> TensorTable:
    table = _stored_tensors(directory)
    if adapter is not None:
        table = JoinedTable(table, adapter)
    return ChangedTable(table, rename=_full_name)


def _full_name(name: str) -> str:
    """A Wav2Vec2Model alone is stored without the prefix that it has inside the others; weight norm is made one."""
    prefixes = ("feature_extractor.", "feature_projection.", "encoder.", "input_quantizer.")
    bare = name.startswith(prefixes) or name == "masked_spec_embed"
    return new_weight_norm(f"wav2vec2.{name}" if bare else name)


def _stored_tensors(directory: Path) -> TensorTable:
    for single in ("model.safetensors", "pytorch_model.bin"):
        if (directory / single).exists():
            return _table([directory / single])
        index = directory / f"{single}.index.json"
        if index.exists():
            weights = read_json(index).get("weight_map")
            if not isinstance(weights, dict) or not all(isinstance(shard, str) for shard in weights.values()):
                raise UserError(f"{index}: its weight_map is no table of file names; copy it again from its model")
            return _table([directory / Path(shard).name for shard in sorted(set(weights.values()))])
    raise UserError(f"{directory}: has neither model.safetensors nor pytorch_model.bin; give the complete directory")


def _table(files: list[Path]) -> TensorTable:
    if files[0].suffix == ".safetensors":
        return SafetensorsTable(files)
    return TorchTable([TorchFile(file) for file in files])
