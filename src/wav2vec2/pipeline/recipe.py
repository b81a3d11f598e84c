"""Training stages: a recipe and changes to it, as a command that anyone can repeat.

The identity of a training stage consists of all values in its resolved configuration that are not defaults. An edited
recipe therefore changes it, and an option that a later version adds does not. Options that only set where the stage
runs and how often it reports do not count.
"""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, get_type_hints

from wav2vec2.config import as_plain, dotted, from_plain, load_recipe, options
from wav2vec2.errors import UserError
from wav2vec2.pipeline.stage import Argument, File, Here, Ref, Resolver, Start, Value, written
from wav2vec2.train.finetune.config import FinetuneConfig
from wav2vec2.train.language_model.command import LanguageModelConfig
from wav2vec2.train.metrics import is_done
from wav2vec2.train.pretrain.command import PretrainConfig

Settings = Mapping[str, Argument | tuple[Argument, ...]]

CONFIGS: dict[str, Any] = {
    "pretrain": PretrainConfig,
    "finetune": FinetuneConfig,
    "lm transformer": LanguageModelConfig,
}


def command_of(recipe: Path) -> str:
    """Return the command that takes a recipe: the one of its name, or else the first whose options it sets.

    Raises UserError, with the complaint of the first command asked, if no command takes it.
    """
    complaint: UserError | None = None
    for command in sorted(CONFIGS, key=lambda command: not recipe.name.startswith(command.split()[0])):
        try:
            load_recipe(recipe, CONFIGS[command])
        except UserError as error:
            complaint = complaint or error
        else:
            return command
    assert complaint is not None
    raise complaint


@dataclass(frozen=True)
class Training:
    """The command ``wav2vec2 COMMAND RECIPE --key value ...``.

    settings: changes to the recipe, by dotted key. machine: changes that do not affect what is learned.
    """

    command: str
    recipe: Path
    settings: Settings
    machine: Settings

    def __post_init__(self) -> None:
        """Raise UserError for a key that the command does not have, or a value that the key cannot have."""
        self.config()

    def config(self) -> Any:
        """The resolved configuration, without the values that come from other stages."""
        return self._config

    @cached_property
    def _config(self) -> Any:
        cls = CONFIGS[self.command]
        known = {key: value for key, value in self._all().items() if not _unknown(value)}
        return from_plain(cls, _nested(known), source=str(self.recipe), base=load_recipe(self.recipe, cls))

    def arguments(self) -> Iterator[Argument]:
        """See ``Work``."""
        for value in self.settings.values():
            if isinstance(value, tuple):
                yield from value
            else:
                yield value

    def identity(self, symbol: Resolver) -> Any:
        """See ``Work``."""
        defaults = dict(dotted(as_plain(CONFIGS[self.command]())))
        content = {key: value for key, value in dotted(as_plain(self.config())) if defaults.get(key) != value}
        content |= {key: _each(value, symbol) for key, value in self.settings.items() if _unknown(value)}
        machine = {key for key, _, rules in options(self.config()) if rules.machine}
        return {"command": self.command} | {key: content[key] for key in sorted(content) if key not in machine}

    def line(self, resolve: Resolver) -> list[str]:
        """The command's words as a shell takes them."""
        words = [*self.command.split(), str(self.recipe)]
        for key, value in self._all().items():
            found, option = _each(value, resolve), key.replace("_", "-")
            if isinstance(found, bool) and _is_flag(CONFIGS[self.command], key):
                section, _, name = option.rpartition(".")
                words.append(f"--{section}{'.' if section else ''}{'' if found else 'no-'}{name}")
            elif isinstance(found, list):
                words += [f"--{option}", *map(written, found)]
            else:
                words += [f"--{option}", str(found) if isinstance(found, bool) else written(found)]
        return words

    def run(self, resolve: Resolver, folder: Path, start: Start) -> None:
        """See ``Work``. Raises KeyboardInterrupt if the run was asked to stop before its end."""
        start(self.line(resolve), training=True)
        if not is_done(folder):
            raise KeyboardInterrupt

    def shown(self, resolve: Resolver) -> str:
        """See ``Work``."""
        return shlex.join(["wav2vec2", *self.line(resolve)])

    def _all(self) -> dict[str, Argument | tuple[Argument, ...]]:
        return {**self.settings, **self.machine, "output": Here()}


def _is_flag(cls: Any, key: str) -> bool:
    """Whether the option is written --name or --no-name; one that may be unset is written --name True."""
    *sections, name = key.split(".")
    for section in sections:
        cls = get_type_hints(cls)[section]
    return bool(get_type_hints(cls)[name] is bool)


def _unknown(value: Any) -> bool:
    parts = value if isinstance(value, tuple) else (value,)
    return any(isinstance(part, Ref | Value | File | Here) for part in parts)


def _each(value: Any, resolve: Resolver) -> Any:
    return [resolve(one) for one in value] if isinstance(value, tuple) else resolve(value)


def _nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for key, value in settings.items():
        *sections, name = key.split(".")
        place = table
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = list(value) if isinstance(value, tuple) else value
    return table
