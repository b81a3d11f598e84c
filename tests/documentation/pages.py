"""The pages of the documentation, and what tests ask of them: links, anchors, command lines and blocks of code."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))

_FENCED = re.compile(r"^```.*?^```", re.M | re.S)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def prose(page: Path) -> str:
    """The text of a page without its code."""
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    lines = [line for line in text.splitlines() if not line.startswith("    ")]
    return re.sub(r"`[^`]*`", "``", "\n".join(lines))


def links(page: Path) -> list[str]:
    """The addresses of the links and pictures of a page that are not on the web."""
    return [address for address in _LINK.findall(prose(page)) if "://" not in address]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub names them: lower case, words joined by -, no punctuation."""
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def command_lines(page: Path) -> list[str]:
    """The lines of a page's code that start with wav2vec2, in order; lines that end with a backslash are joined."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    return [line.strip() for line in re.findall(r"^ *(?:\$ *)?(wav2vec2 .+)$", code(text), re.M)]


def code(text: str) -> str:
    """The lines of a text that are indented, or between fences of a shell, in order."""
    kept, inside = [], ""
    for line in text.splitlines():
        if fence := re.match(r"```(\w*)", line):
            inside = "" if inside else fence[1] or "sh"
        elif inside in ("sh", "bash") or (not inside and line.startswith("    ")):
            kept.append(line)
    return "\n".join(kept)


def python_blocks(page: Path) -> list[str]:
    """The blocks of Python of a page, in order."""
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)
