"""The files of docs/ as a reader of the repository sees them, and their places in the navigation of the site."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.documentation.pages import DOCS, PAGES, ROOT, anchors, links

from wav2vec2.cli.commands import GROUPS

READ_ON_GITHUB = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *PAGES]


def places(navigation: list[object]) -> Iterator[str]:
    """The pages that a navigation names."""
    for entry in navigation:
        if isinstance(entry, dict):
            (place,) = entry.values()
            yield from places(place) if isinstance(place, list) else [place]


@pytest.mark.parametrize("page", READ_ON_GITHUB, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page_lead_to_files_and_headings(page: Path) -> None:
    for link in links(page):
        address, _, anchor = link.partition("#")
        target = (page.parent / address).resolve() if address else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_in_the_navigation_once() -> None:
    site = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]
    assert sorted(places(site["nav"])) == [str(page.relative_to(DOCS)) for page in PAGES]


def test_every_group_of_commands_has_a_page() -> None:
    marked = re.findall(r"^<!-- commands: (.+) -->$", "\n".join(page.read_text() for page in PAGES), re.M)
    assert sorted(marked) == sorted(title.split(" (")[0] for title in GROUPS)


def test_a_page_has_one_title() -> None:
    for page in PAGES:
        assert re.match(r"# .", page.read_text(encoding="utf-8")), page
