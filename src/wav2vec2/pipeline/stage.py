"""What a stage is: one command or function, what it reads, and the one thing in its folder that others read.

Arguments are written before any stage has run, so what another stage will have made is named, not spelled: ``Ref`` its
files, ``Value`` a number that it found. What is there already is a ``File``. Paths never enter a stage's identity:
files count by their content, other stages by their own identity.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class Ref:
    """A file or folder that another stage makes; without ``file`` its result."""

    stage: str
    file: str = ""


@dataclass(frozen=True)
class Value:
    """A number or text that another stage writes to its ``values.json``."""

    stage: str
    key: str


@dataclass(frozen=True)
class File:
    """A file or folder that the user has."""

    path: Path


@dataclass(frozen=True)
class Here:
    """A file in the stage's own folder; without ``file`` the folder."""

    file: str = ""


Argument = str | int | float | bool | Ref | Value | File | Here
Arguments = Sequence[Argument]
VALUES_FILE = "values.json"


class Resolver(Protocol):
    """Where things are, for one stage."""

    def __call__(self, argument: Argument) -> Any:
        """A path as text for references and files, the value itself for the rest."""


class Work(Protocol):
    """What a stage does."""

    def arguments(self) -> Iterator[Argument]:
        """Everything that it is given, for finding what it needs."""

    def identity(self, symbol: Resolver) -> Any:
        """What decides its outcome, as plain JSON; ``symbol`` stands for references and files without their paths."""

    def run(self, resolve: Resolver, folder: Path, start: Callable[[Sequence[str]], None]) -> None:
        """Do it. ``start`` runs a ``wav2vec2`` command and returns when it ended well."""

    def shown(self, resolve: Resolver) -> str:
        """One line that says what will be done, for people."""


def made_in(path: Path, result: str) -> Path:
    """A result that was made elsewhere: ``path`` itself, or what lies in it where it is the folder of a run."""
    inside = path / result
    return inside if inside.exists() else path


@dataclass(frozen=True)
class Stage:
    """A named step. ``result`` is what others read of its folder; ``title`` says for people what it is."""

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
    """A ``wav2vec2`` command. ``machine``: arguments that change where and how fast it runs but not what comes out."""

    words: Arguments
    machine: tuple[str, ...] = ()

    def arguments(self) -> Iterator[Argument]:
        """See ``Work``."""
        return iter(self.words)

    def identity(self, symbol: Resolver) -> Any:
        """See ``Work``."""
        return [symbol(word) for word in self.words]

    def line(self, resolve: Resolver) -> list[str]:
        """The arguments as a shell takes them."""
        return [*(written(resolve(word)) for word in self.words), *self.machine]

    def run(self, resolve: Resolver, folder: Path, start: Callable[[Sequence[str]], None]) -> None:
        """See ``Work``."""
        start(self.line(resolve))

    def shown(self, resolve: Resolver) -> str:
        """See ``Work``."""
        return " ".join(["wav2vec2", *map(quoted, self.line(resolve))])


@dataclass(frozen=True)
class Function:
    """A function of ours that takes the stage's folder and its settings by name; ``version`` counts its changes."""

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
        settings = {name: self._each(value, symbol) for name, value in self.settings.items()}
        return {"function": self.call.__name__, "version": self.version, "settings": settings}

    def run(self, resolve: Resolver, folder: Path, start: Callable[[Sequence[str]], None]) -> None:
        """See ``Work``."""
        self.call(folder, **{name: self._each(value, resolve) for name, value in self.settings.items()})

    def shown(self, resolve: Resolver) -> str:
        """See ``Work``."""
        settings = (f"{name}={self._each(value, resolve)}" for name, value in self.settings.items())
        return f"{self.call.__name__.replace('_', ' ')}: {', '.join(settings)}"

    @staticmethod
    def _each(value: Any, resolve: Resolver) -> Any:
        return [resolve(one) for one in value] if isinstance(value, list | tuple) else resolve(value)


def written(value: Any) -> str:
    """A value as a command line has it."""
    return repr(value) if isinstance(value, float) else str(value)


def quoted(word: str) -> str:
    """A word that a shell reads back unchanged."""
    import shlex

    return shlex.quote(word)
