"""Model directories: what we save, transformers loads, and the reverse, with no conversion in between."""

import errno
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from wav2vec2.checkpoints.huggingface_config import ModelConfig, config_json, preprocessor_json, read_config, read_json
from wav2vec2.checkpoints.names import fill, huggingface_name, one_weight_norm_spelling
from wav2vec2.checkpoints.unpickle import read_torch_file
from wav2vec2.errors import UserError
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.model.pretraining import Wav2Vec2ForPretraining
from wav2vec2.text.vocabulary import Vocabulary

Model = Wav2Vec2ForPretraining | Wav2Vec2ForCTC

_STAGING = ".partial"
# Buffers of transformers versions that stored them; no parameter of ours.
_IGNORED = (r"\.position_ids$", r"\.num_batches_tracked$")


def save(model: Model, directory: str | Path, vocabulary: Vocabulary | None = None) -> None:
    """Write a model directory that ``load`` and transformers read.

    Files: ``config.json``, ``model.safetensors`` (float32), ``preprocessor_config.json`` and, for a CTC model with a
    vocabulary, the tokenizer's. All are written aside and then renamed into place: a failed save leaves the old model.
    ``vocabulary`` defaults to the table that the model was loaded with.

    Raises:
        UserError: The vocabulary does not fit the head, or the directory cannot be written (disk full, no permission).
    """
    target = Path(directory)
    size = model.head.out_features if isinstance(model, Wav2Vec2ForCTC) else None
    if vocabulary is None and isinstance(model, Wav2Vec2ForCTC) and model.vocabulary is not None:
        vocabulary = Vocabulary.from_symbols(model.vocabulary, blank=model.blank)
    if vocabulary is not None and size is None:
        raise UserError(f"{target}: a pre-training model has no vocabulary; save it without one")
    if vocabulary is not None and len(vocabulary) != size:
        raise UserError(
            f"{target}: the vocabulary has {len(vocabulary)} symbols, the model's head {size}; use its own vocabulary"
        )
    blank = vocabulary.blank if vocabulary else model.blank if isinstance(model, Wav2Vec2ForCTC) else 0
    config = config_json(model.architecture, model.regularization, model.masking, vocabulary_size=size, blank=blank)
    staging = target / _STAGING
    try:
        _clear(staging)
        staging.mkdir(parents=True)
        _write_json(staging / "config.json", config)
        _write_json(
            staging / "preprocessor_config.json",
            preprocessor_json(model.architecture, with_tokenizer=vocabulary is not None),
        )
        if vocabulary is not None:
            vocabulary.save(staging)
        save_file(_their_tensors(model), staging / "model.safetensors", metadata={"format": "pt"})
        for file in sorted(staging.iterdir()):
            file.replace(target / file.name)
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"{target}: the model cannot be written ({_reason(error)}); free space or choose another directory"
        ) from error
    finally:
        _clear(staging)


def _clear(staging: Path) -> None:
    shutil.rmtree(staging, ignore_errors=True)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = " ".join(str(error).split())
    # safetensors hands on the number only inside its text
    return "No space left on device" if f"code: {errno.ENOSPC}," in text else text


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _their_tensors(model: Model) -> dict[str, Tensor]:
    tensors = {huggingface_name(name): value.detach() for name, value in model.state_dict().items()}
    return {name: value.to("cpu", torch.float32).contiguous() for name, value in tensors.items()}


def load_directory(directory: Path) -> Model:
    """Return the model of a directory of ours or of transformers, in evaluation mode, as float32 on the CPU.

    Weights: ``model.safetensors``, its shards, or ``pytorch_model.bin``, with either spelling of weight norm. A CTC
    model gets its symbol table when the directory has one.

    Raises:
        UserError: A file is missing, cut short, or does not fit its configuration; the message names it and the tensor.
    """
    config = read_config(directory)
    path, tensors = _read_tensors(directory)
    tensors = one_weight_norm_spelling(tensors, parametrized=True)
    if not config.has_mask_embedding:
        # transformers leaves the embedding out of models that never mask; the value is then never used
        tensors.setdefault(huggingface_name("encoder.mask_embedding"), torch.zeros(config.architecture.hidden_size))
    a, r, m, size = config.architecture, config.regularization, config.masking, config.vocabulary_size
    if config.kind == "pretraining":
        return fill(lambda: Wav2Vec2ForPretraining(a, r, m), tensors, huggingface_name, path, ignored=_IGNORED).eval()
    model = fill(lambda: Wav2Vec2ForCTC(a, size, r, m), tensors, huggingface_name, path, ignored=_IGNORED)
    vocabulary = read_vocabulary(directory, config)
    model.vocabulary = vocabulary.symbols if vocabulary else None
    model.blank = vocabulary.blank if vocabulary else config.blank
    return model.eval()


def read_vocabulary(directory: Path, config: ModelConfig) -> Vocabulary | None:
    """Return the symbol table beside a CTC model, None when there is none; UserError when it does not fit the head."""
    if config.kind != "ctc" or not (directory / "vocab.json").exists():
        return None
    vocabulary = Vocabulary.load(directory)
    if len(vocabulary) != config.vocabulary_size:
        raise UserError(
            f"{directory / 'vocab.json'}: has {len(vocabulary)} symbols, the model's head {config.vocabulary_size}; "
            "give the table that the model was trained with"
        )
    return vocabulary


def _read_tensors(directory: Path) -> tuple[Path, dict[str, Tensor]]:
    for single in ("model.safetensors", "pytorch_model.bin"):
        if (directory / single).exists():
            return directory / single, _read_tensor_file(directory / single)
        index = directory / f"{single}.index.json"
        if index.exists():
            table = read_json(index).get("weight_map")
            if not isinstance(table, dict) or not all(isinstance(shard, str) for shard in table.values()):
                raise UserError(f"{index}: its weight_map is no table of file names; copy it again from its model")
            shards = sorted(set(table.values()))
            tensors: dict[str, Tensor] = {}
            for shard in shards:
                tensors |= _read_tensor_file(directory / Path(shard).name)
            return index, tensors
    raise UserError(f"{directory}: has neither model.safetensors nor pytorch_model.bin; give the complete directory")


def _read_tensor_file(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".bin":
        content = read_torch_file(path)
        if not isinstance(content, Mapping) or not all(isinstance(v, Tensor) for v in content.values()):
            raise UserError(f"{path}: not a table of tensors; give transformers' pytorch_model.bin")
        return dict(content)
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: damaged or cut short ({reason}); fetch or copy the file again") from error
