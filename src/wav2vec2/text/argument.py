"""A text that the command line names: the words themselves, a file of them, or standard input."""

import sys
from pathlib import Path

from wav2vec2.errors import UserError


def read_text(text: str) -> str:
    """Return `text` itself, or the content of the file of that name, or stdin for `-`.

    Raises UserError for a file that is missing (by its name: .txt), unreadable, or not UTF-8.
    """
    if text == "-":
        content = sys.stdin.buffer.read()
    else:
        try:
            named = Path(text).is_file()
        except OSError:  # longer than any name of a file
            named = False
        if not named:
            if Path(text).suffix == ".txt" and len(text.split()) == 1:
                raise UserError(f"{text}: does not exist; name a text file or write the words themselves in quotes")
            return text
        try:
            content = Path(text).read_bytes()
        except OSError as error:
            raise UserError(f"{text}: cannot be read ({error.strerror}); check its permissions") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        name = "stdin" if text == "-" else text
        raise UserError(f"{name}: is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
