"""Files written whole or not at all."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from wav2vec2.errors import UserError


@contextmanager
def writing(path: str | Path) -> Iterator[str]:
    """Give a temporary name beside `path`, and put what was written there in place of `path` in one step.

    After an error the temporary file is gone and `path` is as it was. A full disk and its like become one UserError.
    """
    target = Path(path)
    if target.is_char_device() or target.is_fifo():  # /dev/stdout must not be replaced by a file
        try:
            yield str(target)
        except OSError as error:
            raise write_error(target, error) from None
        return
    target = Path(os.path.realpath(target))  # a link stays a link
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield str(temporary)
        os.replace(temporary, target)
    except OSError as error:
        raise write_error(target, error) from None
    finally:
        with suppress(OSError):  # where a file lies in place of the folder, there is nothing to remove either
            temporary.unlink()


@contextmanager
def writing_together(path: str | Path, *companions: Path) -> Iterator[Path]:
    """Give a temporary folder; what was written there under the names of `path` and `companions`, files that belong to
    it, is put in their place, `path` last. A companion that was not written this time is removed.

    After an error the temporary folder is gone and all is as it was. A full disk and its like become one UserError.
    """
    target = Path(os.path.realpath(path))
    folder = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        folder.mkdir(parents=True)
        yield folder
        for companion in companions:
            written, place = folder / companion.name, target.with_name(companion.name)
            if written.exists():
                os.replace(written, place)
            else:
                place.unlink(missing_ok=True)
        os.replace(folder / target.name, target)
    except OSError as error:
        raise write_error(target, error) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_error(path: Path, error: OSError) -> UserError:
    """What went wrong in writing, as one line with a remedy."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error)
    remedy = (
        "free some space and run the same command again" if full else "choose another --out folder or mend this one"
    )
    why = "no space left on the disk" if full else (error.strerror or " ".join(str(error).split())[:200])
    return UserError(f"{path}: cannot be written ({why}): {remedy}")
