"""Remote storage, by fsspec URL: its file systems, what their errors mean, and trying again.

A request that fails for a passing reason (an answer of 429 or 5xx, a connection that is reset, a timeout) is repeated
with exponential back-off and jitter, so that a thousand readers do not come back at the same moment. What will not pass
(a missing key, wrong credentials) is one line at once. The libraries' own repetitions are switched off for reading:
repetitions within repetitions have no bound.
"""

import errno
import functools
import os
import random
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from wav2vec2.audio.encoded_file import AudioError
from wav2vec2.errors import UserError, cause

RETRY_SECONDS = 120.0
"""A request that fails for a passing reason is not begun again after so long."""
FIRST_WAIT = 0.5
"""Mean of the first wait is half of this; each further wait is twice as long."""
LONGEST_WAIT = 20.0
SILENCE_SECONDS = 30.0
"""Without a byte for so long, a connection counts as broken."""
SLOWEST = 256 * 1024
"""Bytes a second; a request that is slower, beyond SILENCE_SECONDS, counts as broken."""

_EXTRAS = {"s3": "s3", "s3a": "s3", "http": "http", "https": "http"}
_PASSING_ERRNO = {errno.EBUSY, errno.EREMOTEIO, errno.EPIPE, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ETIMEDOUT}
# Of packages that need not be installed: botocore, aiohttp and urllib3, in this order.
_PASSING_CLASSES = {"HTTPClientError", "ResponseParserError", "ClientConnectionError", "ClientPayloadError"}
_PASSING_CLASSES |= {"IncompleteRead", "IncompleteReadError", "ProtocolError"}
_PASSING_CODES = {"SlowDown", "RequestTimeout", "RequestTimeoutException", "Throttling", "ThrottlingException"}
_PASSING_CODES |= {"InternalError", "ServiceUnavailable"}
_PASSING_STATUS = {408, 425, 429}
_WRONG_KEYS = {"NoCredentialsError", "PartialCredentialsError", "TokenRetrievalError", "UnauthorizedSSOTokenError"}
_URL = re.compile(r"[A-Za-z][A-Za-z0-9.\-]*://")
_COLLAPSED = re.compile(r"^([A-Za-z][A-Za-z0-9]+):/(?=[^/])")  # not a drive letter
_draw = random.SystemRandom()

Result = TypeVar("Result")


class StorageError(AudioError):
    """Something at a remote address that cannot be read or written. `reason` is as for AudioError."""


def is_remote(path: object) -> bool:
    """Whether a path is an fsspec URL, such as s3://bucket/key."""
    return _URL.match(str(path)) is not None


def address(path: str | Path) -> str:
    """Return a path as text; pathlib writes s3://bucket as s3:/bucket, which is undone."""
    text = str(path)
    return _COLLAPSED.sub(r"\1://", text) if isinstance(path, Path) and not path.exists() else text


def filesystem(url: str, *, patient: bool = False) -> tuple[Any, str]:
    """Return the fsspec file system of a URL and the key in it; one for each host and process.

    patient: leave the library's own repetitions on, for uploads of many parts.

    Raises:
        UserError: no such protocol, or its package is not installed.
    """
    protocol, _, rest = url.partition("://")
    try:
        files = _of_host(protocol, rest.split("/")[0], patient, os.getpid())  # connections do not survive a fork
    except ImportError as error:
        extra = _EXTRAS.get(protocol)
        remedy = f"pip install 'wav2vec2[{extra}]'" if extra else "install the package that fsspec names"
        raise StorageError(f"{url}: needs a package ({cause(error)}): {remedy}", "unreadable") from None
    except ValueError as error:
        raise StorageError(f"{url}: cannot be opened ({cause(error)}): correct the address", "unreadable") from None
    return files, files._strip_protocol(url)


@functools.lru_cache(maxsize=64)
def _of_host(protocol: str, host: str, patient: bool, process: int) -> Any:
    import fsspec

    configured = fsspec.config.conf.get(protocol, {})
    settings: dict[str, Any] = {}
    if protocol in ("s3", "s3a") and not patient:
        once = {"retries": {"total_max_attempts": 1}, "read_timeout": SILENCE_SECONDS}
        settings["config_kwargs"] = once | configured.get("config_kwargs", {})
    elif protocol in ("http", "https"):
        import aiohttp

        waits = aiohttp.ClientTimeout(total=None, sock_connect=SILENCE_SECONDS, sock_read=SILENCE_SECONDS)
        settings["client_kwargs"] = {"timeout": waits} | configured.get("client_kwargs", {})
    files = fsspec.core.url_to_fs(f"{protocol}://{host}", **settings)[0]
    if protocol in ("s3", "s3a") and not patient:
        files.retries = 1
    return files


