"""LibriSpeech from OpenSLR: resumed by HTTP ranges, checked by MD5 as it streams, unpacked inside its folder only."""

import hashlib
import os
import sys
import tarfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from http.client import HTTPException
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from wav2vec2.errors import UserError

LIBRISPEECH_URL = "https://www.openslr.org/resources/12"
LIBRISPEECH_MD5 = {
    "dev-clean": "42e2234ba48799c1f50f24a7926300a1",
    "dev-other": "c8d0bcc9cca99d4f8b62fcc847357931",
    "test-clean": "32fa31d27d2e1cad72775fff3f4849a9",
    "test-other": "fb5a50374b501bb3bac4815ee91d3135",
    "train-clean-100": "2a93770f6d5c6c964bc36631d331a522",
    "train-clean-360": "c0e676e450a7ff2f54aeade5171606fa",
    "train-other-500": "d1a0fd59409feb2c614ce4d30c387708",
}
_BLOCK = 1 << 20
_ATTEMPTS = 5
_TIMEOUT_SECONDS = 60


def download_librispeech(
    names: Iterable[str], root: Path, base_url: str = LIBRISPEECH_URL, checksums: dict[str, str] | None = None
) -> None:
    """Fetch and unpack parts of LibriSpeech into `root`/dev-clean, ...; parts that are there already are left alone.

    Args:
        names: parts, as in `LIBRISPEECH_MD5`.
        root: the folder for them; archives wait in `root`/.download until they are unpacked.
        base_url: folder of the archives NAME.tar.gz.
        checksums: MD5 by name, LibriSpeech's own by default.

    Raises:
        UserError: for an unknown part, no connection, a wrong checksum, or a full disk.
    """
    known = LIBRISPEECH_MD5 if checksums is None else checksums
    wanted = [name.strip() for name in names if name.strip()]
    for name in wanted:
        if name not in known:
            raise UserError(f"--download {name}: is no part of LibriSpeech: choose among {', '.join(known)}")
    for name in wanted:
        done = root / ".download" / f"{name}.done"
        if done.exists():
            continue
        try:
            done.parent.mkdir(parents=True, exist_ok=True)
            archive = done.with_suffix(".tar.gz")
            fetch(f"{base_url.rstrip('/')}/{name}.tar.gz", archive, known[name])
            unpack(archive, root)
            done.touch()
            archive.unlink()
        except OSError as error:
            why = error.strerror or " ".join(str(error).split())
            raise UserError(f"{root}: cannot take {name} ({why}): free space or choose another folder") from None


def fetch(url: str, path: Path, md5: str) -> None:
    """Download `url` to `path`; what an interrupted download left in `path`.part is continued, not fetched again.

    Raises:
        UserError: when the server does not deliver after several attempts, or the content has another MD5 (it is then
            removed).
    """
    if path.exists():
        return
    partial = path.with_name(path.name + ".part")
    console = Console(stderr=True)
    columns = (TextColumn(path.name), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("download", total=None)
        digest = _persist(url, partial, lambda done, total: progress.update(task, completed=done, total=total))
    if digest != md5:
        partial.unlink()
        raise UserError(f"{url}: has MD5 {digest} instead of {md5} and was removed: download it again")
    os.replace(partial, path)


def _persist(url: str, partial: Path, report: Callable[[int, int | None], None]) -> str:
    """Continue until all is there, as long as each attempt brings something; returns the MD5."""
    problem = ""
    for _ in range(_ATTEMPTS):
        before = _size(partial)
        try:
            return _continue(url, partial, report)
        except (urllib.error.URLError, HTTPException, ConnectionError, TimeoutError, ValueError) as error:
            problem = " ".join(str(error).split()) or type(error).__name__
            if _size(partial) <= before:
                break
    raise UserError(f"{url}: cannot be downloaded ({problem}): check the address and run the same command again")


def _continue(url: str, partial: Path, report: Callable[[int, int | None], None]) -> str:
    """Append to `partial` what is missing; returns the MD5 over the whole file. Raises when the connection breaks."""
    have = _size(partial)
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing is missing any more
            return _hash_file(partial).hexdigest()
        raise
    with response:
        if response.status != 206:  # a server without ranges sends it all again
            have = 0
        digest = _hash_file(partial) if have else hashlib.md5(usedforsecurity=False)
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


def _hash_file(path: Path) -> "hashlib._Hash":
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def unpack(archive: Path, root: Path) -> None:
    """Unpack a tar archive into `root`, without its leading folder LibriSpeech/; nothing may land outside of `root`.

    Raises:
        UserError: for a damaged archive, or a member with a path or link that leaves the folder.
    """
    print(f"unpacking {archive.name}", file=sys.stderr)
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                name = member.name.removeprefix("./").removeprefix("LibriSpeech/")
                if name in ("", ".", "LibriSpeech"):
                    continue
                tar.extract(member.replace(name=name, deep=False), root, filter="data")
    except (tarfile.TarError, EOFError, ValueError) as error:
        why = " ".join(str(error).split())[:200]
        raise UserError(f"{archive}: cannot be unpacked safely ({why}): remove it and download it again") from None
