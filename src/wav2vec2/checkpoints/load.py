"""One door for every readable model: a directory, a file of any of the formats, or an id on the Hugging Face hub."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from wav2vec2.checkpoints.checkpoint import Checkpoint, FileFormat, Kind, Model, build_model
from wav2vec2.checkpoints.fairseq.read import is_fairseq, open_fairseq
from wav2vec2.checkpoints.fairseq2.files import is_fairseq2, open_fairseq2, open_fairseq2_step, state_dict
from wav2vec2.checkpoints.huggingface.directory import open_directory
from wav2vec2.checkpoints.tensors.table import SafetensorsTable, TensorTable, TorchTable
from wav2vec2.checkpoints.tensors.torch_file import TorchFile
from wav2vec2.checkpoints.torchaudio.files import is_torchaudio, open_torchaudio
from wav2vec2.errors import UserError
from wav2vec2.model.architecture import Architecture, Masking, Regularization
from wav2vec2.text.vocabulary import Vocabulary

_FILES = (".pt", ".pth", ".bin", ".safetensors", ".ckpt")


@dataclass(frozen=True)
class ModelDescription:
    """What ``wav2vec2 info`` tells about a model without reading its weights."""

    source: str
    file_format: FileFormat
    kind: Kind
    architecture: Architecture
    regularization: Regularization
    masking: Masking
    parameters: int
    vocabulary: Vocabulary | None
    vocabulary_size: int | None
    origin: str
    training: str

    @property
    def family(self) -> str:
        """The family in words: extractor norm, place of the layer norms, and what the input must be."""
        a = self.architecture
        norms = "pre-LN" if a.layer_norm_first else "post-LN"
        return f"{a.conv_norm}-norm extractor, {norms}, {'normalised' if a.normalize_input else 'raw'} input"


def load(
    source: str | Path,
    *,
    language: str | None = None,
    dtype: torch.dtype = torch.float32,
    revision: str | None = None,
    token: str | None = None,
    offline: bool = False,
    cache: str | Path | None = None,
) -> Model:
    """Return a model in evaluation mode, on the CPU.

    ``source`` is a model directory (ours or transformers'), a file of fairseq, fairseq2 (also omnilingual) or
    torchaudio, the folder of one, or an id on the Hugging Face hub. ``language`` chooses one of a multilingual model
    (MMS). A model of 7 billion parameters is best loaded with ``dtype`` torch.bfloat16: weights are read one by one, so
    that the model and one shard are in memory. ``revision``, ``token``, ``offline`` and ``cache`` are for the hub.

    Raises:
        UserError: Nothing readable is there; the message names the file and the remedy.
    """
    path = locate(source, language=language, revision=revision, token=token, offline=offline, cache=cache)
    return build_model(open_checkpoint(path, language=language), dtype)


def describe(source: str | Path, *, language: str | None = None, **hub: Any) -> ModelDescription:
    """Return what a model is from its configuration and its files' headers; ``hub`` as for ``load``.

    Raises:
        UserError: As ``load``.
    """
    checkpoint = open_checkpoint(locate(source, language=language, **hub), language=language)
    return ModelDescription(
        source=str(source),
        file_format=checkpoint.file_format,
        kind=checkpoint.kind,
        architecture=checkpoint.architecture,
        regularization=checkpoint.regularization,
        masking=checkpoint.masking,
        parameters=checkpoint.parameters(),
        vocabulary=checkpoint.vocabulary,
        vocabulary_size=checkpoint.vocabulary_size,
        origin=checkpoint.origin,
        training=checkpoint.training,
    )


def locate(
    source: str | Path,
    *,
    language: str | None = None,
    revision: str | None = None,
    token: str | None = None,
    offline: bool = False,
    cache: str | Path | None = None,
) -> Path:
    """Return the local path of a model, fetched from the hub where ``source`` is an id there.

    Raises:
        UserError: Nothing is there, here or on the hub.
    """
    path = Path(source)
    if path.exists():
        return path
    from wav2vec2.checkpoints import hub

    if hub.is_id(str(source)):
        return hub.fetch(str(source), language=language, revision=revision, token=token, offline=offline, cache=cache)
    raise UserError(f"{source}: no such model; give a model directory, a checkpoint file or an id on the hub")


def open_checkpoint(path: Path, *, language: str | None = None) -> Checkpoint:
    """Open a local model: everything about it but its weights.

    Raises:
        UserError: Nothing readable is there; the message names the file and the remedy.
    """
    if path.is_file() and path.suffix in (".safetensors", ".bin") and (path.parent / "config.json").exists():
        path = path.parent
    if path.is_dir():
        return _open_folder(path, language)
    checkpoint = _open_file(path)
    if language is not None:
        raise UserError(f"{path}: holds one model; only a directory with adapters has a choice of language")
    return checkpoint


def _open_folder(folder: Path, language: str | None) -> Checkpoint:
    theirs = ("config.json", "model.safetensors", "pytorch_model.bin")
    if any((folder / name).exists() for name in theirs):
        return open_directory(folder, language)
    if (step := open_fairseq2_step(folder)) is not None:
        return step
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.suffix in _FILES)
    if len(files) == 1:
        return open_checkpoint(files[0], language=language)
    if files:
        raise UserError(f"{folder}: holds {len(files)} checkpoints, such as {files[0].name}; name the one to open")
    return open_directory(folder, language)


def _open_file(path: Path) -> Checkpoint:
    if path.suffix == ".safetensors":
        return _open_tensors(path, SafetensorsTable([path]))
    file = TorchFile(path)
    if is_fairseq(file.content):
        return open_fairseq(file)
    if not state_dict(file.content):
        raise UserError(
            f"{path}: not a checkpoint of fairseq, fairseq2 or torchaudio (no table of tensors); give a model directory"
        )
    return _open_tensors(path, TorchTable([file], state_dict))


def _open_tensors(path: Path, table: TensorTable) -> Checkpoint:
    """A table of tensors without a configuration: the names tell whose it is."""
    shapes = {name.removeprefix("module.").removeprefix("model."): shape for name, shape in table.shapes.items()}
    if is_torchaudio(shapes):
        return open_torchaudio(path, table)
    if is_fairseq2(shapes):
        return open_fairseq2(path, table)
    first = next(iter(table.shapes), "nothing")
    raise UserError(
        f"{path}: tensors such as {first} belong to no wav2vec 2.0 model known here; fairseq's need their 'cfg' or "
        "'args', transformers' their config.json"
    )
