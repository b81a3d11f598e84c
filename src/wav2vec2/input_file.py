"""What comes from outside, without trust: regular files only, a bounded size of what is read whole, sane numbers.

A named pipe waits for ever and ``/dev/zero`` has no end, so that nothing but a regular file is opened. JSON and TOML of
anybody's may be nested until Python's stack ends, or hold what no text can; either is a ``ValueError`` here.
"""

import json
import os
import re
import stat
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

from wav2vec2.errors import UserError, cause, quoted

MOST_SETTINGS = 64 << 20
"""Bytes of the largest file of settings, symbols or words that is read whole."""
MOST_LINES = 2 << 30
"""Bytes of the largest list of words, identifiers or records that is read whole."""
_MOST_COUNTED = {
    **dict.fromkeys(("workers", "threads", "processes", "jobs"), 1024),
    "order": 20,
    "memory": 1 << 24,
    "prefetch": 10_000,
    "replications": 10_000_000,
    "trials": 1_000_000,
}
_LARGEST_FLOAT = 1e30
_MOST_OTHER = 1 << 40  # of an option that is none of these, such as a seed
_MOST_TOML = 1 << 20
_DEEPEST = 64
_KINDS = (
    (stat.S_ISFIFO, "a pipe", "write what it gives to a file first"),
    (stat.S_ISSOCK, "a socket", "give a file"),
    (stat.S_ISCHR, "a device", "give a file"),
    (stat.S_ISBLK, "a device", "give a file"),
)
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_KEY_PART = re.compile(rb"\s*[\w\"'-]+\s*")


def refuse_names(words: Iterable[str]) -> None:
    """Raise UserError for a word of a command line that cannot be the name of a file, whatever it stands for."""
    for word in words:
        try:
            os.fsencode(word)
        except UnicodeEncodeError as error:
            raise UserError(f"{quoted(word)}: has half of a surrogate pair ({error.reason}); correct it") from None
        if "\0" in word:
            raise UserError(f"{quoted(word)}: has a zero byte; correct it")


def refuse_huge(options: Any, prefix: str) -> None:
    """Raise UserError for a whole number of a command line beyond any use, which would overflow somewhere below."""
    for one in fields(options):
        value = getattr(options, one.name)
        if is_dataclass(value):
            refuse_huge(value, f"{prefix}{one.name}.")
        most = _MOST_COUNTED.get(one.name, _MOST_OTHER)
        for number in value if isinstance(value, tuple | list) else (value,):
            if isinstance(number, int) and abs(number) > most:
                option = f"{prefix}{one.name}".replace("_", "-")
                raise UserError(f"{option} {quoted(number)}: is too large; give at most {most}")


def check_numbers(settings: Any, largest: Mapping[str, int], other: int) -> None:
    """Check a dataclass of settings that a file describes.

    Args:
        settings: the dataclass; every field has a default.
        largest: the largest value of a field of whole numbers.
        other: the largest value of the other fields of whole numbers.

    Raises:
        ValueError: a value is of another kind than the default, is not finite, or too large.
    """
    for one in fields(settings):
        value, default = getattr(settings, one.name), one.default
        if isinstance(default, bool):
            good = isinstance(value, bool)
        elif isinstance(default, float):
            good = type(value) in (int, float) and -_LARGEST_FLOAT < value < _LARGEST_FLOAT
        elif isinstance(default, int):
            good = type(value) is int
        else:
            good = not isinstance(default, tuple) or all(type(size) is int for size in value)
        if not good:
            raise ValueError(f"{one.name} is {quoted(value)}")
        sizes = value if isinstance(default, tuple) else (value,) if type(default) is int else ()
        if any(size > largest.get(one.name, other) for size in sizes):
            raise ValueError(f"{one.name} = {quoted(value)} is larger than in any model")


def refuse_special(path: str | Path) -> None:
    """Raise UserError for a pipe, a socket, a device, or a name that no file can have.

    A folder and a missing file pass: opening them says what is wrong.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return
    except ValueError as error:  # a zero byte, or half of a surrogate pair
        raise UserError(f"{quoted(str(path))}: is not the name of a file ({cause(error)}); correct it") from None
    for is_kind, kind, remedy in _KINDS:
        if is_kind(mode):
            raise UserError(f"{path}: is {kind}, not a file; {remedy}")


def open_input(path: str | Path) -> BufferedReader:
    """Open a file for reading its bytes.

    Raises:
        UserError: it is not a regular file.
        OSError: it is missing or unreadable.
    """
    refuse_special(path)
    return Path(path).open("rb")


def read_input(path: str | Path, most: int = MOST_SETTINGS) -> bytes:
    """Return the bytes of a file.

    Raises:
        UserError: it is not a regular file, or larger than ``most`` bytes.
        OSError: it is missing or unreadable.
    """
    with open_input(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise UserError(f"{path}: is larger than {most >> 20} MiB, which no such file is; give another file")
    return content


def read_text(path: str | Path, *, encoding: str = "utf-8", errors: str = "strict", most: int = MOST_SETTINGS) -> str:
    """Return the text of a file, with line ends of one kind. Errors as for ``read_input``, and UnicodeDecodeError."""
    text = read_input(path, most).decode(encoding, errors)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def parse_json(text: str | bytes) -> Any:
    """Return the content of a JSON text.

    Raises:
        ValueError: it is not JSON in UTF-8, is nested too deeply, has an object with two different values for one key,
            or a string with half of a surrogate pair, which cannot be written anywhere.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8-sig")
    try:
        content = json.loads(text, object_pairs_hook=_object)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    _refuse_odd_values(content, surrogates=_ESCAPED_SURROGATE.search(text) is not None)
    return content


def parse_toml(content: bytes) -> dict[str, Any]:
    """Return the content of a TOML file.

    Raises:
        ValueError: it is not TOML in UTF-8, is larger than any recipe, or is nested too deeply.
    """
    if len(content) > _MOST_TOML:
        raise ValueError("it is larger than any recipe")
    run = 0
    for piece in content.split(b"."):  # tomllib's time grows with the square of a key's parts
        run = run + 1 if _KEY_PART.fullmatch(piece) else 0
        if run > _DEEPEST:
            raise ValueError("it is nested too deeply")
    try:
        table = tomllib.loads(content.decode("utf-8"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    _refuse_odd_values(table, surrogates=False)
    return table


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        for key, value in pairs:
            if made[key] != value:
                raise ValueError(f"the key {quoted(key)} is there twice, with different values")
    return made


def _refuse_odd_values(content: object, *, surrogates: bool) -> None:
    level, depth = [content], 0
    while level:
        if depth > _DEEPEST:
            raise ValueError("it is nested too deeply")
        below: list[object] = []
        for value in level:
            if isinstance(value, dict):
                below += value.values()
                below += value if surrogates else ()
            elif isinstance(value, list):
                below += value
            elif surrogates and isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
                raise ValueError(f"the text {quoted(value)} has half of a surrogate pair")
        level, depth = below, depth + 1
