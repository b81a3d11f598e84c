"""Recipes: TOML files read into frozen dataclasses and written back, and the rules of their options.

A recipe holds only what differs from the dataclass's defaults, or from the recipe that it ``extends``. A mistake in it
is a :class:`UserError` of one line that names the file, the key and what was expected. The rules of an option (its
range, whether it affects what is learned) are kept in its field: see :func:`option`. JSON files are read and checked
here, too.
"""

import difflib
import json
import math
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from wav2vec2.errors import UserError, cause, quoted, shortened
from wav2vec2.input_file import parse_json, parse_toml, read_input, refuse_special
from wav2vec2.recipe_files import find_recipe, no_such_recipe

T = TypeVar("T")

EXTENDS = "extends"
_LARGEST = 1 << 63
_LONGEST = 4096  # characters: as long as a path can be


@dataclass(frozen=True)
class Range:
    """The numbers from ``low`` to ``high``; ``open_low`` and ``open_high`` exclude the ends."""

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.open_low else value >= self.low
        return above and (value < self.high if self.open_high else value <= self.high)

    def __str__(self) -> str:
        low = f"above {self.low:g}" if self.open_low else f"at least {self.low:g}"
        if self.high == math.inf:
            return low
        return f"{low} and {'below' if self.open_high else 'at most'} {self.high:g}"


@dataclass(frozen=True)
class Rules:
    """The rules of an option."""

    range: Range | None = None
    """The numbers allowed; None for any finite number."""
    machine: bool = False
    """The option sets where and how a run is carried out; it does not affect what is learned."""
    may_change: bool = False
    """A resumed run may have another value."""
    formerly: Any = None
    """The value that runs had before the option existed, if that is not the default."""


_NO_RULES = Rules()


def option(
    default: T,
    *,
    low: float | None = None,
    above: float | None = None,
    high: float | None = None,
    below: float | None = None,
    machine: bool = False,
    may_change: bool = False,
    formerly: T | None = None,
) -> T:
    """Declare a field of a recipe's dataclass together with its rules.

    Args:
        default: the value if a recipe does not give one.
        low: the smallest number allowed.
        above: a number that the value must exceed.
        high: the largest number allowed.
        below: a number that the value must stay below.
        machine: see :class:`Rules`; implies ``may_change``.
        may_change: see :class:`Rules`.
        formerly: see :class:`Rules`.
    """
    allowed = None
    if any(end is not None for end in (low, above, high, below)):
        allowed = Range(
            low=above if above is not None else -math.inf if low is None else low,
            high=below if below is not None else math.inf if high is None else high,
            open_low=above is not None,
            open_high=below is not None,
        )
    rules = Rules(allowed, machine, may_change or machine, formerly)
    return field(default=default, metadata={"rules": rules})


def options(config: Any, prefix: str = "") -> Iterator[tuple[str, Any, Rules]]:
    """Yield (dotted key, value, rules) for every option of a configuration and of its sections."""
    for one in fields(config):
        key, value = f"{prefix}{one.name}", getattr(config, one.name)
        if is_dataclass(value):
            yield from options(value, f"{key}.")
        else:
            yield key, value, one.metadata.get("rules", _NO_RULES)


def load_recipe(path: str | Path, cls: type[T], base: T | None = None) -> T:
    """Read a TOML recipe into ``cls``, on top of ``base`` (default: the dataclass's own defaults).

    A top-level ``extends = "other.toml"`` is applied first: a path from the recipe's folder, or the name of one of the
    package's recipes.

    Raises:
        UserError: the file is missing or not TOML, a key is unknown (the message suggests the nearest valid one), a
            value has the wrong type, or recipes extend each other in a circle.
    """
    config = cls() if base is None else base
    for file, table in _chain(Path(path), ()):
        config = from_plain(cls, table, source=str(file), base=config)
    return config


