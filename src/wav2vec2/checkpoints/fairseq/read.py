"""Read fairseq's wav2vec 2.0 checkpoints of both eras, pre-trained and fine-tuned with CTC, without fairseq.

Old files keep an ``argparse.Namespace`` under ``args``, newer ones nested dicts or omegaconf containers under ``cfg``.
A fine-tuned file carries the pre-training configuration inside its own (``w2v_args``), in any of these forms.
"""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from wav2vec2.checkpoints.checkpoint import Checkpoint
from wav2vec2.checkpoints.fairseq import config as fairseq_config
from wav2vec2.checkpoints.head_rows import with_stored_rules
from wav2vec2.checkpoints.names import fairseq_name, old_weight_norm
from wav2vec2.checkpoints.tensors.table import ChangedTable, TorchTable
from wav2vec2.checkpoints.tensors.torch_file import TorchFile
from wav2vec2.checkpoints.tensors.unpickle import plain_settings
from wav2vec2.errors import UserError
from wav2vec2.model.architecture import SAMPLE_RATE, Architecture
from wav2vec2.text.vocabulary import Vocabulary

_HEAD = "w2v_encoder.proj.weight"
_Settings = dict[str, Any]


def is_fairseq(content: object) -> bool:
    """Tell whether an unpickled object is a fairseq checkpoint."""
    return isinstance(content, Mapping) and "model" in content and ("args" in content or "cfg" in content)


def open_fairseq(file: TorchFile) -> Checkpoint:
    """Open a fairseq ``.pt`` file: configuration, shapes and the ``dict.ltr.txt`` beside it, no weights.

    Raises:
        UserError: The file is damaged, lacks a tensor, or is another model or variant than those supported.
    """
    path, content = file.path, file.content
    if not is_fairseq(content):
        raise UserError(f"{path}: not a fairseq checkpoint (no 'model' with 'args' or 'cfg'); give a model directory")
    if not isinstance(content["model"], Mapping):
        raise UserError(f"{path}: not a fairseq checkpoint (its 'model' is no table); give a model directory")
    model, task = _sections(content, path)
    table = TorchTable([file], lambda content: content["model"])
    ctc = any(name.startswith("w2v_encoder.") for name in table.shapes)
    rows = _head_rows(table, path) if ctc else None
    pretraining, pretraining_task = _pretraining(model, path) if ctc else (model, task)
    normalize = bool(task.get("normalize", model.get("normalize", False)))
    _check_input(path, task, normalize, bool(pretraining_task.get("normalize", normalize)))
    _check_variants(path, pretraining, ctc)
    settings = {**fairseq_config.DEFAULTS, **pretraining}
    try:
        architecture = fairseq_config.architecture(settings, normalize)
        regularization = fairseq_config.regularization(settings, model if ctc else None)
        masking = fairseq_config.masking({**settings, **fairseq_config.FINETUNING, **model} if ctc else settings)
    except (TypeError, ValueError, KeyError, SyntaxError) as error:
        raise UserError(f"{path}: a setting has an impossible value ({error}); the file is damaged") from error
    labels = str(task.get("labels") or "ltr")
    return Checkpoint(
        path=path,
        file_format="fairseq checkpoint",
        kind="ctc" if ctc else "pretraining",
        architecture=architecture,
        regularization=regularization,
        masking=masking,
        tensors=lambda: ChangedTable(table, rename=old_weight_norm),
        names=functools.partial(fairseq_name, ctc=ctc, layer_norm_extractor=architecture.conv_norm == "layer"),
        vocabulary=_dictionary(path, labels, rows, content),
        vocabulary_size=rows,
        optional=identity_projection(architecture),
        origin=str(model.get("_name") or model.get("arch") or ""),
        training=_training(content),
    )


def identity_projection(architecture: Architecture) -> dict[str, torch.Tensor]:
    """Values of the projection where its two sizes agree: fairseq and fairseq2 leave it out there."""
    if architecture.feature_size != architecture.hidden_size:
        return {}
    size, name = architecture.hidden_size, "encoder.feature_projection"
    return {f"{name}.weight": torch.eye(size), f"{name}.bias": torch.zeros(size)}


