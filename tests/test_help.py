"""Help for somebody who has not read the code: every option described, in words that need no explanation."""

import ast
import contextlib
import importlib
import inspect
import io
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
from wav2vec2.cli.common_options import COMMON, common_options
from wav2vec2.cli.completion import script

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


def shown(words: list[str], encoding: str) -> str:
    """What a terminal of an encoding gets."""
    page = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    with contextlib.redirect_stdout(page):
        assert cli.main(words) == 0
    page.seek(0)
    return page.read()


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    """The help page of every command, 100 columns wide."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "120")
        for name in cli.COMMANDS:
            found[name] = shown(["help", *name.split()], "utf-8")
    return found


def boxes_of(page: str) -> dict[str, str]:
    """What stands below each title of a page."""
    parts = re.split(r"^╭─ (.+?) ─+╮$", page, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def names_in(text: str) -> list[str]:
    return re.findall(r"^│ (?:-h, )?--([a-z][\w.-]*)", text, re.M)


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_what_must_be_given_and_what_most_set_come_first_and_nothing_is_lost(name: str, pages: dict[str, str]) -> None:
    page, boxes = pages[name], boxes_of(pages[name])
    titles, common = list(boxes), common_options(name)
    options = getattr(importlib.import_module(f"wav2vec2.{cli.COMMANDS[name].module}"), cli.COMMANDS[name].options)
    required = [one.name for one in fields(options) if one.default is MISSING and one.default_factory is MISSING]
    assert "arguments" in titles[:1] or not required
    first = boxes[titles[0]] + boxes[titles[1]] if titles[0] == "arguments" and len(titles) > 1 else boxes[titles[0]]
    assert all(option in first for option in re.findall(r"^│ (\S+) .*\(required\)", page, re.M))
    named = names_in(page)
    assert len(named) == len(set(named))
    assert sorted(f"--{option}" for option in named) == [
        n for n in option_names(cli.COMMANDS[name]) if "--no-" not in n and ".no-" not in n
    ]
    if common:
        shown = names_in(boxes["common options"])
        assert shown == ["help", *(option for option in common if option in named)]
        assert 3 <= len(shown) < len(named)
        assert titles.index("common options") == ("arguments" in titles)
    else:
        assert len(named) <= 11, f"{name}: has so many options that common_options.py should name the common ones"


def test_the_common_options_are_those_of_commands() -> None:
    groups = {f"{name.partition(' ')[0]} *" for name in cli.COMMANDS}
    for row, text in COMMON.items():
        options = tuple(text.split())
        assert row in cli.COMMANDS or row in groups, row
        commands = [name for name in cli.COMMANDS if common_options(name) == options]
        known = {option for name in commands for option in option_names(cli.COMMANDS[name])}
        assert {f"--{option}" for option in options} <= known, row


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_a_page_is_readable(name: str, pages: dict[str, str]) -> None:
    page = pages[name]
    assert {len(line) for line in page.splitlines() if line.startswith(("╭", "│", "╰"))} == {100}
    assert max(len(line) for line in page.splitlines() if not line.startswith("    ")) <= 100
    assert page.startswith("usage: wav2vec2 ")
    for python in ("None", "''", "(default: )", "STR", "INT", "FLOAT", "{["):
        assert not re.search(rf"(?<![\w'`]){re.escape(python)}(?![\w'`])", page), python
    described = boxes_of(page)
    for title, text in described.items():
        entries = re.findall(r"^│ (?=\S)(?!─)", text, re.M)
        assert entries, title
        if title.endswith(" options") and title not in ("common options", "more options", "ray options"):
            assert re.match(r"\n│ [A-Z][a-z']*,? ", text), f"{title} does not say what it is about"


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_the_lines_shown_as_examples_are_commands_with_their_options(name: str, pages: dict[str, str]) -> None:
    about = pages[name].partition("╭")[0]
    assert not re.search(r"^wav2vec2 .* --", about, re.M), "an example in the docstring is not indented more than prose"
    for line in re.findall(r"^    wav2vec2 (.+)$", about, re.M):
        words = line.split()
        command = next(" ".join(words[:n]) for n in (2, 1) if " ".join(words[:n]) in cli.COMMANDS)
        assert set(re.findall(r"--[\w.-]+", line)) <= set(option_names(cli.COMMANDS[command])), line


def test_a_narrow_terminal_and_one_without_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    lines = shown(["transcribe", "--help"], "ascii").splitlines()
    assert max(len(line) for line in lines if not line.startswith("    wav2vec2")) <= 60
    assert any("common options ---" in line for line in lines)


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
