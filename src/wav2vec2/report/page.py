"""A page of text, tables and figures, as self-contained HTML and as Markdown with its figures in files."""

import base64
import io
import re
import warnings
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wav2vec2.errors import UserError
from wav2vec2.output_file import writing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STYLE = """
body { margin: 2rem auto; max-width: 64rem; padding: 0 1rem; color: #222; background: #fff;
       font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
h1 { font-size: 1.7rem; margin: 0 0 1rem; } h2 { font-size: 1.25rem; margin: 2.2rem 0 .6rem; }
p, ul, ol { max-width: 48rem; }
code { background: #f3f3f3; padding: .1em .3em; border-radius: 3px; font-size: .9em; }
pre { background: #f3f3f3; padding: .7rem 1rem; overflow-x: auto; } pre code { padding: 0; background: none; }
div.table { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption, figcaption { color: #555; font-size: .92rem; text-align: left; }
caption { padding-bottom: .4rem; }
th, td { padding: .25rem .8rem; text-align: left; border-bottom: 1px solid #ddd; }
th { border-bottom: 2px solid #999; } .number { text-align: right; }
figure { margin: 1.4rem 0; } figure img { max-width: 100%; height: auto; }
"""

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
        self._html.append(renderer.render(markdown).strip())
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

        title = f"<caption>{escape(_line(caption))}</caption>" if caption else ""
        body = "\n".join(row("td", texts) for texts in cells)
        self._html.append(
            f'<div class="table"><table>{title}<thead>{row("th", names)}</thead>\n'
            f"<tbody>\n{body}\n</tbody></table></div>"
        )
        lines = [names, ["--:" if number else ":--" for number in numeric], *cells]
        shown = [[_plain(text) if place != 1 else text for text in texts] for place, texts in enumerate(lines)]
        table = "\n".join("| " + " | ".join(texts) + " |" for texts in shown)
        self._markdown.append((f"{_plain(_line(caption))}\n\n" if caption else "") + table)

    def figure(self, figure: "Figure", caption: str, name: str | None = None) -> None:
        """Draw a matplotlib figure and add it; later changes to the figure have no effect.

        Args:
            figure: any matplotlib figure.
            caption: what it shows, in plain text.
            name: of the Markdown's picture file, without suffix; default ``figure_1``, ``figure_2``, ...

        Raises:
            ValueError: the page already has a figure of that name.
        """
        caption = _line(caption)
        stem = re.sub(r"[^\w.-]+", "_", name) if name else f"figure_{len(self._pictures) + 1}"
        if f"{stem}.png" in self._pictures:
            raise ValueError(f"two figures are named {stem}")
        vector = base64.b64encode(_drawn(figure, "svg")).decode("ascii")
        self._pictures[f"{stem}.png"] = _drawn(figure, "png")
        self._html.append(
            f'<figure><img alt="{escape(caption)}" src="data:image/svg+xml;base64,{vector}">'
            f"<figcaption>{escape(caption)}</figcaption></figure>"
        )
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
            f"<title>{escape(self.title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        ) + "\n".join([*self._html, "</body>", "</html>", ""])
        files = {
            **self._pictures,
            "report.md": ("\n\n".join(self._markdown) + "\n").encode(),
            "report.html": html.encode(),
        }
        for name, content in files.items():
            with writing(folder / name) as temporary:
                Path(temporary).write_bytes(content)
        return folder / "report.html", folder / "report.md"


def _drawn(figure: "Figure", kind: str) -> bytes:
    """The figure as the bytes of a file; the same figure gives the same bytes, so that reports can be compared."""
    import matplotlib

    metadata: dict[str, Any] = {"Date": None} if kind == "svg" else {"Software": None}
    picture = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "wav2vec2"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the picture shows a box instead
        # a figure with a layout engine has nothing outside its edges
        box = None if figure.get_layout_engine() is not None else "tight"
        figure.savefig(picture, format=kind, dpi=150, bbox_inches=box, metadata=metadata)
    return picture.getvalue()


def _line(text: object) -> str:
    return " ".join(str(text).split())


def _plain(text: str) -> str:
    """Plain text, escaped for Markdown."""
    return re.sub(r"([\\`*|\[\]<])", r"\\\1", text)
