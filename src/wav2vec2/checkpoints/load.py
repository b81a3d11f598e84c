"""One door for every readable model: a model directory, a file inside one, or a fairseq checkpoint."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from wav2vec2.checkpoints.fairseq import load_fairseq, read_fairseq
from wav2vec2.checkpoints.huggingface import load_directory, read_vocabulary
from wav2vec2.checkpoints.huggingface_config import read_config
from wav2vec2.errors import UserError
from wav2vec2.model.architecture import Architecture, Masking, Regularization
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.model.pretraining import Wav2Vec2ForPretraining
from wav2vec2.text.vocabulary import Vocabulary


@dataclass(frozen=True)
class ModelDescription:
    """What ``wav2vec2 info`` tells about a model without reading its weights."""

    source: str
    file_format: Literal["model directory", "fairseq checkpoint"]
    kind: Literal["pretraining", "ctc"]
    architecture: Architecture
    regularization: Regularization
    masking: Masking
    parameters: int
    vocabulary: Vocabulary | None
    vocabulary_size: int | None

    @property
    def family(self) -> str:
        """The family in words: extractor norm, place of the layer norms, and what the input must be."""
        a = self.architecture
        norms = "pre-LN" if a.layer_norm_first else "post-LN"
        return f"{a.conv_norm}-norm extractor, {norms}, {'normalised' if a.normalize_input else 'raw'} input"


def load(source: str | Path) -> Wav2Vec2ForPretraining | Wav2Vec2ForCTC:
    """Return a model in evaluation mode, as float32 on the CPU.

    ``source`` is a model directory (ours or transformers'), its ``model.safetensors`` or ``pytorch_model.bin``, or a
    fairseq ``.pt`` file.

    Raises:
        UserError: Nothing readable is there; the message names the file and the remedy.
    """
    path, is_directory = _locate(source)
    return load_directory(path) if is_directory else load_fairseq(path)


def describe(source: str | Path) -> ModelDescription:
    """Return what a model is from its configuration alone.

    Raises:
        UserError: As ``load``.
    """
    path, is_directory = _locate(source)
    if not is_directory:
        file = read_fairseq(path, tensors=False)
        size = file.tensors["w2v_encoder.proj.weight"].shape[0] if file.ctc else None
        return ModelDescription(
            source=str(source),
            file_format="fairseq checkpoint",
            kind="ctc" if file.ctc else "pretraining",
            architecture=file.architecture,
            regularization=file.regularization,
            masking=file.masking,
            parameters=_count(file.architecture, size),
            vocabulary=file.vocabulary,
            vocabulary_size=size,
        )
    config = read_config(path)
    size = config.vocabulary_size if config.kind == "ctc" else None
    return ModelDescription(
        source=str(source),
        file_format="model directory",
        kind=config.kind,
        architecture=config.architecture,
        regularization=config.regularization,
        masking=config.masking,
        parameters=_count(config.architecture, size),
        vocabulary=read_vocabulary(path, config),
        vocabulary_size=size,
    )


def _locate(source: str | Path) -> tuple[Path, bool]:
    """Return the path to read and whether it is a model directory."""
    path = Path(source)
    if path.is_dir():
        return path, True
    if not path.is_file():
        raise UserError(f"{source}: no such model; give a model directory or a fairseq .pt file")
    if path.suffix in (".safetensors", ".bin"):
        return path.parent, True
    return path, False


def _count(architecture: Architecture, vocabulary_size: int | None) -> int:
    with torch.device("meta"):
        model: nn.Module
        if vocabulary_size is None:
            model = Wav2Vec2ForPretraining(architecture)
        else:
            model = Wav2Vec2ForCTC(architecture, vocabulary_size)
    return sum(parameter.numel() for parameter in model.parameters())
