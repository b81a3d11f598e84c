"""Output files appear whole or not at all: written under a temporary name, then renamed into place."""

import errno
import os
import platform
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from wav2vec2.errors import UserError


@contextmanager
def writing(path: str | Path, *, durable: bool = False) -> Iterator[str]:
    """Yield the name of a temporary file beside `path`; when the block ends, it replaces `path` in one step.

    After an error, the temporary file is removed and `path` is unchanged. A device or a pipe, such as /dev/stdout, is
    written to directly. durable: the content is on the disk before the file appears, so that a power cut leaves no
    empty file. Raises UserError, in one line, for a full disk, a folder without write permission and the like.
    """
    target = Path(path)
    if target.is_char_device() or target.is_fifo():  # /dev/stdout must not be replaced by a file
        try:
            yield str(target)
        except OSError as error:
            raise write_error(target, error) from None
        return
    target = Path(os.path.realpath(target))  # a link stays a link
    # several machines may write into one folder
    temporary = target.with_name(f".{target.name}.{platform.node()[:32]}-{os.getpid()}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield str(temporary)
        _as_new(temporary)
        if durable:
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
        os.replace(temporary, target)
    except OSError as error:
        raise write_error(target, error) from None
    finally:
        with suppress(OSError):  # a file in place of the folder: there is nothing to remove
            temporary.unlink()


@contextmanager
def writing_together(folder: str | Path, *, last: str = "", obsolete: Sequence[str] = ()) -> Iterator[Path]:
    """Yield a temporary folder; when the block ends and its files are on the disk, move each of them into `folder`.

    last: the file that is moved last, because it refers to the rest. obsolete: files of `folder` to remove if they were
    not written this time. If writing fails, `folder` is unchanged. Raises UserError, in one line, for a full disk, a
    folder without write permission and the like.
    """
    target = Path(folder)
    temporary = target / (f".{last}.partial" if last else ".partial")
    try:
        shutil.rmtree(temporary, ignore_errors=True)  # left by a process that was killed
        temporary.mkdir(parents=True)
        yield temporary
        files = sorted(temporary.iterdir(), key=lambda file: (file.name == last, file.name))
        for file in files:
            _as_new(file)
            with file.open("rb") as written:
                os.fsync(written.fileno())
        for name in set(obsolete) - {file.name for file in files}:
            (target / name).unlink(missing_ok=True)
        for file in files:
            os.replace(file, target / file.name)
    except (OSError, SafetensorError) as error:
        raise write_error(target / last, error) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _as_new(file: Path) -> None:
    """Give a file that safetensors made for its owner alone the permissions of a new one: a server is another user."""
    if file.stat().st_mode & 0o777 == 0o600:
        probe = file.with_name(f"{file.name}.new")
        with suppress(OSError):  # a file system without permissions
            probe.touch()
            permissions = probe.stat().st_mode & 0o777
            probe.unlink()
            file.chmod(permissions)


def write_error(path: Path, error: Exception) -> UserError:
    """Return an error that says, in one line, why `path` could not be written, and the remedy."""
    text = " ".join(str(error).split())
    # Arrow and safetensors give the cause in their text only.
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    full = full or "No space left" in text
    limited = isinstance(error, OSError) and error.errno == errno.EFBIG
    remedy = "choose another folder or correct this one"
    if full or limited:
        remedy = f"{'free some space' if full else 'raise the limit (ulimit -f)'} and run the same command again"
    why = "no space left on the disk" if full else getattr(error, "strerror", None) or text[:200]
    return UserError(f"{path}: cannot be written ({why}): {remedy}")
