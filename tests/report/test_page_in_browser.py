"""Report pages in Debian's Chromium: on a phone and a desktop, light and dark, by axe's rules of accessibility."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright
from tests.inference.spoken_symbols import VOCABULARY, LoudnessCTC, spoken
from tests.report.run_logs import finetuning_records, pretraining_records, write_run

from wav2vec2.inference.align import Aligner
from wav2vec2.report import page as report
from wav2vec2.report.label_hours import LabelPoint, draw_label_hours
from wav2vec2.report.run_log import read_runs
from wav2vec2.report.runs import runs_page
from wav2vec2.report.utterance import draw_utterance, symbol_posteriors

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        program = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield program
        program.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs, whose curves stand side by side, with a table of many columns; and pictures that are wide."""
    folder = tmp_path_factory.mktemp("pages")
    long = "a_run_with_a_name_that_is_longer_than_a_phone_is_wide_and_has_no_spaces"
    runs = [write_run(folder / name, pretraining_records(), f"seed = {n}\n") for n, name in enumerate(("first", long))]
    runs.append(write_run(folder / "third", finetuning_records()))
    curves, _ = runs_page(read_runs([str(run) for run in runs])).write(folder / "runs")
    wide = report.Page("Utterance: a.wav")
    wide.text("It needs `wav2vec2 report utterance` and a [link](https://example.org).\n\n    " + 30 * "a long line ")
    wide.heading("Pictures")
    audio = spoken("A FOX")
    posteriors = symbol_posteriors(np.log(np.full((19, len(VOCABULARY)), 1 / len(VOCABULARY))), VOCABULARY, 0.0, 0.02)
    aligned = Aligner(LoudnessCTC(), device="cpu")(audio, "A FOX")
    wide.figure(draw_utterance(audio, posteriors, aligned, 0.0, 0.4), "Spectrogram, posteriors, words")
    wide.figure(draw_label_hours([LabelPoint(1, "from scratch", 0.9), LabelPoint(10, "from scratch", 0.6)]), "Hours")
    pictures, _ = wide.write(folder / "wide")
    return {"runs": curves, "wide": pictures}


def opened(browser: Browser, page: Path, width: int, scheme: str) -> Page:
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
    shown = context.new_page()
    shown.goto(page.as_uri())
    return shown


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", ["runs", "wide"])
def test_a_report_is_readable(browser: Browser, pages: dict[str, Path], name: str, width: int, scheme: str) -> None:
    page = opened(browser, pages[name], width, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    # ink of letters in pictures: 9 points of 72 to the inch, or 8; at least 7 pixels high on the screen
    inches = page.evaluate(
        """[...document.images].map(image => image.getBoundingClientRect().width / (image.naturalWidth / 96))"""
    )
    assert min(inches) * 9 / 72 >= 7, inches
    page.context.close()


def test_pictures_follow_dark_mode(browser: Browser, pages: dict[str, Path]) -> None:
    colours = {}
    for scheme in ("light", "dark"):
        page = opened(browser, pages["runs"], 1280, scheme)
        colours[scheme] = page.evaluate(
            """() => { const image = document.images[1], canvas = document.createElement('canvas');
            canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
            const context = canvas.getContext('2d'); context.drawImage(image, 0, 0);
            return [...context.getImageData(3, 3, 1, 1).data] }"""
        )
        page.context.close()
    assert min(colours["light"][:3]) > 240
    assert max(colours["dark"][:3]) < 40
