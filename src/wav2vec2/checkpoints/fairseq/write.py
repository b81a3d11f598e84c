"""Write fairseq checkpoints of the newer era: plain containers only, so that any fairseq of 2021 and later loads them.

fairseq's CTC blank is row 0, which it calls ``<s>``; its rows 1 to 3 are ``<pad>``, ``</s>``, ``<unk>``. Ours calls row
0 ``<pad>`` and row 1 ``<s>``: rows stay, names swap. A class that fairseq demands and the model lacks never wins.
"""

from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wav2vec2.checkpoints.checkpoint import Model
from wav2vec2.checkpoints.fairseq import config as fairseq_config
from wav2vec2.checkpoints.head_rows import arranged, own_vocabulary, stored_rules, symbols_for
from wav2vec2.checkpoints.names import fairseq_name
from wav2vec2.checkpoints.tensors.torch_file import write_torch_file
from wav2vec2.checkpoints.write_checks import check_expressible, identity_or_refuse
from wav2vec2.errors import UserError
from wav2vec2.model.architecture import SAMPLE_RATE
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.output_file import writing_together
from wav2vec2.text.vocabulary import Vocabulary


def save_fairseq(model: Model, path: Path, dtype: torch.dtype) -> list[Path]:
    """Write ``path`` and, for a CTC model with a vocabulary, the dictionary beside it; return the files.

    Raises:
        UserError: fairseq cannot express the model or a symbol, or the folder cannot be written.
    """
    check_expressible(model, path, "fairseq", headless=False, stacked_positions=True)
    vocabulary = own_vocabulary(model, path)
    labels = "phn" if vocabulary is not None and vocabulary.unit == "whitespace" else "ltr"
    content = {
        "args": None,
        "cfg": _config(model, labels),
        "model": fairseq_tensors(model, path, vocabulary, dtype),
        "criterion": {},
        "optimizer_history": [
            {"criterion_name": "", "optimizer_name": "", "lr_scheduler_state": {"best": None}, "num_updates": 0}
        ],
        "task_state": {},
        "extra_state": {"epoch": 1, "train_iterator": {"epoch": 1, "iterations_in_epoch": 0}},
        "last_optimizer_state": None,
        **stored_rules(vocabulary),  # fairseq ignores keys that it does not know
    }
    written = [path]
    with writing_together(path.parent, last=path.name) as folder:
        write_torch_file(content, folder / path.name)
        if vocabulary is not None:
            symbols = symbols_for(vocabulary, _plain_rows(vocabulary), path)
            lines = [f"{symbol} {len(symbols) - place}\n" for place, symbol in enumerate(symbols)]
            (folder / f"dict.{labels}.txt").write_text("".join(lines), encoding="utf-8")
            written.append(path.parent / f"dict.{labels}.txt")
    return written


def _plain_rows(vocabulary: Vocabulary) -> list[int]:
    return [row for row in vocabulary.fairseq_order[4:] if row is not None]


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


def fairseq_tensors(
    model: Model, path: Path, vocabulary: Vocabulary | None, dtype: torch.dtype
) -> "OrderedDict[str, Tensor]":
    """Return a model's tensors under fairseq's names, the head's rows in fairseq's order.

    Raises:
        UserError: The order is not known, or the model has a projection that fairseq leaves out.
    """
    ctc = isinstance(model, Wav2Vec2ForCTC)
    layer_norm = model.architecture.conv_norm == "layer"
    no_projection = identity_or_refuse(model, path, "fairseq")
    state = ordered_state(model, path, vocabulary)
    return OrderedDict(
        (fairseq_name(name, ctc=ctc, layer_norm_extractor=layer_norm), value.to("cpu", dtype).contiguous())
        for name, value in state.items()
        if not (no_projection and name.startswith("encoder.feature_projection."))
    )


def ordered_state(model: Model, path: Path, vocabulary: Vocabulary | None) -> dict[str, Tensor]:
    """Return a model's tensors under our names, the head's rows in fairseq's order (fairseq2's is the same).

    Raises:
        UserError: A head without a vocabulary has its blank elsewhere than fairseq.
    """
    state = {name: value.detach() for name, value in model.state_dict().items()}
    if isinstance(model, Wav2Vec2ForCTC):
        if vocabulary is None and model.blank != 0:
            raise UserError(f"{path}: fairseq's blank is row 0, the model's {model.blank}; name its --vocabulary")
        if vocabulary is not None:
            state["head.weight"], state["head.bias"] = arranged(model, vocabulary.fairseq_order)
    return state
