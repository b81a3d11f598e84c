"""What the documentation site adds to the files of docs/: an extension of Python-Markdown, named in zensical.toml.

A page that holds ``<!-- commands: TITLE -->`` shows, from there to ``<!-- end -->``, every command of that group of
`wav2vec2 help` with its options. On GitHub the text between the two is read instead. So nothing that is generated
is committed, and nothing can grow stale. Links to files outside docs/, which the site does not have, lose their link.
"""

import re
import warnings
from collections import Counter
from collections.abc import Sequence
from functools import cache
from html import escape
from xml.etree.ElementTree import Element

from markdown import Extension, Markdown
from markdown.preprocessors import Preprocessor
from markdown.treeprocessors import Treeprocessor

from wav2vec2.cli.arguments import parser_of
from wav2vec2.cli.commands import COMMANDS, GROUPS
from wav2vec2.cli.common_options import common_options
from wav2vec2.cli.help_page import Box, Entry, arranged, plain_text, plain_value

_MARK = re.compile(r"^<!-- commands: (.+?) -->$")
_END = "<!-- end -->"
_NAME = re.compile(r"(?<!\S)--?[a-z][^\s,]*")
_SHARED = 4
"""Commands of a group that have the same options show them once, if there are so many commands."""


def short(group: str) -> str:
    """The title of a group without its explanation."""
    return group.split(" (")[0]


@cache
def sections(name: str) -> tuple[str, tuple[Box, ...]]:
    """What a command does, and its options in the order of `wav2vec2 NAME --help`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # tyro has no other way to its options
        parser = parser_of(name, COMMANDS[name])
    found = []
    for group in parser._action_groups:
        options = tuple(
            Entry(_head(a.option_strings, a.metavar), (plain_text(a.help or "", flag=len(a.option_strings) > 1),))
            for a in group._group_actions
            if "--help" not in a.option_strings
        )
        if options:
            found.append(Box(group.title or "", (group.description or "",), options))
    return parser.description or "", tuple(arranged(found, common_options(name)))


def _head(names: Sequence[str], metavar: object) -> str:
    value = plain_value(" ".join(metavar) if isinstance(metavar, tuple) else str(metavar or ""))
    return " ".join(part for part in (", ".join(names), value) if part)


def group_page(group: str) -> list[str]:
    """The lines of Markdown that describe all commands of a group."""
    commands = next(commands for title, commands in GROUPS.items() if short(title) == group)
    shared = _shared(list(commands))
    lines = ["| command | |\n|---|---|"]
    lines += [f"| [`{name}`](#{_anchor(name)}) | {_cell(command.summary)} |" for name, command in commands.items()]
    if shared:
        lines += ["", "## Options of most of these commands { #shared }", ""]
        lines += _table(shared)
    for name, command in commands.items():
        about, found = sections(name)
        recipe = " [RECIPE]" if command.recipe else ""
        lines += [
            "",
            f"## {name} {{ #{_anchor(name)} }}",
            "",
            f"    wav2vec2 {name}{recipe} ...",
            "",
            *_paragraphs(about),
        ]
        everything = [option for section in found for option in section.entries]
        known = set(shared) if set(shared) <= set(everything) else set[Entry]()
        for section in found:
            rest = tuple(option for option in section.entries if option not in known)
            if rest:
                plain = section.title in ("options", "arguments")
                lines += [] if plain else ["", f"**{section.title}**"]
                lines += ["", *_paragraphs(" ".join(section.about)), *_table(rest)]
        if known:
            lines += ["", "And [the options of most of these commands](#shared)."]
    return [line for text in lines for line in text.split("\n")]


def _shared(names: list[str]) -> tuple[Entry, ...]:
    """The options that most commands have alike, in the order of the first; none if there are few commands."""
    counts = Counter(option for name in names for section in sections(name)[1] for option in section.entries)
    shared = tuple(option for option, count in counts.items() if count >= max(_SHARED, 0.8 * len(names)))
    return shared if len(shared) >= _SHARED else ()


def _anchor(name: str) -> str:
    return name.replace(" ", "-")


def _paragraphs(text: str) -> list[str]:
    return [line for part in re.split(r"\n\s*\n", text.strip()) if part for line in (escape(part, quote=False), "")]


def _table(options: Sequence[Entry]) -> list[str]:
    lines = ["| option | what it does |", "|---|---|"]
    for option in options:
        names = _NAME.findall(option.head)
        value = _NAME.sub("", option.head).strip(", ")
        shown = " ".join(f"`{part}`" for part in (*names, value) if part)
        lines.append(f"| {shown} | {_cell(' '.join(option.lines))} |")
    return lines


class _Commands(Preprocessor):
    """Puts the options of a group of commands in the place of the mark that names it."""

    def run(self, lines: list[str]) -> list[str]:
        shown: list[str] = []
        hidden = False
        for line in lines:
            if found := _MARK.match(line):
                shown += group_page(found[1])
                hidden = True
            elif line == _END:
                hidden = False
            elif not hidden:
                shown.append(line)
        return shown


class _AsOnGithub(Preprocessor):
    """Ends a paragraph before a list, and a comment before what follows it, as CommonMark does."""

    def run(self, lines: list[str]) -> list[str]:
        shown: list[str] = []
        fenced, before = False, ""
        for line in lines:
            if not fenced and _follows_text(before, line):
                shown.append("")
            fenced ^= line.startswith("```")
            shown.append(line)
            before = line
        return shown


def _follows_text(before: str, line: str) -> bool:
    if before.startswith("<!--"):
        return bool(line)
    return line.startswith("- ") and before.strip() != "" and not before.startswith(("- ", " ", "#"))


class _Outside(Treeprocessor):
    """Takes the links to files outside docs/ away, and leaves their text."""

    def run(self, root: Element) -> None:
        for link in root.iter("a"):
            address = link.get("href", "")
            if address.startswith("../") and not address.partition("#")[0].endswith((".md", ".html")):
                link.tag = "span"
                link.set("title", address.lstrip("./"))
                del link.attrib["href"]


class _EmptyHeaders(Treeprocessor):
    """Makes an empty header of a table, such as its corner, a cell: a header without words says nothing to a reader."""

    def run(self, root: Element) -> None:
        for header in root.iter("th"):
            if not len(header) and not (header.text or "").strip():
                header.tag = "td"


class SitePages(Extension):
    """See the module."""

    def extendMarkdown(self, md: Markdown) -> None:
        """Register the steps: before code and HTML are taken out of the text, and after links are made."""
        md.preprocessors.register(_Commands(md), "commands", 100)
        md.preprocessors.register(_AsOnGithub(md), "as_on_github", 99)
        md.treeprocessors.register(_Outside(md), "outside", 0)
        md.treeprocessors.register(_EmptyHeaders(md), "empty_headers", 0)


def makeExtension(**settings: object) -> SitePages:
    """What Python-Markdown calls."""
    return SitePages(**settings)


def _cell(text: str) -> str:
    """Text for a cell of a table: one line, nothing in it read as Markdown or HTML."""
    lines = (" ".join(line.split()) for line in text.strip().split("\n"))
    marked = re.sub(r"([\\*_\[\]|])", r"\\\1", escape("\n".join(lines), quote=False))
    return re.sub(r"\n(?=[\w, ]+: )", "<br>", marked).replace("\n", " ")
