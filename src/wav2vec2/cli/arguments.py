"""The options of a command: parsed into its dataclass, with messages for somebody who has not read the code."""

import contextlib
import difflib
import importlib
import inspect
import io
import os
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, get_args

from wav2vec2.cli.commands import Command
from wav2vec2.errors import UserError

_LONGEST_MESSAGE = 400
_NARROWEST = 40  # columns of a help page
_RECIPE_HELP = (
    "RECIPE is a .toml file, or the name of one that comes with this package ('wav2vec2 recipes' lists them, "
    "'wav2vec2 recipes RECIPE' prints one). It holds values of the options below, a section for each prefix: [train] "
    "has lr for --train.lr. Options on the command line win over it."
)
_NOT_A = (
    (r"could not convert string to float: ", "a number"),
    (r"invalid literal for int\(\) with base 10: ", "a whole number"),
)


def parsed(name: str, options: type[Any], arguments: list[str], *, recipe: bool) -> Any:
    """Return an instance of ``options``, or None after a help page. Raises UserError for wrong arguments."""
    import tyro

    settings = _settings(name, options, recipe=recipe)
    if recipe and arguments and not arguments[0].startswith("-"):
        settings["default"] = _recipe(name, arguments[0], options)
        arguments = arguments[1:]
    messages = io.StringIO()
    asks_help = not {"-h", "--help"}.isdisjoint(arguments)
    try:
        with (
            contextlib.redirect_stderr(messages),
            _metavars(),
            _rearranged(name, str(settings["description"])) if asks_help else contextlib.nullcontext(),
        ):
            return tyro.cli(options, args=arguments, **settings)
    except SystemExit as leaving:
        if leaving.code in (0, None):
            return None
        message = _clear(_one_line(messages.getvalue()), options)
        raise UserError(f"{message[:_LONGEST_MESSAGE]}: see wav2vec2 {name} --help") from None


def _settings(name: str, options: type[Any], *, recipe: bool) -> dict[str, Any]:
    """Return what tyro is told about a command besides its options."""
    import tyro

    about = inspect.getdoc(options)
    if recipe:
        return {"prog": f"wav2vec2 {name} [RECIPE]", "description": f"{about}\n\n{_RECIPE_HELP}"}
    return {"prog": f"wav2vec2 {name}", "description": about, "config": (tyro.conf.PositionalRequiredArgs,)}


def parser_of(name: str, command: Command) -> object:
    """Return a command as a parser of tyro's copy of argparse, for a page that lists its groups and actions.

    tyro has no name for its type, and may drop it; commands themselves do not need it.
    """
    import tyro

    options = getattr(importlib.import_module(f"wav2vec2.{command.module}"), command.options)
    with _metavars():
        return tyro.extras.get_parser(options, **_settings(name, options, recipe=command.recipe))


@contextlib.contextmanager
def _rearranged(name: str, about: str) -> Iterator[None]:
    """Within this context, the help page that is printed is that of `help_page`."""
    from wav2vec2.cli.common_options import common_options
    from wav2vec2.cli.help_page import READ_WIDTH, help_page

    width = max(_NARROWEST, min(shutil.get_terminal_size().columns, READ_WIDTH))
    frames = (sys.stdout.encoding or "").lower() == "utf-8"
    try:
        with _tyros_page() as page:
            yield
    except SystemExit as leaving:
        if leaving.code in (0, None):
            print(help_page(page[0], about, common_options(name), width=width, frames=frames), end="")
        raise


@contextlib.contextmanager
def _tyros_page() -> Iterator[list[str]]:
    """Within this context, a help page that is printed is kept instead, at the width at which it can be read.

    Afterwards it is the one element of the list.
    """
    from wav2vec2.cli.help_page import READ_WIDTH

    kept: list[str] = []
    page = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")  # tyro draws frames for this encoding alone
    columns = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(READ_WIDTH)
    try:
        with contextlib.redirect_stdout(page):
            yield kept
    finally:
        page.seek(0)
        kept.append(page.read())
        del os.environ["COLUMNS"]
        os.environ |= {} if columns is None else {"COLUMNS": columns}


