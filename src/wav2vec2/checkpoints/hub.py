"""Models of the Hugging Face hub, read through huggingface_hub and its cache; only what loading needs is fetched.

Before anything large is fetched, a line on stderr says what, how large, from where and under which licence.
"""

import contextlib
import fnmatch
import logging
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wav2vec2.checkpoints.default_model import remedy_offline
from wav2vec2.checkpoints.hub_download import Access, RemoteFile, download, of_a_hub_library, size_in_words
from wav2vec2.checkpoints.languages import no_such_language
from wav2vec2.errors import UserError, quoted

if TYPE_CHECKING:
    from huggingface_hub import ModelInfo

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
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
# fairseq, fairseq2 and omnilingual: one checkpoint, with what describes it.
_CHECKPOINT, _BESIDE_CHECKPOINT = "*.pt", ("*.model", "model.yaml", "dict.ltr.txt")
_ADAPTER = re.compile(r"adapter\.(.+)\.(?:safetensors|bin)")


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
        UserError: There is no such model, revision or language, it is private, a file arrives damaged, or neither the
            hub nor the cache has it.
    """
    from huggingface_hub import constants

    access = Access(revision, token, cache)
    if offline or constants.HF_HUB_OFFLINE:
        return _cached(model, access, language, only)
    try:
        with _without_retry_messages():
            return _fetch(model, access, language, only)
    except UserError:
        raise
    except Exception as error:
        if not _is_the_hubs(error):
            raise
        if getattr(error, "response", None) is None and not only:  # no answer from the hub
            with contextlib.suppress(UserError):
                return _cached(model, access, language, only)
        raise UserError(f"{model}: {_hub_reason(error, revision)}{remedy_offline(model)}") from error


def _is_the_hubs(error: Exception) -> bool:
    """Whether the hub, the way to it or the disk is to blame; any other error is a fault of ours."""
    return isinstance(error, OSError | ValueError) or of_a_hub_library(error)


@dataclass(frozen=True)
class HubModel:
    """A model as the hub lists it. folder: what describes it, without weights. needed: the files that loading fetches,
    others: those that it leaves, both the largest first.
    """

    folder: Path
    needed: tuple[RemoteFile, ...]
    others: tuple[RemoteFile, ...]
    licence: str


def look_at(model: str, language: str | None = None) -> HubModel | None:
    """Return what the hub lists of a model, with its small files and no weights; None if the hub is not to be reached.

    Raises UserError as `fetch` does.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return None
    try:
        with _without_retry_messages():
            info, files = _listed(model, Access(None, None, None))
            patterns = _needed(model, list(files), language)
            small = [name for name in files if name in (*_DESCRIPTIONS, "README.md") or name == "model.yaml"]
            small += [name for name in patterns if language and name.startswith(f"adapter.{language}.")]
            folder = fetch(model, only=tuple(small)) if small else Path(model)
    except UserError:
        raise
    except Exception as error:
        if not _is_the_hubs(error):
            raise
        if getattr(error, "response", None) is None:
            return None
        raise UserError(f"{model}: {_hub_reason(error, None)}") from error
    by_size = sorted(files.values(), key=lambda file: -file.size)
    needed = [file for file in by_size if any(fnmatch.fnmatch(file.name, pattern) for pattern in patterns)]
    others = [file for file in by_size if file not in needed]
    return HubModel(folder, tuple(needed), tuple(others), _licence(info))


def _cached(model: str, access: Access, language: str | None, only: tuple[str, ...]) -> Path:
    """Return the folder of a model in the cache. Raises UserError if the cache does not have all of it."""
    missing = f"in the hub's cache{_why_offline()}; fetch it once while online"
    if only:
        raise UserError(f"{model}: its {only[0]} is not {missing}")
    folder = _snapshot(model, access)
    if folder is None:
        raise UserError(f"{model}: neither a local path nor {missing}{remedy_offline(model)}")
    names = [file.name for file in folder.iterdir()]
    if not any(fnmatch.fnmatch(name, kind[0]) for name in names for kind in (*_WEIGHTS, (_CHECKPOINT,))):
        raise UserError(f"{model}: its weights are not {missing}{remedy_offline(model)}")
    if language is not None and language not in (cached := _languages(names)):
        have = ", ".join(sorted(cached)) or "none"
        raise UserError(f"{model}: its language {quoted(language)} is not {missing}; the cache has {have}")
    return folder


def _why_offline() -> str:
    from huggingface_hub import constants

    return ", and HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else ""


