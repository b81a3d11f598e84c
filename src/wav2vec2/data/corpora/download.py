"""Downloading public corpora: resumed after an interruption, checked by digest, unpacked inside their folder only.

Checksums: LibriSpeech's are the MD5s of OpenSLR's md5sum.txt, Libri-light's those of its README, and the limited sets'
is the SHA-256 that torchaudio checks; for MLS and FLEURS the server is asked. TIMIT and Common Voice have terms that
every user must accept, so they cannot be downloaded here.
"""

import base64
import binascii
import contextlib
import hashlib
import os
import sys
import tarfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from wav2vec2.errors import UserError

_BLOCK = 1 << 20
_ATTEMPTS = 5
_TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class Archive:
    """A tar archive of a corpus."""

    name: str
    """Its file name."""
    url: str
    checksum: str = ""
    """MD5 or SHA-256 in hexadecimal; empty: ask the server."""
    checksums: str = ""
    """URL of the server's list, lines "MD5 NAME"; empty: ask for the header `x-goog-hash`."""
    top: str = ""
    """Leading folder to strip from the names of its members."""


def download(archives: Iterable[Archive], root: Path) -> None:
    """Download and unpack archives into `root`, except those that an earlier run has unpacked.

    An archive stays in `root`/.download until it is unpacked, so that twice its size is needed for a while.

    Raises:
        UserError: there is no connection, a checksum is wrong, or the disk is full.
    """
    for archive in archives:
        stem = archive.name.removesuffix(".gz").removesuffix(".tgz").removesuffix(".tar")
        done = root / ".download" / f"{stem}.done"
        if done.exists():
            continue
        try:
            done.parent.mkdir(parents=True, exist_ok=True)
            packed = done.with_name(archive.name)
            if not packed.exists():
                fetch(archive.url, packed, archive.checksum or _published_checksum(archive))
            unpack(packed, root, top=archive.top)
            done.touch()
            packed.unlink()
        except OSError as error:
            why = error.strerror or " ".join(str(error).split())
            raise UserError(f"{root}: {stem} cannot be stored ({why}): free space or choose another folder") from None


def _published_checksum(archive: Archive) -> str:
    """Return the MD5 that the server gives for an archive; if it gives none, "", with a note on stderr."""
    if archive.checksums:
        text = _ask(urllib.request.Request(archive.checksums))[0].decode("utf-8", "replace")
        listed = [line.split() for line in text.splitlines()]
        found = [words[0] for words in listed if len(words) == 2 and Path(words[1].lstrip("*")).name == archive.name]
        if not found:
            raise UserError(f"{archive.checksums}: lists no checksum of {archive.name}: the corpus may have moved")
        return found[0].lower()
    for given in _ask(urllib.request.Request(archive.url, method="HEAD"))[1]:
        for part in given.split(","):
            kind, _, value = part.strip().partition("=")
            with contextlib.suppress(binascii.Error):
                if kind == "md5":
                    return base64.b64decode(value, validate=True).hex()
    print(f"{archive.name}: the server gives no checksum; only the length is checked", file=sys.stderr)
    return ""


def _ask(request: urllib.request.Request) -> tuple[bytes, list[str]]:
    """Send a request with a small answer; returns (content, values of its header x-goog-hash)."""
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:
            return response.read(_BLOCK), response.headers.get_all("x-goog-hash") or []
    except (urllib.error.URLError, HTTPException, OSError, ValueError) as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{request.full_url}: cannot be read ({why}): check the address and the connection") from None


def fetch(url: str, path: Path, checksum: str) -> None:
    """Download `url` to `path`, continuing an interrupted download from `path`.part.

    Args:
        url: what to download.
        path: the file to write.
        checksum: its MD5 or SHA-256 in hexadecimal; empty: only the length that the server gives is checked.

    Raises:
        UserError: the download fails after several attempts, or the content has another checksum (it is then removed).
    """
    if path.exists():
        return
    partial = path.with_name(path.name + ".part")
    kind = "SHA-256" if len(checksum) == 64 else "MD5"
    console = Console(stderr=True)
    columns = (TextColumn(path.name), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("download", total=None)
        report = lambda done, total: progress.update(task, completed=done, total=total)  # noqa: E731
        digest = _persist(url, partial, kind, report)
    if checksum and digest != checksum:
        partial.unlink()
        raise UserError(f"{url}: has {kind} {digest} instead of {checksum} and was removed: download it again")
    os.replace(partial, path)


def _persist(url: str, partial: Path, kind: str, report: Callable[[int, int | None], None]) -> str:
    """Repeat `_continue` until the file is complete, as long as each attempt makes progress; returns the digest."""
    problem = ""
    for _ in range(_ATTEMPTS):
        before = _size(partial)
        try:
            return _continue(url, partial, kind, report)
        except (urllib.error.URLError, HTTPException, ConnectionError, TimeoutError, ValueError) as error:
            problem = " ".join(str(error).split()) or type(error).__name__
            if _size(partial) <= before:
                break
    raise UserError(f"{url}: cannot be downloaded ({problem}): check the address and run the same command again")


def _continue(url: str, partial: Path, kind: str, report: Callable[[int, int | None], None]) -> str:
    """Download what `partial` lacks; returns the digest of the whole file. Raises if the connection breaks."""
    have = _size(partial)
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing is missing
            return _hash_file(partial, kind).hexdigest()
        raise
    with response:
        if response.status != 206:  # a server without range requests sends everything again
            have = 0
        digest = _hash_file(partial, kind) if have else _digest(kind)
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        with partial.open("ab" if have else "wb") as file:
            while block := response.read(_BLOCK):
                file.write(block)
                digest.update(block)
                have += len(block)
                report(have, total)
    if total is not None and have < total:
        raise ConnectionError(f"closed after {have} of {total} bytes")
    return digest.hexdigest()


def _digest(kind: str) -> "hashlib._Hash":
    return hashlib.sha256() if kind == "SHA-256" else hashlib.md5(usedforsecurity=False)


def _hash_file(path: Path, kind: str) -> "hashlib._Hash":
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: _digest(kind))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def unpack(archive: Path, root: Path, *, top: str = "") -> None:
    """Unpack a tar archive into `root`, without its leading folder `top`.

    Raises:
        UserError: the archive is damaged, or the path or link of a member leads out of `root`.
    """
    print(f"unpacking {archive.name}", file=sys.stderr)
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                name = member.name.removeprefix("./")
                if name in ("", ".", top):
                    continue
                name = name.removeprefix(f"{top}/") if top else name
                tar.extract(member.replace(name=name, deep=False), root, filter="data")
    except (tarfile.TarError, EOFError, ValueError, zlib.error) as error:
        why = " ".join(str(error).split())[:200]
        raise UserError(f"{archive}: cannot be unpacked safely ({why}): remove it and download it again") from None


