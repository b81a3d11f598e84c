"""Load a model from a directory, a file of any readable format, or the Hugging Face hub.

The hub is read through huggingface_hub and its cache; only the files that loading needs are fetched.
"""

import contextlib
import fnmatch
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import torch

from wav2vec2.checkpoints.checkpoint import Checkpoint, Model, build_model
from wav2vec2.checkpoints.fairseq.files import is_fairseq, open_fairseq
from wav2vec2.checkpoints.fairseq2.files import is_fairseq2, open_fairseq2, open_fairseq2_step, state_dict
from wav2vec2.checkpoints.huggingface.directory import open_directory
from wav2vec2.checkpoints.tensors.table import SafetensorsTable, TensorTable, TorchTable
from wav2vec2.checkpoints.tensors.torch_file import TorchFile
from wav2vec2.checkpoints.torchaudio import is_torchaudio, open_torchaudio
from wav2vec2.errors import UserError, quoted, shortened

_SUFFIXES = (".pt", ".pth", ".bin", ".safetensors", ".ckpt")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_HUB_LIBRARIES = ("huggingface_hub", "httpx", "httpx2", "httpcore", "requests", "urllib3")
_ALPHABET, _LANGUAGE_MODEL = "alphabet.json", "language_model"  # of pyctcdecode
_DESCRIPTIONS = (
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "vocab.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    _ALPHABET,
)
# The first of these kinds of weights that the hub has is fetched, and no other.
_WEIGHTS = (
    ("model.safetensors",),
    ("model.safetensors.index.json", "model-*-of-*.safetensors"),
    ("pytorch_model.bin",),
    ("pytorch_model.bin.index.json", "pytorch_model-*-of-*.bin"),
)


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
        source: a model directory (ours or transformers'); a file of fairseq, fairseq2 (also omnilingual) or torchaudio,
            or the folder of one; or an id on the Hugging Face hub, such as facebook/wav2vec2-base-960h.
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
        return path
    if is_hub_id(str(source)):
        return fetch(str(source), language=language, revision=revision, token=token, offline=offline, cache=cache)
    raise UserError(f"{source}: no such model; give a model directory, a checkpoint file or an id on the hub")


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
    if Path(source).exists() or not (found.parent / _ALPHABET).exists():
        return None
    fetched = fetch(str(source), only=(f"{_LANGUAGE_MODEL}/*",)) / _LANGUAGE_MODEL
    return fetched if fetched.is_dir() else None


def is_hub_id(source: str) -> bool:
    """Whether ``source`` has the form of an id, ``owner/name``, and does not lie below a folder that exists."""
    if _HUB_ID.fullmatch(source) is None or source.endswith((".pt", ".pth", ".bin", ".safetensors")):
        return False
    return not Path(source).parent.is_dir()


def fetch(
    model: str,
    *,
    language: str | None = None,
    revision: str | None = None,
    token: str | None = None,
    offline: bool = False,
    cache: str | Path | None = None,
    only: tuple[str, ...] = (),
) -> Path:
    """Return a folder with a hub model's files, downloaded unless the cache has them. Arguments as for ``load``.

    ``only``: patterns of the files to fetch, in place of those that loading needs.

    If the hub cannot be reached, only the cache is used. For a multilingual model, only the adapter of ``language`` is
    fetched.

    Raises:
        UserError: There is no such model or revision, it is private, or neither the hub nor the cache has it.
    """
    import huggingface_hub
    from huggingface_hub import constants

    cached = huggingface_hub.try_to_load_from_cache(model, "config.json", cache_dir=cache, revision=revision)
    if offline or constants.HF_HUB_OFFLINE:
        if only:
            raise UserError(f"{model}: its {only[0]} is not in the hub's cache; fetch it once while online")
        if not isinstance(cached, str):
            raise UserError(f"{model}: neither a local path nor in the hub's cache; fetch it once while online")
        return Path(cached).parent
    try:
        with _without_retry_messages():
            patterns = list(only) or _needed(
                model, huggingface_hub.HfApi(token=token).list_repo_files(model, revision=revision), language
            )
            folder = huggingface_hub.snapshot_download(
                model, revision=revision, token=token, cache_dir=cache, allow_patterns=patterns
            )
    except UserError:
        raise
    except Exception as error:
        # Which HTTP library lies beneath, and so which errors there are, depends on huggingface_hub's version.
        known = isinstance(error, OSError | ValueError) or type(error).__module__.split(".")[0] in _HUB_LIBRARIES
        if not known:
            raise
        if isinstance(cached, str) and getattr(error, "response", None) is None and not only:
            return Path(cached).parent  # no answer from the hub
        raise UserError(f"{model}: {_hub_reason(error, revision)}") from error
    return Path(folder)


@contextlib.contextmanager
def _without_retry_messages() -> Iterator[None]:
    """Silence huggingface_hub's report of every attempt: our message gives the reason of the last one."""
    from huggingface_hub.utils import logging as hub_logging

    before = hub_logging.get_verbosity()
    hub_logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        hub_logging.set_verbosity(before)


def _needed(model: str, files: list[str], language: str | None) -> list[str]:
    """Return patterns of the files that loading needs."""
    adapters = [f"adapter.{language}.safetensors", f"adapter.{language}.bin"] if language else []
    return [*_weight_patterns(model, files), *_DESCRIPTIONS, *adapters]


def _weight_patterns(model: str, files: list[str]) -> list[str]:
    for patterns in _WEIGHTS:
        if any(fnmatch.fnmatch(file, patterns[0]) for file in files):
            return list(patterns)
    raise UserError(f"{model}: has neither model.safetensors nor pytorch_model.bin on the hub; choose another model")


def _hub_reason(error: Exception, revision: str | None) -> str:
    from huggingface_hub import errors

    if isinstance(error, errors.RevisionNotFoundError):
        return f"has no revision {quoted(revision)} on the hub; give a branch, a tag or a commit"
    if isinstance(error, errors.GatedRepoError):
        return "is gated on the hub; accept its conditions there and give a token"
    if isinstance(error, errors.RepositoryNotFoundError):
        return "neither a local path nor a model on the hub, or private; check the name, or give a token"
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is not None:
        return f"the hub answered with status {status}; try again later, or give a local directory"
    words = " ".join(str(error).split())[:200] or type(error).__name__
    return f"not a local path, and fetching it from the hub failed ({words}); check the name and the connection"