def _snapshot(model: str, access: Access) -> Path | None:
    """Return the folder of a revision in the cache, None if it is not there."""
    from huggingface_hub import constants

    store = Path(access.cache or constants.HF_HUB_CACHE) / f"models--{model.replace('/', '--')}"
    revision = access.revision or constants.DEFAULT_REVISION
    named = store / "refs" / revision
    folder = store / "snapshots" / (named.read_text().strip() if named.is_file() else revision)
    return folder if folder.is_dir() else None


def _fetch(model: str, access: Access, language: str | None, only: tuple[str, ...]) -> Path:
    info, files = _listed(model, access)
    assert info.sha is not None
    patterns = list(only) or _needed(model, list(files), language)
    wanted = [file for name, file in files.items() if any(fnmatch.fnmatch(name, pattern) for pattern in patterns)]
    missing = [file for file in wanted if not _is_cached(model, file.name, info.sha, access)]
    folder = _snapshot(model, access)
    if not missing and folder is not None and folder.name == info.sha:
        return folder
    large = [file for file in missing if file.sha256 is not None]
    if large:
        print(f"{model}: {_announced(missing, info, access)}", file=sys.stderr, flush=True)
    return download(model, info.sha, missing, [file.name for file in wanted], access)


def _listed(model: str, access: Access) -> tuple["ModelInfo", dict[str, RemoteFile]]:
    import huggingface_hub

    info = huggingface_hub.HfApi(token=access.token).model_info(model, revision=access.revision, files_metadata=True)
    files = {
        file.rfilename: RemoteFile(file.rfilename, file.size or 0, file.lfs.sha256 if file.lfs else None)
        for file in info.siblings or ()
    }
    return info, files


def _is_cached(model: str, name: str, commit: str, access: Access) -> bool:
    import huggingface_hub

    cached = huggingface_hub.try_to_load_from_cache(model, name, cache_dir=access.cache, revision=commit)
    return isinstance(cached, str)


def _announced(missing: Sequence[RemoteFile], info: "ModelInfo", access: Access) -> str:
    """Return what is to be fetched, in words: how large, from where, under which licence, and into which folder."""
    from huggingface_hub import constants

    place = Path(access.cache or constants.HF_HUB_CACHE)
    size = size_in_words(sum(file.size for file in missing))
    return f"fetching {size} from {constants.ENDPOINT} into {place}; licence: {_licence(info)}"


def _licence(info: "ModelInfo") -> str:
    card = info.card_data
    named = getattr(card, "license", None)
    if named == "other":  # one of its author's own
        named = getattr(card, "license_name", None) or named
    tagged = [tag.partition(":")[2] for tag in info.tags or () if tag.startswith("license:")]
    licence = str(named or next(iter(tagged), ""))
    if not licence:
        return "not stated, so ask its author"
    return f"{licence} (not for commercial use)" if "-nc" in licence.lower() else licence


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
    patterns = [*_weight_patterns(model, files), *_DESCRIPTIONS]
    if language is None:
        return patterns
    own = f"adapter.{language}.safetensors", f"adapter.{language}.bin"
    adapter = next((name for name in own if name in files), None)
    if adapter is None:
        raise UserError(f"{model}: {no_such_language(language, _languages(files))}")
    return [*patterns, adapter]


def _languages(files: Sequence[str]) -> set[str]:
    return {found[1] for name in files if (found := _ADAPTER.fullmatch(name))}


def _weight_patterns(model: str, files: list[str]) -> list[str]:
    for patterns in _WEIGHTS:
        if any(fnmatch.fnmatch(file, patterns[0]) for file in files):
            return list(patterns)
    checkpoints = [file for file in files if fnmatch.fnmatch(file, _CHECKPOINT) and "/" not in file]
    if len(checkpoints) == 1:
        return [*checkpoints, *_BESIDE_CHECKPOINT]
    raise UserError(f"{model}: has neither model.safetensors nor pytorch_model.bin on the hub; choose another model")


def _hub_reason(error: Exception, revision: str | None) -> str:
    from huggingface_hub import errors

    if isinstance(error, errors.RevisionNotFoundError):
        return f"has no revision {quoted(revision)} on the hub; give a branch, a tag or a commit"
    if isinstance(error, errors.GatedRepoError):
        return "is gated on the hub; accept its conditions there and give a token ('hf auth login' stores it)"
    if isinstance(error, errors.RepositoryNotFoundError):
        return "neither a local path nor a model on the hub, or private; check the name, or give a token"
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is not None:
        return f"the hub answered with status {status}; try again later, or give a local directory"
    words = " ".join(str(error).split())[:200] or type(error).__name__
    return f"not a local path, and fetching it from the hub failed ({words}); check the name and the connection"