def repeated(url: str, action: Callable[[], Result], *, done: str = "read") -> Result:
    """Return what `action` returns; it is tried again as long as it fails for a passing reason.

    Args:
        url: named in messages.
        action: a request to the file system of the URL.
        done: "read" or "written", for messages.

    Raises:
        StorageError: it failed for good, or kept failing for RETRY_SECONDS.
    """
    began = time.monotonic()
    tries = 0
    while True:
        tries += 1
        try:
            return action()
        except UserError:
            raise
        except Exception as error:  # a remote file system may raise any exception of its library
            if not _passes(error):
                raise _final(url, error, done) from None
            wait = _draw.uniform(0.0, min(LONGEST_WAIT, FIRST_WAIT * 2 ** (tries - 1)))
            spent = time.monotonic() - began
            if spent + wait > RETRY_SECONDS:
                times = f"tried {tries} times in {spent:.0f} s"
                raise StorageError(
                    f"{url}: cannot be {done} ({times}, at last: {_said(error)}): check the network and the service, "
                    "and run the same command again",
                    "unreachable",
                ) from None
        time.sleep(wait)


def asked(files: Any, name: str, *arguments: Any, expected: int = 0, **options: Any) -> Any:
    """Call a method of a file system; a call that takes far too long is ended, where the file system allows it.

    Args:
        files: the file system.
        name: of the method.
        arguments: of the method.
        expected: bytes that will come.
        options: of the method.

    Raises:
        TimeoutError: it was ended.
    """
    if not getattr(files, "async_impl", False):
        return getattr(files, name)(*arguments, **options)
    from fsspec.asyn import sync

    limit = 2 * SILENCE_SECONDS + expected / SLOWEST
    return sync(files.loop, getattr(files, f"_{name}"), *arguments, timeout=limit, **options)


def _passes(error: BaseException) -> bool:
    """Whether an error may be gone at the next try."""
    for one in _chain(error):
        status = _status(one)
        if status is not None:
            return status in _PASSING_STATUS or status >= 500 or _code(one) in _PASSING_CODES
        if isinstance(one, ConnectionError | TimeoutError | EOFError):
            return True
        if isinstance(one, OSError) and one.errno in _PASSING_ERRNO:
            return True
        if _PASSING_CLASSES & {kind.__name__ for kind in type(one).__mro__}:
            return True
    return False


def _final(url: str, error: Exception, done: str) -> StorageError:
    """The line for an error that will not pass."""
    protocol, _, rest = url.partition("://")
    if any(_code(one) == "NoSuchBucket" for one in _chain(error)):
        bucket = rest.split("/")[0]
        return StorageError(f"{url}: there is no bucket '{bucket}': correct the address or make the bucket", "missing")
    statuses = {_status(one) for one in _chain(error)}
    names = {type(one).__name__ for one in _chain(error)}
    if isinstance(error, PermissionError) or statuses & {401, 403} or names & _WRONG_KEYS:
        account = "AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" if "s3" in protocol else "the account"
        return StorageError(
            f"{url}: access is denied ({_said(error)}): check {account} and what it may do", "unreadable"
        )
    if isinstance(error, FileNotFoundError):
        return StorageError(f"{url}: does not exist: correct the path or prepare the manifest again", "missing")
    if 416 in statuses or any(_code(one) == "InvalidRange" for one in _chain(error)):
        return StorageError(f"{url}: is shorter than the manifest says: copy it again", "cut short")
    return StorageError(f"{url}: cannot be {done} ({_said(error)}): check address and permissions", "unreadable")


def _chain(error: BaseException) -> list[BaseException]:
    """An error and those that it stands for, from the outside in."""
    chain: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in chain and len(chain) < 8:
        chain.append(one)
        one = one.__cause__
    return chain


def _status(error: BaseException) -> int | None:
    """The HTTP status that an error of aiohttp or botocore carries."""
    status = getattr(error, "status", None)
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status if isinstance(status, int) and 400 <= status < 600 else None


def _code(error: BaseException) -> str:
    """The code of an error of S3."""
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


def _said(error: BaseException) -> str:
    text = cause(error)
    kind = type(error).__name__
    return text if text == kind or len(text) > 12 else f"{kind}: {text}"
