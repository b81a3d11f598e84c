import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wav2vec2.errors import UserError
from wav2vec2.report.page import Page

HOSTILE = '<script>alert(1)</script> & "quoted" | `tick`'


class Reader(HTMLParser):
    """The tags, what they point to, and the text between them."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loaded: list[str] = []
        self.said: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.loaded += [value for name, value in attrs if name in ("src", "srcset", "data", "style") and value]

    def handle_data(self, data):
        self.said.append(data)


def figure_of(values):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3, 2))
    figure.subplots().plot(values)
    return figure


def hostile_page() -> Page:
    page = Page(HOSTILE)
    page.heading(HOSTILE)
    page.text(f"Words {HOSTILE.replace('`', '')} and ![far](https://example.org/x.png)\n\n<b>bold?</b>")
    page.table(["name", HOSTILE], [[HOSTILE, 1], ["b", 2.5]], caption=HOSTILE)
    page.figure(figure_of([1, 2, 3]), HOSTILE)
    return page


def test_text_is_shown_and_not_obeyed(tmp_path):
    html, _ = hostile_page().write(tmp_path)
    reader = Reader(html)
    assert "script" not in reader.tags
    assert "b" not in reader.tags
    assert reader.tags.count("img") == 1
    # title (twice), heading, text, caption and column and cell of the table, caption of the figure
    assert "".join(reader.said).count("<script>alert(1)</script>") == 8


def test_the_page_needs_nothing_beside_it(tmp_path):
    html, _ = hostile_page().write(tmp_path)
    reader = Reader(html)
    assert all(re.match(r"data:image/svg\+xml;base64,|min-width:\d+px$", link) for link in reader.loaded)
    assert "link" not in reader.tags
    assert "@import" not in html.read_text(encoding="utf-8")
    picture = base64.b64decode(reader.loaded[0].split(",", 1)[1]).decode()
    assert "<svg" in picture
    assert not re.search(r'href="(?!#|data:)', picture)
    assert not re.search(r'style="[^"]*#(000000|ffffff)', picture)  # ink and paper follow light or dark mode


def test_markdown_has_its_figures_beside_it(tmp_path):
    page = Page("Two")
    page.figure(figure_of([1, 2]), "first")
    page.figure(figure_of([2, 1]), "second", name="of a name")
    _, markdown = page.write(tmp_path / "new" / "folder")
    names = re.findall(r"!\[.*?\]\((.*?)\)", markdown.read_text(encoding="utf-8"))
    assert names == ["figure_1.png", "of_a_name.png"]
    assert all((markdown.parent / name).read_bytes().startswith(b"\x89PNG") for name in names)


def test_markdown_table_keeps_its_columns(tmp_path):
    page = Page("Table")
    page.table(["a|b", "c"], [["x | y", "1.5"], ["z\nw", "20 [19, 21]"]])
    _, markdown = page.write(tmp_path)
    lines = [line for line in markdown.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    assert lines[1] == "| :-- | --: |"
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {3}


def test_a_row_of_another_width_is_refused():
    with pytest.raises(ValueError, match="3 cells in a table of 2"):
        Page("Table").table(["a", "b"], [[1, 2, 3]])


def test_writing_twice_gives_the_same_bytes(tmp_path):
    first, _ = hostile_page().write(tmp_path / "1")
    second, _ = hostile_page().write(tmp_path / "2")
    assert first.read_bytes() == second.read_bytes()


def test_a_file_in_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file: is a file"):
        Page("x").write(tmp_path / "file")


@settings(max_examples=20, deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=40))
def test_any_cell_is_shown_as_it_is(tmp_path_factory, text):
    page = Page("t")
    page.table(["x"], [[text]])
    html, _ = page.write(tmp_path_factory.mktemp("page"))
    assert " ".join(text.split()) in "".join(Reader(html).said)