def _clear(message: str, options: type[Any]) -> str:
    """Return tyro's message in words for somebody who does not know Python, with the nearest option if one is wrong."""
    for python, kind in _NOT_A:
        if wrong := re.fullmatch(f"Error parsing (--\\S+): {python}(.*)", message):
            return f"{wrong[1]}: {wrong[2]} is not {kind}"
    if wrong := re.match(r"Unrecognized options: (--[^\s,=]+)", message):
        near = _nearest(wrong[1], _option_names(options))
        return f"{wrong[1]}: no such option{f'; did you mean {near}?' if near else ''}"
    return message


def option_names(command: Command) -> list[str]:
    """Return the long options of a command, sorted."""
    return _option_names(getattr(importlib.import_module(f"wav2vec2.{command.module}"), command.options))


def _option_names(options: type[Any]) -> list[str]:
    import tyro

    from wav2vec2.cli.help_page import read_page

    with _tyros_page() as page, contextlib.suppress(SystemExit):
        tyro.cli(options, args=["--help"], prog="")
    entries = [entry for box in read_page(page[0]) for entry in box.entries]
    return sorted({f"--{name}" for entry in entries for name in entry.names if len(name) > 1})


def _nearest(given: str, names: list[str]) -> str:
    """Return the option whose name is near to a wrong one, in another section, or its initials; "" if there is none."""
    section, _, last = given.lstrip("-").rpartition(".")
    initials = "".join(word[0] for word in re.split("[-_]", last) if word)
    for name in names:
        its_section, _, its_last = name.lstrip("-").rpartition(".")
        if its_section == section and its_last in (initials, last.replace("_", "-")):
            return name
    same = [name for name in names if name.rpartition(".")[2].lstrip("-") == last.replace("_", "-")]
    return next(iter([*same, *difflib.get_close_matches(given, names, 1, 0.7)]), "")


def _recipe(name: str, given: str, options: type[Any]) -> Any:
    """Return the values of a recipe. Raises UserError if there are none, or if it is one for another command."""
    from wav2vec2.config import load_recipe
    from wav2vec2.recipe_files import find_recipe

    path = find_recipe(given)
    try:
        return load_recipe(path, options)
    except UserError as error:
        from wav2vec2.pipeline.recipe import command_of

        try:
            other = command_of(path)
        except UserError:
            raise error from None
        raise UserError(f"{given}: is a recipe of another command: use 'wav2vec2 {other} {given}'") from None


def _metavars() -> contextlib.AbstractContextManager[None]:
    """Within this context, help pages show an optional value as PATH, not as {None}|PATH."""
    from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

    registry = ConstructorRegistry()
    inside = False

    @registry.primitive_rule
    def optional(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
        nonlocal inside
        if inside or type(None) not in get_args(info.type):
            return None
        inside = True
        try:
            spec = ConstructorRegistry.get_primitive_spec(info)
        finally:
            inside = False
        if not isinstance(spec, PrimitiveConstructorSpec):
            return None
        return replace(spec, metavar=spec.metavar.replace("{None}|", "").replace("{None,", "{"))

    return registry


def _one_line(box: str) -> str:
    """Return the message in a framed error of tyro's, without the title, the rules, and the help on the option.

    Where the encoding of stderr is unknown, the frame consists of "-", "+" and "|", or of a rule below the title.
    """
    lines = [line.strip("│| \t") for line in box.splitlines() if line.strip()]
    if len(lines) > 1 and not lines[1].strip("-─"):
        lines = lines[1:]
    kept: list[str] = []
    for line in lines:
        if line.startswith(("For full helptext", "Argument helptext")):
            break
        if line.strip("-─+") and not line.startswith(("╭", "╰", "─", "+-")):
            kept.append(line)
    return " ".join(kept)
