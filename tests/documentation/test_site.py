"""The site, built strictly from a copy of what it is made of: links, references, the public names, every option."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, sync_playwright
from tests.documentation.pages import DOCS, PAGES, ROOT

import wav2vec2
from wav2vec2 import cli

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.slow


def build(folder: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)


def sources(folder: Path) -> Path:
    shutil.copytree(ROOT / "docs", folder / "docs")
    shutil.copy(ROOT / "zensical.toml", folder)
    for name in ("src", "scripts"):
        (folder / name).symlink_to(ROOT / name)
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = sources(tmp_path_factory.mktemp("site"))
    done = build(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


def pages(site: Path) -> Iterator[tuple[Path, str]]:
    for page in sorted(site.rglob("*.html")):
        if page.name != "404.html":
            yield page, page.read_text(encoding="utf-8")


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    for page, html in pages(site):
        loaded = re.findall(r"<(?:script|img|iframe|source|link)\b[^>]*?\b(?:src|href)=[\"']?([^\"'\s>]+)", html)
        assert [address for address in loaded if re.match(r"(https?:)?//", address)] == [], page
    for sheet in site.rglob("*.css"):
        assert not re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//[^)]*", sheet.read_text()), sheet


def test_every_link_leads_to_a_file_of_the_site(site: Path) -> None:
    for page, html in pages(site):
        for address in re.findall(r"\b(?:href|src)=[\"']?([^\"'\s>]+)", html):
            place = unquote(unescape(address)).partition("#")[0]
            if place and not re.match(r"[a-z]+:|//", place):
                assert (page.parent / place).resolve().is_file(), f"{page}: {address}"


def test_tables_and_lists_are_those_that_github_shows(site: Path) -> None:
    for page in PAGES:
        if page.parent.name != "commands" and page.name != "api.md":
            place = page.relative_to(DOCS).with_suffix(".html")
            html = (site / place.with_name("index.html" if page.name == "README.md" else place.name)).read_text()
            article = html.partition("<article")[2].partition("</article>")[0]
            text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
            assert article.count("<table") == len(re.findall(r"^\|[:| ]*-[-:| ]*\|$", text, re.M)), page
            assert article.count("<li>") == len(re.findall(r"^(?:- |\d+\. )", text, re.M)), page


def test_the_reference_has_every_public_name(site: Path) -> None:
    html = (site / "api.html").read_text(encoding="utf-8")
    shown = set(re.findall(r"<h2 id=\"?wav2vec2\.(\w+)[\" ]", html))
    assert shown == set(wav2vec2.__all__)
    assert html.count('.encode"') >= 3  # of each model, with its shapes


def test_every_command_is_described_with_its_options(site: Path) -> None:
    from wav2vec2.cli.arguments import option_names

    text = " ".join(page.read_text(encoding="utf-8") for page in (site / "commands").glob("*.html"))
    for name, command in cli.COMMANDS.items():
        assert f'id="{name.replace(" ", "-")}"' in text or f"id={name.replace(' ', '-')} " in text, name
        if name in ("transcribe", "prepare table", "pretrain"):
            for option in (name.rstrip(".") for name in option_names(command)):
                assert option == "--help" or f"<code>{option}</code>" in text, option


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with sync_playwright() as playwright:
        program = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield program
        program.close()


# The theme's own: its lists of pages are landmarks without names of their own, and so are the buttons that its script
# puts beside blocks of code. Neither a style sheet nor Markdown reaches them.
OF_THE_THEME = {"landmark-unique"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_without_a_network_shows_what_all_can_read(
    site: Path, browser: Browser, width: int, scheme: str
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    page.set_default_timeout(300_000)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for name in ("index", "quick_start", "api", "commands/training", "results/speed", "comparison"):
        page.goto((site / f"{name}.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        found = Axe().run(page).response["violations"]
        broken = {one["id"]: one["nodes"][0]["html"] for one in found if one["id"] not in OF_THE_THEME}
        assert broken == {}, name
    context.close()
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []


@pytest.mark.parametrize(
    "line", ["[gone](gone.md)", "[gone](text.md#gone)", "[gone][wav2vec2.Gone]", "::: wav2vec2.Gone"]
)
def test_what_leads_nowhere_stops_the_build(tmp_path: Path, line: str) -> None:
    folder = sources(tmp_path)
    for page in (folder / "docs").rglob("*.md"):
        if page.name not in ("text.md", "python.md"):
            page.unlink()
    shutil.rmtree(folder / "docs/commands")
    (folder / "docs/text.md").write_text("# Text\n")
    (folder / "docs/python.md").write_text(f"# Python\n\n{line}\n")
    configuration = (folder / "zensical.toml").read_text(encoding="utf-8")
    head, _, rest = configuration.partition("nav = [")
    navigation = 'nav = ["python.md", "text.md"]\n\n[project.theme]'
    (folder / "zensical.toml").write_text(head + navigation + rest.partition("[project.theme]")[2])
    done = build(folder)
    assert done.returncode != 0, done.stdout + done.stderr
