"""fairseq's wav2vec 2.0 checkpoints, pre-trained and fine-tuned with CTC, read and written without fairseq.

Old files keep an ``argparse.Namespace`` under ``args``, newer ones nested dicts or omegaconf containers under ``cfg``.
A fine-tuned file carries the pre-training configuration inside its own (``w2v_args``), in any of these forms. We write
the newer kind, of plain containers only, which any fairseq since 2021 loads.

fairseq's CTC blank is row 0, which it calls ``<s>``; its rows 1 to 3 are ``<pad>``, ``</s>`` and ``<unk>``. We call row
0 ``<pad>`` and row 1 ``<s>``: the rows stay, the two names swap. A class that fairseq requires and the model lacks is
written so that it never wins.
"""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.checkpoints.checkpoint import Checkpoint, Model
from wav2vec2.checkpoints.fairseq import config as fairseq_config
from wav2vec2.checkpoints.names import fairseq_name, old_weight_norm
from wav2vec2.checkpoints.other_tools import (
    check_expressible,
    fairseq_tensors,
    identity_projection,
    input_entry,
    input_epsilon,
    own_vocabulary,
    plain_symbols,
    text_rules_entry,
    with_text_rules,
)
from wav2vec2.checkpoints.tensors.table import ChangedTable, TorchTable
from wav2vec2.checkpoints.tensors.torch_file import TorchFile, write_torch_file
from wav2vec2.checkpoints.tensors.unpickle import plain_settings
from wav2vec2.errors import UserError, cause
from wav2vec2.input_file import read_text
from wav2vec2.model.architecture import Architecture
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.output_file import writing_together
from wav2vec2.text.vocabulary import SPECIALS, Vocabulary

_HEAD = "w2v_encoder.proj.weight"
_Settings = dict[str, Any]


def is_fairseq(content: object) -> bool:
    """Whether an unpickled object is a fairseq checkpoint."""
    return isinstance(content, Mapping) and "model" in content and ("args" in content or "cfg" in content)


def open_fairseq(file: TorchFile) -> Checkpoint:
    """Open a fairseq ``.pt`` file: read its configuration, shapes and the ``dict.ltr.txt`` beside it, but no weights.

    Raises:
        UserError: The file is damaged, lacks a tensor, or holds another model or variant than those supported.
    """
    path, content = file.path, file.content
    if not is_fairseq(content):
        raise UserError(f"{path}: not a fairseq checkpoint (no 'model' with 'args' or 'cfg'); give a model directory")
    if not isinstance(content["model"], Mapping):
        raise UserError(f"{path}: not a fairseq checkpoint (its 'model' is not a table); give a model directory")
    model, task = _sections(content, path)
    table = TorchTable([file], lambda content: content["model"])
    ctc = any(name.startswith("w2v_encoder.") for name in table.shapes)
    rows = _head_rows(table, path) if ctc else None
    pretraining, pretraining_task = _pretraining(model, path) if ctc else (model, task)
    normalize = bool(task.get("normalize", model.get("normalize", False)))
    _check_input(path, task, normalize, bool(pretraining_task.get("normalize", normalize)))
    settings = {**fairseq_config.DEFAULTS, **pretraining}
    try:
        if reason := fairseq_config.unsupported(pretraining, model if ctc else None):
            raise UserError(f"{path}: {reason}")
        architecture = fairseq_config.architecture(
            settings, normalize=normalize, epsilon=input_epsilon(content), ctc=ctc
        )
        regularization = fairseq_config.regularization(settings, model if ctc else None)
        masking = fairseq_config.masking({**settings, **fairseq_config.FINETUNING, **model} if ctc else settings)
    except (TypeError, ValueError, KeyError, SyntaxError, ArithmeticError) as error:
        raise UserError(f"{path}: a setting has an impossible value ({cause(error)}); the file is damaged") from error
    return Checkpoint(
        path=path,
        file_format="fairseq checkpoint",
        kind="ctc" if ctc else "pretraining",
        architecture=architecture,
        regularization=regularization,
        masking=masking,
        tensors=lambda: ChangedTable(table, rename=old_weight_norm),
        names=_names(architecture, ctc),
        vocabulary=None if rows is None else _vocabulary(path, str(task.get("labels") or "ltr"), rows, content),
        vocabulary_size=rows,
        optional=identity_projection(architecture),
        origin=str(model.get("_name") or model.get("arch") or ""),
        training=_training(content),
    )


def _names(architecture: Architecture, ctc: bool) -> Callable[[str], str]:
    return functools.partial(
        fairseq_name,
        ctc=ctc,
        layer_norm_extractor=architecture.conv_norm == "layer",
        quantizer_depth=architecture.variant.quantizer_depth,
    )


def _vocabulary(path: Path, labels: str, rows: int, content: Mapping[str, Any]) -> Vocabulary | None:
    """Return the vocabulary in the dictionary (``dict.ltr.txt``) beside a fine-tuned file; None if there is none."""
    dictionary = path.parent / f"dict.{Path(labels).name}.txt"
    if not dictionary.exists():
        return None
    vocabulary = read_dictionary(dictionary)
    if len(vocabulary) != rows:
        raise UserError(
            f"{dictionary}: has {len(vocabulary)} symbols, the head of {path.name} has {rows} rows; put the model's "
            "own dictionary there"
        )
    return with_text_rules(vocabulary, content, path)


