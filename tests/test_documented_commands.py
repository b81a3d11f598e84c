"""Every command line in the documents is one that the program understands."""

import importlib
import shlex

import pytest
from tests.documentation.pages import PAGES, ROOT, command_lines

from wav2vec2 import cli

RECORDS = ("log.md", "decisions.md")  # what ran then, by the names of then


def documented() -> list[tuple[str, str]]:
    pages = [page for page in PAGES if page.name not in RECORDS and page.parent.name != "results"]
    return [(page.name, line) for page in (ROOT / "README.md", *pages) for line in command_lines(page)]


def test_the_readme_shows_commands() -> None:
    assert sum(document == "README.md" for document, _ in documented()) >= 5


@pytest.mark.parametrize(("document", "line"), documented(), ids=lambda value: value[:60])
def test_a_documented_command_line_is_understood(document: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = shlex.split(line, comments=True)[1:]
    name = max((name for name in cli.COMMANDS if " ".join(words).startswith(name)), key=len)
    command, understood = cli.COMMANDS[name], []
    module = importlib.import_module(f"wav2vec2.{command.module}")
    monkeypatch.setattr(module, command.function, understood.append)
    monkeypatch.chdir(ROOT)
    assert cli.main(words) == 0, document
    assert understood or "--help" in words
