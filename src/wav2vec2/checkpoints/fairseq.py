"""Read fairseq's wav2vec 2.0 checkpoints of both eras, pre-trained and fine-tuned with CTC, without fairseq.

Old files keep an ``argparse.Namespace`` under ``args``, newer ones nested dicts under ``cfg``. A fine-tuned file
carries the pre-training configuration inside its own (``w2v_args``), in either form.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wav2vec2.checkpoints import fairseq_config
from wav2vec2.checkpoints.names import fairseq_name, fill, one_weight_norm_spelling
from wav2vec2.checkpoints.unpickle import Namespace, read_torch_file
from wav2vec2.errors import UserError
from wav2vec2.model.architecture import Architecture, Masking, Regularization
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.model.pretraining import Wav2Vec2ForPretraining
from wav2vec2.text.vocabulary import Vocabulary


@dataclass(frozen=True)
class FairseqCheckpoint:
    """A file's content in our terms; ``tensors`` under fairseq's names."""

    path: Path
    architecture: Architecture
    regularization: Regularization
    masking: Masking
    tensors: Mapping[str, Tensor]
    ctc: bool
    labels: str

    @property
    def vocabulary(self) -> Vocabulary | None:
        """The symbol table beside a fine-tuned file (``dict.ltr.txt``); None when there is none."""
        dictionary = self.path.parent / f"dict.{self.labels}.txt"
        if not self.ctc or not dictionary.exists():
            return None
        vocabulary = Vocabulary.from_fairseq_dict(dictionary)
        rows = self.tensors["w2v_encoder.proj.weight"].shape[0]
        if len(vocabulary) != rows:
            raise UserError(
                f"{dictionary}: gives {len(vocabulary)} symbols, {self.path.name} has {rows}; put its own there"
            )
        return vocabulary


def is_fairseq(content: object) -> bool:
    """Tell whether an unpickled object is a fairseq checkpoint."""
    return isinstance(content, Mapping) and "model" in content and ("args" in content or "cfg" in content)


def load_fairseq(path: Path) -> Wav2Vec2ForPretraining | Wav2Vec2ForCTC:
    """Return the model of a fairseq ``.pt`` file, in evaluation mode, as float32 on the CPU.

    Raises:
        UserError: The file is damaged, lacks a tensor, or is another model or variant than those supported.
    """
    checkpoint = read_fairseq(path)
    a, r, m = checkpoint.architecture, checkpoint.regularization, checkpoint.masking
    layer_norm = a.conv_norm == "layer"

    def theirs(name: str) -> str:
        return fairseq_name(name, ctc=checkpoint.ctc, layer_norm_extractor=layer_norm)

    tensors = one_weight_norm_spelling(checkpoint.tensors, parametrized=False)
    projection = theirs("encoder.feature_projection.weight")
    if projection not in tensors and a.feature_size == a.hidden_size:
        # fairseq leaves the projection out where the sizes agree
        tensors[projection] = torch.eye(a.hidden_size)
        tensors[theirs("encoder.feature_projection.bias")] = torch.zeros(a.hidden_size)
    if not checkpoint.ctc:
        return fill(lambda: Wav2Vec2ForPretraining(a, r, m), tensors, theirs, path).eval()
    rows = _head_rows(tensors, path)
    model = fill(lambda: Wav2Vec2ForCTC(a, rows, r, m), tensors, theirs, path)
    vocabulary = checkpoint.vocabulary
    model.vocabulary = vocabulary.symbols if vocabulary else None
    model.blank = 0
    return model.eval()


def _head_rows(tensors: Mapping[str, Tensor], path: Path) -> int:
    if "w2v_encoder.proj.weight" not in tensors:
        raise UserError(f"{path}: tensor w2v_encoder.proj.weight is missing; only CTC fine-tuning can be loaded")
    return tensors["w2v_encoder.proj.weight"].shape[0]


def read_fairseq(path: Path, *, tensors: bool = True) -> FairseqCheckpoint:
    """Read configuration and tensors; with ``tensors`` False only their shapes (meta device).

    Raises:
        UserError: As ``load_fairseq``.
    """
    content = read_torch_file(path, tensors=tensors)
    if not is_fairseq(content) or not isinstance(content["model"], Mapping):
        raise UserError(f"{path}: not a fairseq checkpoint (no 'model' with 'args' or 'cfg'); give a model directory")
    model, task = _sections(content, path)
    weights = dict(content["model"])
    ctc = any(name.startswith("w2v_encoder.") for name in weights)
    if ctc:
        _head_rows(weights, path)
    pretraining, pretraining_task = _pretraining(model, path) if ctc else (model, task)
    normalize = bool(task.get("normalize", model.get("normalize", False)))
    if ctc and bool(pretraining_task.get("normalize", normalize)) != normalize:
        raise UserError(f"{path}: pre-trained and fine-tuned with different 'normalize'; use a model trained with one")
    fixed = fairseq_config.FIXED if ctc else fairseq_config.FIXED | fairseq_config.FIXED_PRETRAINING
    for field, value in fixed.items():
        if pretraining.get(field, value) != value:
            raise UserError(f"{path}: {field} = {pretraining[field]!r} is not supported; only {value!r} can be loaded")
    settings = {**fairseq_config.DEFAULTS, **pretraining}
    try:
        return FairseqCheckpoint(
            path=path,
            architecture=fairseq_config.architecture(settings, normalize),
            regularization=fairseq_config.regularization(settings, model if ctc else None),
            masking=fairseq_config.masking({**settings, **fairseq_config.FINETUNING, **model} if ctc else settings),
            tensors=weights,
            ctc=ctc,
            labels=str(task.get("labels") or "ltr"),
        )
    except (TypeError, ValueError, KeyError, SyntaxError) as error:
        raise UserError(f"{path}: a setting has an impossible value ({error}); the file is damaged") from error


def _plain(value: object, path: Path) -> dict[str, Any]:
    if isinstance(value, Namespace):
        return dict(vars(value))
    if isinstance(value, Mapping):
        return dict(value)
    kind = type(value).__name__
    raise UserError(f"{path}: its configuration is a {kind}, neither a Namespace nor a dict; re-save it with fairseq")


def _sections(content: Mapping[str, Any], path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return model and task settings; in the old era both are one flat namespace."""
    if content.get("cfg") is not None:
        cfg = _plain(content["cfg"], path)
        return _plain(cfg.get("model"), path), _plain(cfg.get("task", {}), path)
    args = _plain(content.get("args"), path)
    return args, args


def _pretraining(model: Mapping[str, Any], path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the pre-training settings that a fine-tuned model carries."""
    if model.get("w2v_args") is None:
        raise UserError(f"{path}: holds no pre-training configuration (w2v_args); re-save it with fairseq")
    inner = _plain(model["w2v_args"], path)
    if isinstance(inner.get("model"), Mapping | Namespace):
        return _plain(inner["model"], path), _plain(inner.get("task", {}), path)
    return inner, inner
