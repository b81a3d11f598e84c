"""A page of text, tables and figures, as self-contained HTML and as Markdown with its figures in files."""

import base64
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from wav2vec2.errors import UserError
from wav2vec2.output_file import writing
from wav2vec2.report.drawing import drawn

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STYLE = """
:root { color-scheme: light dark; --ink: #222; --soft: #555; --paper: #fff; --code: #f3f3f3; --line: #ddd; --rule: #999;
        --link: #0b57a4; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ddd; --soft: #aaa; --paper: #16181c; --code: #24272d; --line: #3a3e46; --rule: #777;
          --link: #8ab8ff; }
}
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: var(--paper); overflow-wrap: anywhere;
       font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
main { margin: 2rem auto; max-width: 66rem; padding: 0 1rem; }
a { color: var(--link); }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 1rem; } h2 { font-size: 1.25rem; margin: 2.2rem 0 .6rem; }
p, ul, ol { max-width: 48rem; }
code { background: var(--code); padding: .1em .3em; border-radius: 3px; font-size: .9em; }
pre { background: var(--code); padding: .7rem 1rem; overflow-x: auto; } pre code { padding: 0; background: none; }
.box { overflow-x: auto; margin: .4rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
figcaption { color: var(--soft); font-size: .92rem; }
th, td { padding: .25rem .8rem; text-align: left; border-bottom: 1px solid var(--line); }
th { border-bottom: 2px solid var(--rule); } .number { text-align: right; white-space: nowrap; }
figure { margin: 1.4rem 0; } figure img { display: block; width: 100%; height: auto; }
.panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(18rem, 100%), 1fr)); gap: .6rem; }
.box > img { width: auto; max-width: 100%; }
@media (max-width: 600px) { h1 { font-size: 1.35rem; } th, td { padding: .25rem .5rem; } }
"""

_LEAST_PIXELS_PER_INCH = 70
_NUMBER = re.compile(r"[-+−]?[\d.,]+\s*(%|‰)?(\s*[±(\[].*)?|[-–—]?")


