"""The download of a hub model's files into the hub's cache: resumed, shown, and compared with the hub's checksums.

huggingface_hub begins again when a download was interrupted, and compares sizes only. So large files are fetched here:
what has arrived stays beside the cache's files as ``SHA256.incomplete``, and the next attempt goes on from there. The
name of a finished file in the cache is its checksum, which is compared before the file gets this name.
"""

import hashlib
import http
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wav2vec2.errors import UserError
from wav2vec2.progress import clock, download_bar

_HUB_LIBRARIES = ("huggingface_hub", "httpx", "httpx2", "httpcore", "requests", "urllib3")
_BLOCK = 1 << 20
_PAUSE = 1.0
_FRUITLESS = 5  # attempts without a byte, after which the download is given up
_LONG = 5.0  # seconds after which it is said that all is there
_SPARE = 64 << 20  # bytes that stay free on the disk


@dataclass(frozen=True)
class RemoteFile:
    """A file on the hub. size in bytes; sha256 of its content, None for a small file, which git keeps itself."""

    name: str
    size: int
    sha256: str | None


@dataclass(frozen=True)
class Access:
    """Which revision is asked for, as whom, and where files are kept. None is the default of huggingface_hub."""

    revision: str | None
    token: str | None
    cache: str | Path | None


def size_in_words(size: int) -> str:
    """Return a number of bytes for people: 378 MB."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size >= unit:
            return f"{size / unit:.3g} {name}"
    return f"{size} bytes"


def download(model: str, commit: str, missing: Sequence[RemoteFile], wanted: Sequence[str], access: Access) -> Path:
    """Bring ``missing`` files of a model into the cache, and return the folder that then has all ``wanted`` ones.

    Raises:
        UserError: The disk is too full, or a file arrived damaged twice. What the hub's library raises is left as is.
    """
    import huggingface_hub
    from huggingface_hub import constants
    from huggingface_hub.utils import are_progress_bars_disabled  # type: ignore[attr-defined]

    store = Path(access.cache or constants.HF_HUB_CACHE) / f"models--{model.replace('/', '--')}"
    large = [file for file in missing if file.sha256 is not None]
    start = time.monotonic()
    if large:
        (store / "blobs").mkdir(parents=True, exist_ok=True)
        _check_space(model, store, large)
    arrived = sum(_size(_partial(store, file)) for file in large)
    if arrived:
        print(f"{model}: {size_in_words(arrived)} of it are there from an earlier attempt", file=sys.stderr, flush=True)
    with download_bar(
        sum(file.size for file in large), shown=bool(large) and not are_progress_bars_disabled()
    ) as advance:
        for file in large:
            url = huggingface_hub.hf_hub_url(model, file.name, revision=commit)
            _fetch_large(model, store, file, url, access.token, advance)
    known = {path.name for path in (store / "blobs").glob("*")}
    folder = Path(
        huggingface_hub.snapshot_download(
            model,
            revision=access.revision,
            token=access.token,
            cache_dir=access.cache,
            allow_patterns=[*map(_literal, wanted)],
            tqdm_class=_silent_bar(),
        )
    )
    for file in missing:
        _check_small(model, folder / file.name, known)
    if (lasted := time.monotonic() - start) > _LONG:
        print(f"{model}: fetched in {clock(lasted)}", file=sys.stderr, flush=True)
    return folder


def _literal(name: str) -> str:
    """Return a pattern that matches this name alone."""
    return name.replace("[", "[[]").replace("*", "[*]").replace("?", "[?]")


def _check_space(model: str, store: Path, files: Sequence[RemoteFile]) -> None:
    needed = sum(file.size - _size(_partial(store, file)) for file in files)
    free = shutil.disk_usage(store).free
    if needed + _SPARE > free:
        raise UserError(
            f"{model}: needs {size_in_words(needed)}, and {store.parent} has {size_in_words(free)} left; free some "
            "space, or set HF_HOME to a folder of another disk"
        )


def _partial(store: Path, file: RemoteFile) -> Path:
    return store / "blobs" / f"{file.sha256}.incomplete"


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _fetch_large(
    model: str, store: Path, file: RemoteFile, url: str, token: str | None, advance: Callable[[int], None]
) -> None:
    """Bring one file into the cache under the name of its checksum. Other processes that want it wait for it."""
    from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

    finished, partial = store / "blobs" / str(file.sha256), _partial(store, file)
    lock = store.parent / ".locks" / store.name / f"{file.sha256}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(lock):
        while not finished.exists():
            if _size(partial) > file.size:
                partial.unlink()
            before = _size(partial)
            advance(before)
            _receive(url, partial, file, token, advance)
            if _checksum(partial, hashlib.sha256()) == file.sha256:
                os.replace(partial, finished)
                return
            partial.unlink()
            advance(-file.size)
            if not before:
                raise UserError(
                    f"{model}: {file.name} arrived damaged: its SHA-256 is not the one that the hub names; nothing of "
                    "it was kept; try again, or from another network"
                )


def of_a_hub_library(error: Exception) -> bool:
    """Whether an error is one of the hub's client, or of the HTTP library beneath, which depends on its version."""
    return type(error).__module__.split(".")[0] in _HUB_LIBRARIES


