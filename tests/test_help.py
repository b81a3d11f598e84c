"""Help for somebody who has not read the code: every option described, in words that need no explanation."""

import ast
import importlib
import inspect
import re
import shutil
import subprocess
import textwrap
from dataclasses import MISSING, fields, is_dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import pytest
from tyro.conf import Positional

from wav2vec2 import cli
from wav2vec2.cli.arguments import option_names
from wav2vec2.cli.completion import script
from wav2vec2.cli.help_page import COMMON

JARGON = re.compile(r"\b(SPEC|dataclass|kwargs?|stdin's|iterable|boolean|enum|instantiate|TODO|None or)\b")
INTERNAL = re.compile(r"\b(Wav2Vec2For\w+|[A-Z]\w+(Options|Config|Error|Job|Trainer|Encoder|Decoder)|Utterance)\b")


def classes(options: type[Any]) -> list[type[Any]]:
    """The dataclass of a command, and those of its sections."""
    found, hints = [options], get_type_hints(options)
    for one in fields(options):
        hint = hints[one.name]
        hint = get_args(hint)[0] if get_origin(hint) is Annotated else hint
        if is_dataclass(hint):
            assert isinstance(hint, type)
            found += classes(hint)
    return found


def described(owner: type[Any]) -> dict[str, str]:
    """The strings below the fields of a class and of its ancestors, which the help page shows."""
    found: dict[str, str] = {}
    for ancestor in reversed(owner.__mro__):
        if not is_dataclass(ancestor):
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(ancestor))).body[0]
        assert isinstance(body, ast.ClassDef)
        for line, following in zip(body.body, [*body.body[1:], None], strict=True):
            if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
                text = following.value if isinstance(following, ast.Expr) else None
                known = isinstance(text, ast.Constant) and isinstance(text.value, str)
                in_place = re.search(r"help=|_shown\(", ast.unparse(line.annotation))
                found[line.target.id] = text.value if known else "in place" if in_place else ""
    return found


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_every_option_is_described_without_jargon(name: str) -> None:
    command = cli.COMMANDS[name]
    options = getattr(importlib.import_module(f"wav2vec2.{command.module}"), command.options)
    for owner in classes(options):
        texts = described(owner)
        for one in fields(owner):
            if not is_dataclass(get_type_hints(owner).get(one.name)) and one.init:
                text = texts.get(one.name, "")
                is_section = isinstance(one.default_factory, type) and is_dataclass(one.default_factory)
                assert text or is_section, f"{owner.__name__}.{one.name} is not described"
                assert not JARGON.search(text), f"{owner.__name__}.{one.name}: {text}"
                own = INTERNAL.search(text)
                assert own is None, f"{owner.__name__}.{one.name} names {own and own[0]} of the code: {text}"


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_required_arguments_have_a_name_in_capitals(name: str) -> None:
    command = cli.COMMANDS[name]
    options = getattr(importlib.import_module(f"wav2vec2.{command.module}"), command.options)
    for one in fields(options):
        annotations = getattr(get_type_hints(options, include_extras=True)[one.name], "__metadata__", ())
        if Positional in annotations or (one.default is MISSING and one.default_factory is MISSING):
            shown = [note.metavar for note in annotations if getattr(note, "metavar", None)]
            assert shown, f"{name}: {one.name} has no metavar"


@pytest.mark.parametrize("name", [name for name, command in sorted(cli.COMMANDS.items()) if command.recipe])
def test_common_options_come_first_and_none_is_lost(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["help", *name.split()]) == 0
    page = capsys.readouterr().out
    named = re.findall(r"^│ (--[a-z][\w.-]*)", page, re.M)
    expected = [f"--{option}" for option in COMMON if f"--{option}" in named]
    assert named[: len(expected)] == expected
    assert {"--output", "--train.updates", "--train.lr", "--train.precision"} <= set(expected)
    assert sorted(set(named)) == [n for n in option_names(cli.COMMANDS[name]) if n != "--help" and "no-" not in n]
    boxes = re.findall(r"^╭─ (.+? options) .*\n(.*)", page, re.M)
    assert boxes[0][0] == "common options"
    assert len({len(line) for line in page.splitlines() if line.startswith(("╭", "╰"))}) == 1
    for title, first in boxes[2:]:  # after those without a section
        assert re.match(r"│ [A-Z][a-z]*,? ", first), f"{title} does not say what it is about"


def test_help_command(capsys: pytest.CaptureFixture[str]) -> None:
    pages = []
    for arguments in (["help", "report", "hours"], ["report", "hours", "--help"]):
        assert cli.main(arguments) == 0
        pages.append(capsys.readouterr().out)
    assert pages[0] == pages[1]
    assert "TABLE.csv" in pages[0]
    assert cli.main(["help"]) == 0
    assert "First steps" in capsys.readouterr().out


def test_a_recipe_is_described(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["help", "finetune"]) == 0
    page = " ".join(capsys.readouterr().out.split())
    assert "RECIPE is a .toml file" in page
    assert "has lr for --train.lr" in page


def test_completion_of_commands_and_options() -> None:
    if (bash := shutil.which("bash")) is None:
        pytest.skip("no bash")
    commands = {"prepare table": ["--out"], "prepare auto": ["--out"], "report": ["--out"], "report codes": ["--split"]}
    for words, expected in (
        ("wav2vec2 rep", "report"),
        ("wav2vec2 prepare t", "table"),
        ("wav2vec2 prepare table --o", "--out"),
        ("wav2vec2 report codes --", "--split"),
        ("wav2vec2 report run --", "--out"),
        ("wav2vec2 help pre", "prepare"),
    ):
        parts = words.split()
        asked = f"COMP_WORDS=({' '.join(parts)}); COMP_CWORD={len(parts) - 1}; _wav2vec2; echo ${{COMPREPLY[*]}}"
        line = [bash, "-c", script("bash", commands) + asked]
        done = subprocess.run(line, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == expected, words
    assert script("zsh", commands).startswith("autoload")


def test_completion_knows_the_options_of_a_command() -> None:
    assert {"--out", "--rate"} <= set(option_names(cli.COMMANDS["report hours"]))