LIBRISPEECH_URL = "https://www.openslr.org/resources/12"
LIBRISPEECH_MD5 = {
    "dev-clean": "42e2234ba48799c1f50f24a7926300a1",
    "dev-other": "c8d0bcc9cca99d4f8b62fcc847357931",
    "test-clean": "32fa31d27d2e1cad72775fee3f4849a9",
    "test-other": "fb5a50374b501bb3bac4815ee91d3135",
    "train-clean-100": "2a93770f6d5c6c964bc36631d331a522",
    "train-clean-360": "c0e676e450a7ff2f54aeade5171606fa",
    "train-other-500": "d1a0fd59409feb2c614ce4d30c387708",
}

LIBRILIGHT_URL = "https://dl.fbaipublicfiles.com/librilight/data"
LIBRILIGHT_MD5 = {
    "small": "c49207eb86a8e8ac895561c37232041e",
    "medium": "c75e7ac62471bfbf2db77528d62a9b74",
    "large": "4dfbac018f50b99797ece101fc9f0c30",
}
LIMITED_SHA256 = {"librispeech_finetuning": "5d1efdc777b548194d7e09ba89126e2188026df9fd57aa57eb14408d2b2342af"}

MLS_URL = "https://dl.fbaipublicfiles.com/mls"
MLS_LANGUAGES = {
    "dutch": "nl", "english": "en", "french": "fr", "german": "de", "italian": "it", "polish": "pl",
    "portuguese": "pt", "spanish": "es",
}  # fmt: skip

FLEURS_URL = "https://storage.googleapis.com/xtreme_translations/FLEURS102"


def librispeech_archives(names: str, base_url: str = LIBRISPEECH_URL) -> list[Archive]:
    """The archives of parts of LibriSpeech (comma-separated, or "all"). Raises UserError for an unknown part."""
    return [
        Archive(f"{name}.tar.gz", f"{base_url.rstrip('/')}/{name}.tar.gz", LIBRISPEECH_MD5[name], top="LibriSpeech")
        for name in _chosen(names, LIBRISPEECH_MD5, "part of LibriSpeech")
    ]


def librilight_archives(names: str, base_url: str = LIBRILIGHT_URL) -> list[Archive]:
    """The archives of subsets of Libri-light (comma-separated, or "all"). Raises UserError for an unknown subset."""
    return [
        Archive(f"{name}.tar", f"{base_url.rstrip('/')}/{name}.tar", LIBRILIGHT_MD5[name])
        for name in _chosen(names, LIBRILIGHT_MD5, "subset of Libri-light")
    ]


def limited_archives(base_url: str = LIBRILIGHT_URL) -> list[Archive]:
    """The one archive of Libri-light's limited-supervision sets."""
    return [
        Archive(f"{name}.tgz", f"{base_url.rstrip('/')}/{name}.tgz", checksum)
        for name, checksum in LIMITED_SHA256.items()
    ]


def mls_archives(names: str, *, opus: bool, base_url: str = MLS_URL) -> list[Archive]:
    """The archives of languages of MLS, by their English names (comma-separated, or "all").

    Raises:
        UserError: a language is unknown.
    """
    base, kind = base_url.rstrip("/"), "_opus" if opus else ""
    files = [f"mls_{name}{kind}.tar.gz" for name in _chosen(names, MLS_LANGUAGES, "language of MLS")]
    return [Archive(file, f"{base}/{file}", checksums=f"{base}/md5sum.txt") for file in files]


def fleurs_archives(names: str, base_url: str = FLEURS_URL) -> list[Archive]:
    """The archives of languages of FLEURS, by their codes (comma-separated): en_us, pl_pl, cmn_hans_cn, ...

    Raises:
        UserError: a name is not a language code.
    """
    languages = [name.strip() for name in names.split(",") if name.strip()]
    for name in languages:
        if not name.replace("_", "").isalnum():
            raise UserError(f"--download {name}: is not a language code of FLEURS: write one such as en_us or pl_pl")
    return [Archive(f"{name}.tar.gz", f"{base_url.rstrip('/')}/{name}.tar.gz") for name in languages]


def _chosen(names: str, known: Iterable[str], what: str) -> Sequence[str]:
    choices = list(known)
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    if wanted == ["all"]:
        return choices
    for name in wanted:
        if name not in choices:
            raise UserError(f"--download {name}: is not a {what}: choose among {', '.join(choices)}, or all")
    return wanted
