"""Recipes by name: those of this package are found from anywhere, with or without ".toml"."""

import difflib
from pathlib import Path

from wav2vec2.errors import UserError

SUFFIX = ".toml"


def recipe_folder() -> Path:
    """Return the folder of the recipes: in the repository that holds this package, else in the installed package.

    Raises UserError if it is in neither place.
    """
    package = Path(__file__).resolve().parent
    for folder in (package.parents[1] / "recipes", package / "recipes"):
        if (folder / "pretrain_base.toml").is_file():
            return folder
    raise UserError(f"{package}: its recipes are missing; install the package again, or give --recipes FOLDER")


def packaged_recipes() -> list[str]:
    """Return the names of the package's recipes, sorted, those of its subfolders after the others."""
    folder = recipe_folder()
    files = [file.relative_to(folder) for file in folder.rglob(f"*{SUFFIX}")]
    return [file.with_suffix("").as_posix() for file in sorted(files, key=lambda file: (len(file.parts), file))]


def recipe_path(name: str, folder: Path | None = None) -> Path:
    """Return the recipe of that file name in a folder (the package's). Raises UserError if there is none."""
    path = (folder or recipe_folder()) / name
    if not path.is_file():
        raise UserError(no_such_recipe(path))
    return path


def find_recipe(given: str, beside: Path = Path()) -> Path:
    """Return the file that a user means: a path from the folder `beside`, or the name of one of the package's recipes.

    A path that does not exist is returned as it is; whoever reads it says so.
    """
    path = beside / given
    if not path.is_file() and (packaged := recipe_folder() / (given.removesuffix(SUFFIX) + SUFFIX)).is_file():
        return packaged
    return path


def no_such_recipe(path: Path) -> str:
    """Return the message for a recipe that does not exist; it suggests the nearest name beside it, or the package's."""
    close = difflib.get_close_matches(path.name, [file.name for file in path.parent.glob(f"*{SUFFIX}")], 1, 0.9)
    close = close or difflib.get_close_matches(path.name.removesuffix(SUFFIX), packaged_recipes(), 1, 0.8)
    remedy = f"did you mean {close[0]}?" if close else "give a .toml file, or a name from 'wav2vec2 recipes'"
    return f"{path}: no such recipe; {remedy}"
