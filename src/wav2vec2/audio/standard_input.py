"""An encoded recording that comes through stdin."""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wav2vec2.audio.encoded_file import NamedFile
from wav2vec2.errors import UserError
from wav2vec2.output_file import write_error


@contextmanager
def recording_on_stdin() -> Iterator[NamedFile]:
    """Copy stdin to a temporary file, which is removed when the block ends; messages call it stdin.

    A container may keep at its end what is needed at its beginning, so that it cannot be read as it comes. Raises
    UserError if stdin is a terminal, or if the copy has no room.
    """
    if sys.stdin.isatty():
        raise UserError("-: stdin is a terminal; pipe an audio file into the command, or name one")
    with tempfile.TemporaryDirectory(prefix="wav2vec2-") as folder:
        copy = Path(folder) / "stdin"
        try:
            with copy.open("wb") as file:
                shutil.copyfileobj(sys.stdin.buffer, file)
        except OSError as error:
            raise write_error(copy, error) from None
        named = NamedFile(copy)
        named.name = "stdin"
        yield named