def _dictionary(path: Path, labels: str, rows: int | None, content: Mapping[str, Any]) -> Vocabulary | None:
    """The symbol table beside a fine-tuned file (``dict.ltr.txt``); None when there is none."""
    dictionary = path.parent / f"dict.{Path(labels).name}.txt"
    if rows is None or not dictionary.exists():
        return None
    vocabulary = Vocabulary.from_fairseq_dict(dictionary)
    if len(vocabulary) != rows:
        raise UserError(f"{dictionary}: gives {len(vocabulary)} symbols, {path.name} has {rows}; put its own there")
    return with_stored_rules(vocabulary, content, path)


def _head_rows(table: TorchTable, path: Path) -> int:
    if _HEAD not in table.shapes or table.shapes[_HEAD].dim() != 2:
        raise UserError(f"{path}: tensor {_HEAD} is missing; only CTC fine-tuning can be loaded")
    return table.shapes[_HEAD].shape[0]


def _check_input(path: Path, task: _Settings, normalize: bool, pretrained_with: bool) -> None:
    if pretrained_with != normalize:
        raise UserError(f"{path}: pre-trained and fine-tuned with different 'normalize'; use a model trained with one")
    rate = task.get("sample_rate") or SAMPLE_RATE
    if rate != SAMPLE_RATE:
        raise UserError(f"{path}: sample_rate is {rate}; only models for {SAMPLE_RATE} Hz can be loaded")


def _check_variants(path: Path, pretraining: _Settings, ctc: bool) -> None:
    """Refuse by name what would give other numbers."""
    if pretraining.get("layer_type") == "conformer":
        kind = pretraining.get("pos_enc_type") or "abs"
        raise UserError(
            f"{path}: layer_type = 'conformer' is not supported (a Conformer encoder, {kind} positions); "
            "only 'transformer' can be loaded"
        )
    fixed = fairseq_config.FIXED if ctc else fairseq_config.FIXED | fairseq_config.FIXED_PRETRAINING
    for field, value in fixed.items():
        if pretraining.get(field, value) != value:
            raise UserError(f"{path}: {field} = {pretraining[field]!r} is not supported; only {value!r} can be loaded")
    if (pretraining.get("adp_num") or -1) > 0:
        raise UserError(f"{path}: adp_num = {pretraining['adp_num']} is not supported; convert MMS from transformers'")


def _settings(value: object, path: Path) -> _Settings:
    if isinstance(value, Mapping):
        return dict(value)
    kind = "nothing readable" if value is None else type(value).__name__
    raise UserError(f"{path}: its configuration is {kind}, neither a Namespace nor a dict; re-save it with fairseq")


def _sections(content: Mapping[str, Any], path: Path) -> tuple[_Settings, _Settings]:
    """Return model and task settings; in the old era both are one flat namespace."""
    try:
        if content.get("cfg") is not None:
            cfg = _settings(plain_settings(content["cfg"]), path)
            return _settings(cfg.get("model"), path), _settings(cfg.get("task") or {}, path)
        args = _settings(plain_settings(content.get("args")), path)
    except ValueError as error:
        raise UserError(f"{path}: its configuration cannot be read ({error}); the file is damaged") from error
    return args, args


def _pretraining(model: Mapping[str, Any], path: Path) -> tuple[_Settings, _Settings]:
    """Return the pre-training settings that a fine-tuned model carries."""
    if model.get("w2v_args") is None:
        raise UserError(f"{path}: holds no pre-training configuration (w2v_args); re-save it with fairseq")
    inner = _settings(model["w2v_args"], path)
    if isinstance(inner.get("model"), Mapping):
        return _settings(inner["model"], path), _settings(inner.get("task") or {}, path)
    return inner, inner


def _training(content: Mapping[str, Any]) -> str:
    """How far training had come, as the file says: updates, epoch, whether an optimiser's state lies beside."""
    try:
        history = plain_settings({"last": (content.get("optimizer_history") or [None])[-1]})["last"] or {}
        extra = plain_settings(content.get("extra_state")) or {}
    except (ValueError, TypeError, KeyError, AttributeError):
        return ""
    epoch = (extra.get("train_iterator") or {}).get("epoch", extra.get("epoch"))
    parts = [f"{history['num_updates']:,} updates"] if isinstance(history.get("num_updates"), int) else []
    parts += [f"epoch {epoch}"] if isinstance(epoch, int) else []
    parts += ["with optimiser state"] if content.get("last_optimizer_state") else []
    return ", ".join(parts)