def _chain(path: Path, seen: tuple[Path, ...]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield (file, table) from the farthest ancestor down to the recipe itself."""
    refuse_special(path)
    if path.resolve() in seen:
        raise UserError(f"{path}: the recipe extends itself; remove one of the 'extends' lines")
    try:
        table = parse_toml(read_input(path))
    except FileNotFoundError:
        raise UserError(no_such_recipe(path)) from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as TOML: {cause(error)}") from None
    parent = table.pop(EXTENDS, None)
    if parent is not None:
        if not isinstance(parent, str) or len(parent) > _LONGEST:
            raise UserError(f"{path}: '{EXTENDS}' must be a string, the path or name of another recipe")
        yield from _chain(find_recipe(parent, path.parent), (*seen, path.resolve()))
    yield path, table


def read_json(path: Path, *, missing: str = "copy it from its model") -> dict[str, Any]:
    """Return the object in a JSON file; ``missing`` is the remedy if there is no such file.

    Raises:
        UserError: the file is missing, unreadable or holds something else.
    """
    try:
        content = parse_json(read_input(path))
    except FileNotFoundError as error:
        raise UserError(f"{path}: missing; {missing}") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not readable JSON ({cause(error)}); copy it again from its model") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a JSON object; copy it again from its model")
    return content


def from_plain(cls: type[T], table: Mapping[str, Any], *, source: str, base: T, prefix: str = "") -> T:
    """Return ``base`` with the values of a nested mapping; their types are checked.

    ``source`` names the file in errors, and ``prefix`` precedes the keys there.

    Raises:
        UserError: a key is unknown, or a value has the wrong type or is impossible.
    """
    hints = typing.get_type_hints(cls)
    names = [one.name for one in fields(cls)]  # type: ignore[arg-type]
    changes: dict[str, Any] = {}
    for key, value in table.items():
        where = f"{prefix}{key}"
        if key not in names:
            raise UserError(f"{source}: unknown key '{shortened(where)}'; {_nearest(key, names, prefix)}")
        if is_dataclass(hints[key]):
            if not isinstance(value, Mapping):
                raise UserError(f"{source}: '{where}' must be a table: write [{where}] with keys below it")
            section = typing.cast(type[Any], hints[key])
            changes[key] = from_plain(section, value, source=source, base=getattr(base, key), prefix=f"{where}.")
        else:
            changes[key] = _convert(value, hints[key], source, where)
    try:
        return replace(base, **changes)  # type: ignore[type-var]
    except (ValueError, UserError) as error:  # from the dataclass's own checks
        raise UserError(f"{source}: {f'{prefix[:-1]}: ' if prefix else ''}{error}") from None


def _nearest(key: str, names: list[str], prefix: str) -> str:
    close = difflib.get_close_matches(key, names, n=1, cutoff=0.5)
    if close:
        return f"did you mean '{prefix}{close[0]}'?"
    return f"valid keys are {', '.join(names)}"


def _convert(value: Any, hint: Any, source: str, where: str) -> Any:
    """Check a value against a type hint and return it; an int is accepted as a float, and an array becomes a tuple."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        inner = [argument for argument in arguments if argument is not type(None)]
        return _convert(value, inner[0], source, where)
    if origin is Literal:
        if value in arguments and type(value) in {type(argument) for argument in arguments}:
            return value
        choices = ", ".join(repr(argument) for argument in arguments)
        raise UserError(f"{source}: '{where}' is {quoted(value)}; choose one of {choices}")
    if origin is tuple:
        if isinstance(value, list):
            return tuple(_convert(item, arguments[0], source, where) for item in value)
        raise UserError(f"{source}: '{where}' must be an array, not {quoted(value)}")
    if hint is float and isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LARGEST:
        return float(value)
    if isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        name = isinstance(value, str)
        if (name and ("\0" in value or len(value) > _LONGEST)) or (hint is int and abs(value) > _LARGEST):
            raise UserError(f"{source}: '{where}' is {quoted(value)}, which it cannot be; correct it")
        return value
    kinds = {int: "a whole number", float: "a number", bool: "true or false", str: "a string"}
    raise UserError(f"{source}: '{where}' must be {kinds.get(hint, str(hint))}, not {quoted(value)}")


def as_plain(config: Any) -> dict[str, Any]:
    """Return a configuration as nested dicts, lists and scalars, without values of None."""
    plain: dict[str, Any] = {}
    for one in fields(config):
        value = getattr(config, one.name)
        if is_dataclass(value):
            plain[one.name] = as_plain(value)
        elif value is not None:
            plain[one.name] = list(value) if isinstance(value, tuple) else value
    return plain


def write_toml(config: Any, path: str | Path) -> None:
    """Write a whole configuration as a recipe, which :func:`load_recipe` reads back to an equal object.

    A file that says the same is left alone: it may be on a disk that is full. Raises UserError if it cannot be written.
    """
    content = toml_text(config)
    try:
        same = Path(path).read_bytes() == content.encode()
    except OSError:
        same = False
    if not same:
        try:
            Path(path).write_text(content, encoding="utf-8")
        except OSError as error:
            remedy = "free some space or correct the folder, and run the same command again"
            raise UserError(f"{path}: cannot be written ({cause(error)}): {remedy}") from None


def toml_text(config: Any) -> str:
    """Return a whole configuration as the text of a recipe."""
    return "\n".join(_toml_lines(as_plain(config), "")) + "\n"


def _toml_lines(table: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for key, value in table.items():
        if not isinstance(value, Mapping):
            yield f"{key} = {_toml_value(value)}"
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield ""
            yield f"[{prefix}{key}]"
            yield from _toml_lines(value, f"{prefix}{key}.")


def _toml_value(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)


def dotted(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value) for every value in a nested mapping."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from dotted(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def differing_keys(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield (dotted key, old, new) where two :func:`as_plain` results differ; None stands for no value."""
    for key in [*old, *(key for key in new if key not in old)]:
        before, after = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            yield from differing_keys(before, after, f"{prefix}{key}.")
        elif before != after:
            yield f"{prefix}{key}", before, after