def _receive(url: str, partial: Path, file: RemoteFile, token: str | None, advance: Callable[[int], None]) -> None:
    """Append to ``partial`` until it is whole; a broken connection is taken up again, some times if nothing comes."""
    fruitless = 0
    while (before := _size(partial)) < file.size:
        try:
            _stream(url, partial, before, token, advance)
        except OSError:  # the disk, or an answer that is an error
            raise
        except Exception as error:
            if fruitless == _FRUITLESS or not of_a_hub_library(error):
                raise
        fruitless = 0 if _size(partial) > before else fruitless + 1
        if fruitless > _FRUITLESS:
            raise OSError(f"{file.name}: the connection ends after {before} of {file.size} bytes")
        if _size(partial) < file.size:
            time.sleep(_PAUSE)


def _stream(url: str, partial: Path, before: int, token: str | None, advance: Callable[[int], None]) -> None:
    """Append what comes after the first ``before`` bytes; the whole, in place of them, from a server without ranges."""
    from huggingface_hub import constants, get_session, hf_raise_for_status
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    headers = {**build_hf_headers(token=token), "Accept-Encoding": "identity"}
    if before:
        headers["Range"] = f"bytes={before}-"
    timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
    with get_session().stream("GET", url, headers=headers, timeout=timeout) as response:
        hf_raise_for_status(response)
        continued = response.status_code == http.HTTPStatus.PARTIAL_CONTENT
        if before and not continued:
            advance(-before)
        with partial.open("ab" if continued else "wb") as output:
            for block in response.iter_bytes():
                output.write(block)
                advance(len(block))


def _silent_bar() -> Any:
    """Return a class that the hub's library takes for its progress bars of small files, and that shows nothing."""
    from huggingface_hub.utils import tqdm  # type: ignore[attr-defined]

    class Silent(tqdm):
        def __init__(self, *arguments: Any, **settings: Any) -> None:
            super().__init__(*arguments, **{**settings, "disable": True})  # type: ignore[no-untyped-call]

    return Silent


def _checksum(path: Path, content: Any) -> str:
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            content.update(block)
    return str(content.hexdigest())


def _check_small(model: str, path: Path, known: set[str]) -> None:
    """Compare a file that has just arrived with its name in the cache, git's hash of it; remove it if wrong."""
    blob = path.resolve()
    if blob.name in known or blob == path or len(blob.name) != hashlib.sha1().digest_size * 2:
        return
    start = hashlib.sha1(b"blob %d\0" % blob.stat().st_size, usedforsecurity=False)
    if _checksum(blob, start) != blob.name:
        path.unlink()
        blob.unlink()
        raise UserError(f"{model}: {path.name} arrived damaged; nothing of it was kept; try again")
