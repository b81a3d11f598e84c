"""Models of the Hugging Face hub, read through huggingface_hub and its cache; only what loading needs is fetched."""

import contextlib
import fnmatch
import logging
import re
from collections.abc import Iterator
from pathlib import Path

from wav2vec2.errors import UserError, quoted

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_HUB_LIBRARIES = ("huggingface_hub", "httpx", "httpx2", "httpcore", "requests", "urllib3")
ALPHABET = "alphabet.json"
"""A small file of pyctcdecode's, which comes with every model that has a language model beside it."""
_DESCRIPTIONS = (
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "vocab.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    ALPHABET,
)
# The first of these kinds of weights that the hub has is fetched, and no other.
_WEIGHTS = (
    ("model.safetensors",),
    ("model.safetensors.index.json", "model-*-of-*.safetensors"),
    ("pytorch_model.bin",),
    ("pytorch_model.bin.index.json", "pytorch_model-*-of-*.bin"),
)


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
