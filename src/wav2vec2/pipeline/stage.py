"""A stage: one command or function, what it reads, and the one result in its folder that other stages read.

Stages are described before any of them has run, so their arguments may name what does not exist yet: a ``Ref`` is a
file that another stage writes, a ``Value`` is a value that it finds. A ``File`` belongs to the user, and ``Here`` is a
file in the stage's own folder. Paths are never part of a stage's identity: a file is identified by its content, another
stage by its own identity.
"""

import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from wav2vec2.input_file import parse_json, read_input
from wav2vec2.output_file import writing


@dataclass(frozen=True)
class Ref:
    """A file or folder that another stage writes; without ``file``, its result."""

    stage: str
    file: str = ""


@dataclass(frozen=True)
class Value:
    """A number or text that another stage writes to its ``values.json``."""

    stage: str
    key: str


@dataclass(frozen=True)
class File:
    """A file or folder of the user's."""

    path: Path


@dataclass(frozen=True)
class Here:
    """A file in the stage's own folder; without ``file``, the folder."""

    file: str = ""


Argument = str | int | float | bool | Ref | Value | File | Here
Arguments = Sequence[Argument]
VALUES_FILE = "values.json"


class Resolver(Protocol):
    """Turns an argument into what it stands for, for one stage."""

    def __call__(self, argument: Argument) -> Any:
        """A path as text for references and files, the found value for a ``Value``, any other argument unchanged."""


class Start(Protocol):
    """Runs a ``wav2vec2`` command and returns when it has succeeded."""

    def __call__(self, words: Sequence[str], *, training: bool = False) -> None:
        """``training``: whether a launcher such as torchrun may start it."""


class Work(Protocol):
    """What a stage does."""

    def arguments(self) -> Iterator[Argument]:
        """Yield all arguments; they determine which stages must run before this one."""

    def identity(self, symbol: Resolver) -> Any:
        """Return everything that determines the outcome, as plain JSON; ``symbol`` turns references and files into text
        without paths.
        """

    def run(self, resolve: Resolver, folder: Path, start: Start) -> None:
        """Do the work."""

    def shown(self, resolve: Resolver) -> str:
        """Return one line to print that describes the work."""


def result_in(path: Path, result: str) -> Path:
    """The path of a result made elsewhere: ``path`` itself, or the result inside it if ``path`` is a run's folder."""
    inside = path / result
    return inside if inside.exists() else path


@dataclass(frozen=True)
class Stage:
    """A named step. ``result`` is the file or folder that other stages read; ``title`` is printed."""

    name: str
    work: Work
    result: str
    title: str = ""

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the stages that it reads, in the order of its arguments."""
        found = (part.stage for part in self.work.arguments() if isinstance(part, Ref | Value))
        return tuple(dict.fromkeys(found))


@dataclass(frozen=True)
class Command:
    """A ``wav2vec2`` command. ``machine`` holds arguments that change where and how fast it runs, not its outcome.

    ``reads``: identifies what the command reads beside its arguments, such as the contents of a folder.
    """

    words: Arguments
    machine: tuple[str, ...] = ()
    reads: str = ""

    def arguments(self) -> Iterator[Argument]:
        """See ``Work``."""
        return iter(self.words)

    def identity(self, symbol: Resolver) -> Any:
        """See ``Work``."""
        return [*(symbol(word) for word in self.words), *([{"reads": self.reads}] if self.reads else [])]

    def line(self, resolve: Resolver) -> list[str]:
        """The command's words as a shell takes them."""
        return [*(written(resolve(word)) for word in self.words), *self.machine]

    def run(self, resolve: Resolver, folder: Path, start: Start) -> None:
        """See ``Work``."""
        start(self.line(resolve))

    def shown(self, resolve: Resolver) -> str:
        """See ``Work``."""
        return shlex.join(["wav2vec2", *self.line(resolve)])


@dataclass(frozen=True)
class Function:
    """A Python function of the stage's folder and of named settings; raise ``version`` when its outcome changes."""

    call: Callable[..., None]
    settings: Mapping[str, Argument | Arguments]
    version: int = 1

    def arguments(self) -> Iterator[Argument]:
        """See ``Work``."""
        for value in self.settings.values():
            if isinstance(value, list | tuple):
                yield from value
            else:
                yield value  # type: ignore[misc]

    def identity(self, symbol: Resolver) -> Any:
        """See ``Work``."""
        settings = {name: _each(value, symbol) for name, value in self.settings.items()}
        return {"function": self.call.__name__, "version": self.version, "settings": settings}

    def run(self, resolve: Resolver, folder: Path, start: Start) -> None:
        """See ``Work``."""
        self.call(folder, **{name: _each(value, resolve) for name, value in self.settings.items()})

    def shown(self, resolve: Resolver) -> str:
        """See ``Work``."""
        settings = (f"{name}={_each(value, resolve)}" for name, value in self.settings.items())
        return f"{self.call.__name__.replace('_', ' ')}: {', '.join(settings)}"


def _each(value: Any, resolve: Resolver) -> Any:
    return [resolve(one) for one in value] if isinstance(value, list | tuple) else resolve(value)


def written(value: Any) -> str:
    """A value as it stands on a command line."""
    return repr(value) if isinstance(value, float) else str(value)


def write_values(folder: Path, values: Mapping[str, object]) -> None:
    """Write the values that a stage found to its folder, where a ``Value`` reads them."""
    with writing(folder / VALUES_FILE) as temporary:
        Path(temporary).write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def read_values(folder: Path) -> dict[str, object]:
    """The values that a stage found; empty if it wrote none."""
    try:
        found: dict[str, object] = parse_json(read_input(folder / VALUES_FILE))
    except (OSError, ValueError):
        return {}
    return found
