"""The command ``wav2vec2 recipes``: the recipes of this package by name, and one of them with all its values."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from wav2vec2.config import load_recipe, toml_text
from wav2vec2.errors import UserError, shortened
from wav2vec2.input_file import read_text
from wav2vec2.pipeline.recipe import CONFIGS, command_of
from wav2vec2.recipe_files import find_recipe, no_such_recipe, packaged_recipes


@dataclass(frozen=True)
class RecipesOptions:
    """List the recipes that come with this package, or print one of them with every option's value.

    A recipe is named without its folder: 'wav2vec2 pretrain pretrain_small --data.manifest data'. To change one, write
    a file that begins with the line 'extends = "pretrain_small"', and give its path.
    """

    name: Annotated[str, Positional, arg(metavar="[RECIPE]")] = ""
    """Name or path of a recipe; its options are printed as TOML, those that it leaves out included."""


def run(options: RecipesOptions) -> None:
    """Print the list, or the recipe `options.name`. Raises UserError if it cannot be read."""
    if options.name:
        print(resolved(find_recipe(options.name)), end="")
        return
    kinds = {name: command_of(find_recipe(name)) for name in packaged_recipes()}
    for command in CONFIGS:
        print(f"wav2vec2 {command} RECIPE, where RECIPE is one of")
        for name, kind in kinds.items():
            if kind == command:
                print(f"  {name:<46}{summary(find_recipe(name))}")
        print()
    print("'wav2vec2 recipes RECIPE' prints one of them with every option's value.")


def resolved(recipe: Path) -> str:
    """Return a recipe as TOML with the values of all options, after the comments at its top.

    Raises UserError if it does not exist, or no command takes it.
    """
    if not recipe.is_file():
        raise UserError(no_such_recipe(recipe))
    command = command_of(recipe)
    said = "".join(f"# {line}\n" for line in _comments(recipe))
    return f"{said}# wav2vec2 {command} {recipe}\n{toml_text(load_recipe(recipe, CONFIGS[command]))}"


def summary(recipe: Path) -> str:
    """Return the first sentence of the comment at the top of a recipe, cut to a line; empty if there is none."""
    return shortened(re.split(r"(?<!et al)\. ", " ".join(_comments(recipe)))[0].removesuffix("."))


def _comments(recipe: Path) -> list[str]:
    lines: list[str] = []
    for line in read_text(recipe).splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").strip())
    return lines
