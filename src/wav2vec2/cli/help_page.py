"""The help page of a command: what it is for, what must be given, what most runs set, and all else below that.

tyro writes a page with the options in the order of the code. It is read here into boxes of entries, put into another
order and written anew, without Python's words for what is empty.
"""

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace

READ_WIDTH = 100
"""Columns of the page that is read: up to so many, tyro has one column of boxes."""
_MOST_NAME = 24
_ENTRY, _RULE = re.compile(r"│ (\S.*?) +│$"), re.compile(r"│ ─+ │$")
_MORE = re.compile(r"│ {2,}(\S.*?) +│$")
_EMPTY = re.compile(r" ?\(default: (None|''|\(\)|)\)")
_PLAIN = str.maketrans("╭╮╰╯│─", "    |-")
_VALUES = {"STR": "TEXT", "INT": "N", "FLOAT": "X"}


@dataclass(frozen=True)
class Entry:
    """An argument: its names with the value that it takes, and what it does, in lines."""

    head: str
    lines: tuple[str, ...] = ()

    @property
    def names(self) -> set[str]:
        """Its options without dashes: {"out"}, {"dry-run", "no-dry-run"}; none for an argument without a name."""
        return set(re.findall(r"(?:^|, )--?([a-z][\w.-]*)", self.head))


@dataclass(frozen=True)
class Box:
    """Entries under a title, such as "decoding options", and what they are about."""

    title: str
    about: tuple[str, ...] = ()
    entries: tuple[Entry, ...] = ()


def help_page(page: str, about: str, common: Sequence[str], *, width: int = READ_WIDTH, frames: bool = True) -> str:
    """Return tyro's page in the order and the words of this module.

    Args:
        page: as tyro writes it at `READ_WIDTH`.
        about: what the command is for: paragraphs; one that is indented has command lines, and is left as it is.
        common: names of options that come first; empty: all stay as they are.
        width: columns of the new page.
        frames: around its parts; without them, for a terminal that cannot show them, plain lines take their place.
    """
    usage = textwrap.wrap(plain_value(page.splitlines()[0]), width, subsequent_indent="    ")
    boxes = arranged(read_page(page), common)
    shown = [*usage, ""]
    for paragraph in about.split("\n\n"):
        wrapped = [paragraph] if paragraph.startswith("    ") else _wrapped(paragraph, width)
        shown += [*wrapped, ""]
    for box in boxes:
        shown += _drawn(box, width)
    text = "\n".join(shown) + "\n\n"
    return text if frames else text.translate(_PLAIN)


def arranged(boxes: Sequence[Box], common: Sequence[str]) -> list[Box]:
    """Put what must be given first, then the common options in a box of their own, then all others."""
    arguments = [replace(box, title="arguments") for box in boxes if box.title == "positional arguments"]
    others = [box for box in boxes if box.title != "positional arguments"]
    if not common:
        return [*arguments, *others]
    wanted = ("h", *common)
    first = [entry for name in wanted for box in others for entry in box.entries if name in entry.names]
    rest = [replace(box, entries=tuple(entry for entry in box.entries if entry not in first)) for box in others]
    rest = [replace(box, title="more options") if box.title == "options" else box for box in rest]
    return [*arguments, Box("common options", (), tuple(first)), *(box for box in rest if box.entries)]


def plain_value(value: str) -> str:
    """Return the value of an option, or a line with some, without the names of Python's types."""
    value = re.sub(r"\{(\[[^{}]*\])\}", r"\1", value)
    return re.sub(r"\b(STR|INT|FLOAT)\b", lambda found: _VALUES[found[1]], value)


def plain_text(text: str, *, flag: bool) -> str:
    """Return what an option does without a default that is nothing; that of a flag (--x, --no-x) is yes or no."""
    text = _EMPTY.sub("", text)
    if flag:
        text = text.replace("(default: True)", "(default: yes)").replace("(default: False)", "(default: no)")
    return text


def read_page(page: str) -> list[Box]:
    """Return what tyro's page at `READ_WIDTH` holds."""
    boxes: list[Box] = []
    for line in page.splitlines():
        if opened := re.match(r"╭─ (.+?) ─+╮$", line):
            boxes.append(Box(opened[1].rpartition(".")[2]))
        elif not boxes or not line.startswith("│"):
            continue
        elif _RULE.match(line):  # what came before it is about the box
            about = (text for entry in boxes[-1].entries for text in (entry.head, *entry.lines))
            boxes[-1] = replace(boxes[-1], about=tuple(about), entries=())
        elif found := _ENTRY.match(line):
            head, *text = re.split(r" {2,}", found[1], maxsplit=1)
            boxes[-1] = replace(boxes[-1], entries=(*boxes[-1].entries, Entry(head, tuple(text))))
        elif found := _MORE.match(line):
            last = boxes[-1].entries[-1]
            entries = (*boxes[-1].entries[:-1], replace(last, lines=(*last.lines, found[1])))
            boxes[-1] = replace(boxes[-1], entries=entries)
    return boxes


def _drawn(box: Box, width: int) -> list[str]:
    inner = width - 4
    heads = [plain_value(entry.head) for entry in box.entries]
    most = min(_MOST_NAME, inner // 3)
    column = 2 + max((len(head) for head in heads if len(head) <= most), default=most)
    lines = [*_wrapped(" ".join(box.about), inner), "─" * inner] if box.about else []
    for head, entry in zip(heads, box.entries, strict=True):
        text = [part for line in _sentences(entry) for part in _wrapped(line, inner - column)]
        if text and len(head) + 2 <= column:
            lines.append(head.ljust(column) + text.pop(0))
        else:
            lines += _wrapped(head, inner)
        lines += [" " * column + line for line in text]
    drawn = [f"│ {line.ljust(inner)} │" for line in lines]
    return [f"╭─ {box.title} ".ljust(width - 1, "─") + "╮", *drawn, "╰" + "─" * (width - 2) + "╯"]


def _sentences(entry: Entry) -> list[str]:
    """Join lines; one that begins with a name and a colon, as in a list of values, stays a line of its own."""
    joined = re.sub(r"(?<![.])\n|\n(?![\w, ]+: )", " ", "\n".join(entry.lines))
    return plain_text(joined, flag=", --no-" in entry.head or ".no-" in entry.head).split("\n")


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_on_hyphens=False)