class Page:
    """Collects the content of a report in order; `write` saves it as ``report.html`` and ``report.md``.

    Text is Markdown (CommonMark); raw HTML in it is shown as text, and images are not loaded. Titles, captions and
    cells are plain text.
    """

    def __init__(self, title: str) -> None:
        self.title = _line(title)
        self._html: list[str] = [f"<h1>{escape(self.title)}</h1>"]
        self._markdown: list[str] = [f"# {_plain(self.title)}"]
        self._pictures: dict[str, bytes] = {}

    def heading(self, text: str) -> None:
        """Begin a section."""
        self._html.append(f"<h2>{escape(_line(text))}</h2>")
        self._markdown.append(f"## {_plain(_line(text))}")

    def text(self, markdown: str) -> None:
        """Add paragraphs, lists or code, in Markdown."""
        from markdown_it import MarkdownIt

        renderer = MarkdownIt("commonmark", {"html": False}).disable("image")
        # code may be wider than the page, and is scrolled by the keyboard, too
        self._html.append(renderer.render(markdown).strip().replace("<pre>", '<pre tabindex="0">'))
        # The reader's Markdown renderer may interpret raw HTML, so it is escaped, except in code.
        shielded = re.sub(r"(`+[^`]*`+)|<", lambda found: found[1] or "&lt;", markdown)
        self._markdown.append(shielded.strip())

    def table(self, header: Sequence[object], rows: Sequence[Sequence[object]], caption: str = "") -> None:
        """Add a table; columns of numbers are right-aligned. Raises ValueError for a row of another length than the
        header.
        """
        names = [_line(cell) for cell in header]
        cells = [[_line(cell) for cell in row] for row in rows]
        if odd := next((row for row in cells if len(row) != len(names)), None):
            raise ValueError(f"a row of {len(odd)} cells in a table of {len(names)} columns: {odd}")
        numeric = [bool(cells) and all(_NUMBER.fullmatch(row[column]) for row in cells) for column in range(len(names))]

        def row(tag: str, texts: Sequence[str]) -> str:
            kinds = [' class="number"' if number else "" for number in numeric]
            return (
                "<tr>" + "".join(f"<{tag}{k}>{escape(t)}</{tag}>" for k, t in zip(kinds, texts, strict=True)) + "</tr>"
            )

        title = f"<figcaption>{escape(_line(caption))}</figcaption>" if caption else ""
        body = "\n".join(row("td", texts) for texts in cells)
        self._html.append(
            f'<figure>{title}<div class="box"{_scrolled(caption or "table")}><table><thead>{row("th", names)}</thead>\n'
            f"<tbody>\n{body}\n</tbody></table></div></figure>"
        )
        lines = [names, ["--:" if number else ":--" for number in numeric], *cells]
        shown = [[_plain(text) if place != 1 else text for text in texts] for place, texts in enumerate(lines)]
        table = "\n".join("| " + " | ".join(texts) + " |" for texts in shown)
        self._markdown.append((f"{_plain(_line(caption))}\n\n" if caption else "") + table)

    def figure(
        self, figure: "Figure", caption: str, name: str | None = None, *, parts: Sequence["Figure"] = ()
    ) -> None:
        """Draw a matplotlib figure and add it; later changes to the figure have no effect.

        Args:
            figure: any matplotlib figure.
            caption: what it shows, in plain text.
            name: of the Markdown's picture file, without suffix; default ``figure_1``, ``figure_2``, ...
            parts: figures that show the same; the HTML page has them instead, as many side by side as there is room.

        Raises:
            ValueError: the page already has a figure of that name.
        """
        caption = _line(caption)
        stem = re.sub(r"[^\w.-]+", "_", name) if name else f"figure_{len(self._pictures) + 1}"
        if f"{stem}.png" in self._pictures:
            raise ValueError(f"two figures are named {stem}")
        self._pictures[f"{stem}.png"] = drawn(figure, "png")
        if parts:
            shown = f'<div class="panels">{"".join(_image(part, caption) for part in parts)}</div>'
        else:
            # Text stays readable on a phone: a wide picture scrolls in its box.
            least = round(_LEAST_PIXELS_PER_INCH * figure.get_figwidth())
            image = _image(figure, caption, f' style="min-width:{least}px"')
            shown = f'<div class="box"{_scrolled(caption)}>{image}</div>'
        self._html.append(f"<figure>{shown}<figcaption>{escape(caption)}</figcaption></figure>")
        self._markdown.append(f"![{_plain(caption)}]({stem}.png)\n\n{_plain(caption)}")

    def write(self, folder: str | Path) -> tuple[Path, Path]:
        """Write ``report.html``, ``report.md`` and the figures to a folder, which is created if needed.

        Returns the paths of the two pages. Raises UserError if the folder is a file.
        """
        folder = Path(folder)
        if folder.exists() and not folder.is_dir():
            raise UserError(f"{folder}: is a file, but a report is a folder; name another with --out")
        html = (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{escape(self.title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        ) + "\n".join([*self._html, "</main>", "</body>", "</html>", ""])
        files = {
            **self._pictures,
            "report.md": ("\n\n".join(self._markdown) + "\n").encode(),
            "report.html": html.encode(),
        }
        for name, content in files.items():
            with writing(folder / name) as temporary:
                Path(temporary).write_bytes(content)
        return folder / "report.html", folder / "report.md"


def _image(figure: "Figure", caption: str, more: str = "") -> str:
    picture = base64.b64encode(drawn(figure, "svg")).decode("ascii")
    return f'<img alt="{escape(caption)}" src="data:image/svg+xml;base64,{picture}"{more}>'


def _scrolled(label: str) -> str:
    """Attributes of a box that may scroll, so that the keyboard reaches it and a screen reader names it."""
    return f' tabindex="0" role="group" aria-label="{escape(_line(label))}"'


def _line(text: object) -> str:
    return " ".join(str(text).split())


def _plain(text: str) -> str:
    """Plain text, escaped for Markdown."""
    return re.sub(r"([\\`*|\[\]<])", r"\\\1", text)
