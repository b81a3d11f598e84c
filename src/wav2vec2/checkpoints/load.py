"""Load a model from a directory, a training run, a file of any readable format, or the Hugging Face hub."""

import warnings
from pathlib import Path

import torch

from wav2vec2.checkpoints.checkpoint import Checkpoint, Model, build_model
from wav2vec2.checkpoints.fairseq.files import is_fairseq, open_fairseq
from wav2vec2.checkpoints.fairseq2.files import is_fairseq2, open_fairseq2, open_fairseq2_step, state_dict
from wav2vec2.checkpoints.hub import ALPHABET, fetch, is_hub_id
from wav2vec2.checkpoints.huggingface.directory import open_directory
from wav2vec2.checkpoints.tensors.table import SafetensorsTable, TensorTable, TorchTable
from wav2vec2.checkpoints.tensors.torch_file import TorchFile
from wav2vec2.checkpoints.torchaudio import is_torchaudio, open_torchaudio
from wav2vec2.errors import FileWarning, UserError, shortened

_SUFFIXES = (".pt", ".pth", ".bin", ".safetensors", ".ckpt")
_LANGUAGE_MODEL = "language_model"  # of pyctcdecode
_RUN = ("config.toml", "log.jsonl")  # the files of a training run


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
    """Load a model, in evaluation mode, on the CPU.

    Weights are read one by one, so that a model of 7 billion parameters, best loaded as torch.bfloat16, takes the
    memory of its weights and of one file.

    Args:
        source: a model directory (ours or transformers'); the folder of a training run; a file of fairseq, fairseq2
            (also omnilingual) or torchaudio, or the folder of one; or an id on the Hugging Face hub, such as
            facebook/wav2vec2-base-960h.
        language: language of a multilingual model (MMS), such as "eng", whose adapter, head and symbols to take.
        dtype: number format of the weights in memory.
        revision: branch, tag or commit on the hub.
        token: access token for private models; by default the one that ``hf auth login`` stored.
        offline: use only the local cache of the hub, without contacting the hub.
        cache: folder of the hub's local cache.

    Raises:
        UserError: The model cannot be found or read; the message names the file and the remedy.
    """
    path = locate(source, language=language, revision=revision, token=token, offline=offline, cache=cache)
    return build_model(open_checkpoint(path, language=language), dtype)


def describe(source: str | Path, *, language: str | None = None) -> Checkpoint:
    """Open a model anywhere without reading its weights. Arguments and errors as for ``load``."""
    return open_checkpoint(locate(source, language=language), language=language)


def open_checkpoint(path: Path, *, language: str | None = None) -> Checkpoint:
    """Open a local model without reading its weights. Errors as for ``load``."""
    if path.is_file() and path.suffix in (".safetensors", ".bin") and (path.parent / "config.json").exists():
        path = path.parent
    if path.is_dir():
        return _open_folder(path, language)
    checkpoint = _open_file(path)
    if language is not None:
        raise UserError(f"{path}: holds one model; only a directory with language adapters takes a language")
    return checkpoint


def _open_folder(folder: Path, language: str | None) -> Checkpoint:
    theirs = ("config.json", "model.safetensors", "pytorch_model.bin")
    if any((folder / name).exists() for name in theirs):
        return open_directory(folder, language)
    if (step := open_fairseq2_step(folder)) is not None:
        return step
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.suffix in _SUFFIXES)
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
    """Open a table of tensors without a configuration: their names show which tool wrote them."""
    shapes = {name.removeprefix("module.").removeprefix("model."): shape for name, shape in table.shapes.items()}
    if is_torchaudio(shapes):
        return open_torchaudio(path, table)
    if is_fairseq2(shapes):
        return open_fairseq2(path, table)
    first = next(iter(table.shapes), "nothing")
    raise UserError(
        f"{path}: tensors such as {shortened(first)} belong to no known wav2vec 2.0 model; a fairseq file needs its "
        "'cfg' or 'args', a transformers file its config.json"
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
    """Return the local path of a model, fetched from the hub if ``source`` is an id there. Arguments as for ``load``.

    Raises:
        UserError: There is no such model, here or on the hub.
    """
    path = Path(source)
    if path.exists():
        return _model_of_run(path)
    if is_hub_id(str(source)):
        return fetch(str(source), language=language, revision=revision, token=token, offline=offline, cache=cache)
    raise UserError(f"{source}: no such model; give a model directory, a checkpoint file or an id on the hub")


def _model_of_run(path: Path) -> Path:
    """Return the model inside ``path`` if that is the folder of a training run or of ``adapt``, else ``path``."""
    if not all((path / name).is_file() for name in _RUN) or (path / "config.json").exists():
        inside = path / "model"
        return inside if (inside / "config.json").is_file() and not any(path.glob("*.safetensors")) else path
    if (path / "model").is_dir():
        return path / "model"
    if (path / "best").is_dir():
        warnings.warn(f"{path}: this run has not ended; its best weights so far are used", FileWarning, stacklevel=3)
        return path / "best"
    raise UserError(f"{path}: this training run has no model yet; it writes one when it validates, and at its end")


def language_model_folder(source: str | Path) -> Path | None:
    """Return the folder ``language_model`` beside a model, None if it has none. From the hub it is fetched now.

    A small file that comes with every model, ``alphabet.json``, shows that the hub has one.

    Raises:
        UserError: The hub has one, and it cannot be fetched.
    """
    folder = locate(source)
    found = folder / _LANGUAGE_MODEL if folder.is_dir() else folder.parent / _LANGUAGE_MODEL
    if found.is_dir():
        return found
    if Path(source).exists() or not (found.parent / ALPHABET).exists():
        return None
    fetched = fetch(str(source), only=(f"{_LANGUAGE_MODEL}/*",)) / _LANGUAGE_MODEL
    return fetched if fetched.is_dir() else None
