"""Every command line in the documents is one that the program understands."""

import importlib
import re
import shlex
from pathlib import Path

import pytest

from wav2vec2 import cli

REPOSITORY = Path(__file__).resolve().parents[1]
DOCUMENTS = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
RECORDS = ("log.md", "decisions.md")  # what ran then, by the names of then
LINE = re.compile(r"^ *\$? *(wav2vec2 .+)$", re.M)


def command_lines() -> list[tuple[str, str]]:
    found = []
    for document in DOCUMENTS:
        if document.name not in RECORDS:
            text = document.read_text(encoding="utf-8").replace("\\\n", " ")
            code = [line for line in text.splitlines() if line.startswith("    ")]
            code += [
                line for block in re.findall(r"```(?:sh|bash)?\n(.*?)```", text, re.S) for line in block.splitlines()
            ]
            found += [(document.name, line.strip()) for line in LINE.findall("\n".join(code))]
    return found


def test_the_readme_shows_commands() -> None:
    assert sum(document == "README.md" for document, _ in command_lines()) >= 5


@pytest.mark.parametrize(("document", "line"), command_lines(), ids=lambda value: value[:60])
def test_a_documented_command_line_is_understood(document: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = shlex.split(line, comments=True)[1:]
    name = max((name for name in cli.COMMANDS if " ".join(words).startswith(name)), key=len)
    command, understood = cli.COMMANDS[name], []
    module = importlib.import_module(f"wav2vec2.{command.module}")
    monkeypatch.setattr(module, command.function, understood.append)
    monkeypatch.chdir(REPOSITORY)
    assert cli.main(words) == 0, document
    assert understood or "--help" in words