def read_dictionary(path: Path) -> Vocabulary:
    """Read a fairseq ``dict.ltr.txt``, with ``symbol count`` on each line: ids are the rows of a fairseq CTC head.

    fairseq puts ``<s>``, ``<pad>``, ``</s>`` and ``<unk>`` before the file's lines.

    Raises:
        UserError: The file cannot be read, or holds a symbol twice.
    """
    try:
        lines = read_text(path).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a readable dictionary ({cause(error)}); give fairseq's dict.ltr.txt") from error
    symbols = [line.rsplit(" ", 1)[0] for line in lines if line.strip() and not line.startswith("#fairseq:")]
    try:
        return Vocabulary.from_symbols((*SPECIALS, *symbols), blank=0)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _head_rows(table: TorchTable, path: Path) -> int:
    if _HEAD not in table.shapes or table.shapes[_HEAD].dim() != 2:
        raise UserError(f"{path}: tensor {_HEAD} is missing; of fine-tuned models only those with CTC can be loaded")
    return table.shapes[_HEAD].shape[0]


def _check_input(path: Path, task: _Settings, normalize: bool, pretrained_with: bool) -> None:
    if pretrained_with != normalize:
        raise UserError(f"{path}: pre-trained and fine-tuned with different values of 'normalize'; use another model")
    rate = task.get("sample_rate") or SAMPLE_RATE
    if rate != SAMPLE_RATE:
        raise UserError(f"{path}: sample_rate is {rate}; only models for {SAMPLE_RATE} Hz can be loaded")


def _settings(value: object, path: Path) -> _Settings:
    if isinstance(value, Mapping):
        return dict(value)
    kind = "missing or of an unknown type" if value is None else f"a {type(value).__name__}, not a Namespace or dict"
    raise UserError(f"{path}: its configuration is {kind}; save it again with fairseq")


def _sections(content: Mapping[str, Any], path: Path) -> tuple[_Settings, _Settings]:
    """Return the model's and the task's settings; in old files one flat namespace holds both."""
    try:
        if content.get("cfg") is not None:
            cfg = _settings(plain_settings(content["cfg"]), path)
            return _settings(cfg.get("model"), path), _settings(cfg.get("task") or {}, path)
        args = _settings(plain_settings(content.get("args")), path)
    except ValueError as error:
        raise UserError(f"{path}: its configuration cannot be read ({cause(error)}); the file is damaged") from error
    return args, args


def _pretraining(model: Mapping[str, Any], path: Path) -> tuple[_Settings, _Settings]:
    """Return the pre-training settings, the model's and the task's, that a fine-tuned model carries."""
    if model.get("w2v_args") is None:
        raise UserError(f"{path}: holds no pre-training configuration (w2v_args); save it again with fairseq")
    inner = _settings(model["w2v_args"], path)
    if isinstance(inner.get("model"), Mapping):
        return _settings(inner["model"], path), _settings(inner.get("task") or {}, path)
    return inner, inner


def _training(content: Mapping[str, Any]) -> str:
    """Return in words how long the model was trained, and whether the file holds the optimiser's state."""
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


def save_fairseq(model: Model, path: Path, dtype: torch.dtype) -> list[Path]:
    """Write a model to ``path`` and, if it has a vocabulary, the dictionary beside it; return the files.

    Raises:
        UserError: fairseq cannot express the model or a symbol, or the folder cannot be written.
    """
    check_expressible(model, path, "fairseq", headless=False, stacked_positions=True, variants=fairseq_config.VARIANTS)
    vocabulary = own_vocabulary(model, path)
    labels = "phn" if vocabulary is not None and vocabulary.unit == "whitespace" else "ltr"
    names = _names(model.architecture, isinstance(model, Wav2Vec2ForCTC))
    symbols = [] if vocabulary is None else plain_symbols(vocabulary, path)
    content = {
        "args": None,
        "cfg": _config(model, labels),
        "model": fairseq_tensors(model, path, "fairseq", names, dtype),
        "criterion": {},
        "optimizer_history": [
            {"criterion_name": "", "optimizer_name": "", "lr_scheduler_state": {"best": None}, "num_updates": 0}
        ],
        "task_state": {},
        "extra_state": {"epoch": 1, "train_iterator": {"epoch": 1, "iterations_in_epoch": 0}},
        "last_optimizer_state": None,
        **input_entry(model.architecture),
        **text_rules_entry(vocabulary),
    }
    with writing_together(path.parent, last=path.name) as folder:
        write_torch_file(content, folder / path.name)
        if vocabulary is None:
            return [path]
        # A line is a symbol and its count; fairseq sorts by count, so the counts fall.
        lines = [f"{symbol} {len(symbols) - place}\n" for place, symbol in enumerate(symbols)]
        (folder / f"dict.{labels}.txt").write_text("".join(lines), encoding="utf-8")
    return [path, path.parent / f"dict.{labels}.txt"]


def _config(model: Model, labels: str) -> dict[str, Any]:
    a, r, m = model.architecture, model.regularization, model.masking
    pretraining = fairseq_config.pretraining_settings(a, r, m)
    task = {"_name": "audio_pretraining", "data": "", "normalize": a.normalize_input, "sample_rate": SAMPLE_RATE}
    common = {"_name": None, "common": {"fp16": False, "seed": 1}}
    if not isinstance(model, Wav2Vec2ForCTC):
        criterion = {"_name": "wav2vec", "infonce": True, "loss_weights": [0.1, 10.0]}
        return {**common, "model": pretraining, "task": task, "criterion": criterion}
    finetuning = fairseq_config.finetuning_settings(r, m, a.normalize_input)
    return {
        **common,
        "model": {**finetuning, "w2v_args": {**common, "model": pretraining, "task": task}},
        "task": {**task, "_name": "audio_finetuning", "labels": labels},
        "criterion": {"_name": "ctc", "zero_infinity": True},
    }
