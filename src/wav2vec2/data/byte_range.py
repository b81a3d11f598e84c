"""Byte ranges of files: local ones directly, others through fsspec, which is imported only for them."""

import functools
import os
from typing import Any

from wav2vec2.audio.read import AudioError


def read_bytes(path: str, offset: int = -1, size: int = -1) -> bytes:
    """Bytes of a local file or fsspec URL: `size` of them from `offset`, or all of it when `size` is negative.

    Raises:
        AudioError: when it is missing, unreadable or shorter than that.
    """
    remote = "://" in path
    try:
        if remote:
            files, key = _filesystem(path)
            content: bytes = files.cat_file(key, offset, offset + size) if size >= 0 else files.cat_file(key)
        else:
            with open(path, "rb", buffering=0 if size >= 0 else -1) as file:
                if size >= 0:
                    file.seek(offset)
                content = file.read() if size < 0 else _read_fully(file, size)
    except FileNotFoundError:
        raise AudioError(f"{path}: does not exist: mend the path or prepare the manifest again", "missing") from None
    except ImportError as error:
        raise AudioError(
            f"{path}: fsspec lacks a package for this address ({error}): install it", "unreadable"
        ) from None
    except Exception as error:
        # A remote file system raises what its library likes; locally only the system's own errors are expected.
        if not remote and not isinstance(error, OSError | ValueError):
            raise
        why = " ".join(str(error).split())[:160]
        raise AudioError(f"{path}: cannot be read ({why}): check address and permissions", "unreadable") from None
    if size >= 0 and len(content) < size:
        raise AudioError(
            f"{path}: ends before byte {offset + size}: copy it again or write the shards anew", "cut short"
        )
    return content


def _read_fully(file: Any, size: int) -> bytes:
    pieces = []
    while size > 0 and (piece := file.read(size)):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


@functools.lru_cache(maxsize=64)
def _protocol_filesystem(protocol: str, host: str, process: int) -> Any:
    import fsspec

    return fsspec.core.url_to_fs(f"{protocol}://{host}")[0]


def _filesystem(url: str) -> tuple[Any, str]:
    """The file system of a URL and the key in it; made once per host and process: connections do not survive a fork."""
    protocol, _, rest = url.partition("://")
    files = _protocol_filesystem(protocol, rest.split("/")[0], os.getpid())
    return files, files._strip_protocol(url)
