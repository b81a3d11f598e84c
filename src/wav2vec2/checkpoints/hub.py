"""Models on the Hugging Face hub: fetch what loading needs of one, through huggingface_hub and its cache."""

import contextlib
import fnmatch
import logging
import re
from collections.abc import Iterator
from pathlib import Path

from wav2vec2.errors import UserError

_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_LIBRARIES = ("huggingface_hub", "httpx", "httpx2", "httpcore", "requests", "urllib3")
_DESCRIPTIONS = (
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "vocab.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
# The first kind of weights that is there is fetched, the others are not.
_WEIGHTS = (
    ("model.safetensors",),
    ("model.safetensors.index.json", "model-*-of-*.safetensors"),
    ("pytorch_model.bin",),
    ("pytorch_model.bin.index.json", "pytorch_model-*-of-*.bin"),
)


def is_id(source: str) -> bool:
    """Tell whether a word has the form of an id, ``owner/name``, and is no path below a folder that is here."""
    if _ID.fullmatch(source) is None or source.endswith((".pt", ".pth", ".bin", ".safetensors")):
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
) -> Path:
    """Return a folder with a model's files, from the cache where they are there already.

    ``revision`` is a branch, a tag or a commit; ``token`` opens private models (default: the one that ``hf auth login``
    stored); ``offline`` reads the cache alone, which also answers when the
    hub does not; ``cache`` is its folder. Of a multilingual model only ``language``'s
    adapter is fetched.

    Raises:
        UserError: There is no such model or revision, it is private, the cache lacks it, or the hub cannot be reached.
    """
    import huggingface_hub
    from huggingface_hub import constants

    cached = huggingface_hub.try_to_load_from_cache(model, "config.json", cache_dir=cache, revision=revision)
    if offline or constants.HF_HUB_OFFLINE:
        if not isinstance(cached, str):
            raise UserError(f"{model}: neither a local path nor in the cache; fetch it once while online")
        return Path(cached).parent
    try:
        with _without_retry_messages():
            files = huggingface_hub.HfApi(token=token).list_repo_files(model, revision=revision)
            patterns = [*_first_weights(model, files), *_DESCRIPTIONS]
            patterns += [f"adapter.{language}.safetensors", f"adapter.{language}.bin"] if language else []
            folder = huggingface_hub.snapshot_download(
                model, revision=revision, token=token, cache_dir=cache, allow_patterns=patterns
            )
    except UserError:
        raise
    except Exception as error:
        # which HTTP library is beneath, and so which errors there are, depends on huggingface_hub's version
        known = isinstance(error, OSError | ValueError) or type(error).__module__.split(".")[0] in _LIBRARIES
        if not known:
            raise
        if isinstance(cached, str) and getattr(error, "response", None) is None:
            return Path(cached).parent  # no answer, but the cache has it
        raise UserError(f"{model}: {_reason(error, revision)}") from error
    return Path(folder)


@contextlib.contextmanager
def _without_retry_messages() -> Iterator[None]:
    """The hub's library tells every attempt of its own; the last one's reason is in our one line."""
    from huggingface_hub.utils import logging as hub_logging

    before = hub_logging.get_verbosity()
    hub_logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        hub_logging.set_verbosity(before)


def _first_weights(model: str, files: list[str]) -> list[str]:
    for group in _WEIGHTS:
        if any(fnmatch.fnmatch(file, group[0]) for file in files):
            return list(group)
    raise UserError(f"{model}: has neither model.safetensors nor pytorch_model.bin on the hub; choose another model")


def _reason(error: Exception, revision: str | None) -> str:
    from huggingface_hub import errors

    if isinstance(error, errors.RevisionNotFoundError):
        return f"has no revision {revision!r} on the hub; give a branch, a tag or a commit"
    if isinstance(error, errors.GatedRepoError):
        return "is gated on the hub; accept its conditions there and give a token"
    if isinstance(error, errors.RepositoryNotFoundError):
        return "neither a local path nor a model on the hub, or private; check the name, or give a token"
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is not None:
        return f"the hub answered {status}; try again later, or give a local directory"
    words = " ".join(str(error).split())[:200] or type(error).__name__
    return f"neither a local path, nor can it be fetched from the hub ({words}); check the name and the connection"
