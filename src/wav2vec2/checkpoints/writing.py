"""Write several files into a folder so that none of them is ever seen half-written."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from wav2vec2.errors import UserError

_STAGING = ".partial"
_TORCH_WRITER = "PytorchStreamWriter failed"


@contextmanager
def staged(target: Path) -> Iterator[Path]:
    """Give a folder to write into; at the end its files are renamed into ``target``, one by one.

    When writing fails, ``target`` keeps what it had.

    Raises:
        UserError: The folder cannot be written (disk full, no permission, a file in the way).
    """
    staging = target / _STAGING
    try:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        yield staging
        for file in sorted(staging.iterdir()):
            with file.open("rb") as written:
                os.fsync(written.fileno())
        for file in sorted(staging.iterdir()):
            file.replace(target / file.name)
    except (OSError, SafetensorError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and _TORCH_WRITER not in str(error):
            raise
        raise UserError(
            f"{target}: the model cannot be written ({_reason(error)}); free space or choose another directory"
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = " ".join(str(error).split())
    # safetensors and torch.save hand on the cause only inside their text
    full = f"code: {errno.ENOSPC}," in text or _TORCH_WRITER in text
    return "No space left on device" if full else text
