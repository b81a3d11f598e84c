"""The page in Debian's Chromium, with a real WAV as the microphone, and axe's rules of accessibility."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pysubs2
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, Page, expect, sync_playwright
from tests.serve.conftest import Served, within

from wav2vec2 import Transcriber

CHROMIUM = shutil.which("chromium")
OURS = ("blob:", "data:", os.environ.get("ADDRESS", "data:"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]


@pytest.fixture
def browser(wav: Callable[..., Path]) -> Iterator[BrowserContext]:
    spoken = wav(3.0, name="microphone.wav", seed=9)
    arguments = [
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={spoken}%noloop",
        "--no-sandbox",
    ]
    with sync_playwright() as playwright:
        program = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        context = program.new_context(permissions=["microphone"])
        context.set_default_timeout(60_000)
        yield context
        program.close()


@pytest.fixture
def page(browser: BrowserContext, server: Served) -> Iterator[Page]:
    page = browser.new_page()
    elsewhere: list[str] = []
    broken: list[str] = []
    page.on("request", lambda r: None if r.url.startswith((server.address, *OURS)) else elsewhere.append(r.url))
    page.on("pageerror", lambda error: broken.append(str(error)))
    page.goto(server.address)
    yield page
    assert not elsewhere
    assert not broken


def violations(page: Page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {one['nodes'][0]['html']}" for one in found]


def text_of(page: Page) -> str:
    return " ".join(" ".join(page.locator(".piece .words").all_text_contents()).split())


def heard(page: Page, path: Path) -> None:
    page.set_input_files("#file", path)
    expect(page.locator("#status")).to_contain_text(" words")


def test_a_file_is_written_down_corrected_kept_and_downloaded(
    page: Page, server: Served, wav: Callable[..., Path], tmp_path: Path
):
    path = wav(6.0, 5.0)
    heard(page, path)
    assert text_of(page) == Transcriber(server.model, device="cpu")(path).text
    assert violations(page) == []
    assert page.locator(".word.doubt").count() > 0

    page.keyboard.press("Alt+n")
    assert "doubt" in (page.evaluate("document.activeElement.className"))

    first = page.locator(".piece .words").first
    page.locator(".piece .edit").first.click()
    first.fill("QUICK FOX")
    page.keyboard.press("Escape")
    expect(first).to_have_text("QUICK FOX ")
    expect(page.locator("#undo")).to_be_enabled()
    page.wait_for_timeout(1500)  # the alignment
    assert page.locator("#error").text_content() == ""

    page.reload()
    expect(first).to_contain_text("QUICK FOX")
    expect(page.locator("#status")).to_contain_text("as you left it")

    with page.expect_download() as download:
        page.click("[data-format=srt]")
    captions = pysubs2.load(str(download.value.path()), format_="srt")
    assert " ".join(line.plaintext.replace("\n", " ") for line in captions).startswith("QUICK FOX")
    with page.expect_download() as download:
        page.click("[data-format=json]")
    pieces = json.loads(download.value.path().read_text())["pieces"]
    assert [word["word"] for word in pieces[0]["words"]] == ["QUICK", "FOX"]
    assert pieces[0]["words"][0]["end"] <= pieces[0]["words"][1]["start"] + 1e-6


def test_an_edit_is_undone(page: Page, wav: Callable[..., Path]):
    heard(page, wav(4.0))
    before = text_of(page)
    first = page.locator(".piece .words").first
    page.locator(".piece .edit").first.click()
    first.fill("LAZY DOG")
    page.keyboard.press("Enter")
    expect(first).to_contain_text("LAZY DOG")
    page.keyboard.press("Control+z")
    assert text_of(page) == before


def test_a_word_jumps_and_is_marked_while_it_is_played(page: Page, wav: Callable[..., Path]):
    heard(page, wav(6.0))
    word = page.locator(".word").nth(20)
    word.click()
    assert page.evaluate("document.getElementById('audio').currentTime") > 0.5
    expect(page.locator(".word.now")).to_have_count(1)
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.dataset.at") == "21"
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    assert violations(page) == []


def test_the_microphone_is_written_down_live(page: Page):
    page.click("#record")
    expect(page.locator("#status")).to_contain_text("Listening")
    expect(page.locator("#live")).not_to_be_empty()
    page.wait_for_timeout(4000)
    page.click("#record")
    expect(page.locator(".piece")).not_to_have_count(0)
    expect(page.locator("#player")).to_be_visible()


@pytest.mark.parametrize(
    ("name", "width", "height", "scheme"), [("desktop", 1200, 900, "light"), ("phone", 390, 844, "dark")]
)
def test_it_fits_a_desktop_and_a_phone(
    page: Page, wav: Callable[..., Path], tmp_path: Path, name: str, width: int, height: int, scheme: str
):
    """Pictures of the documentation: PICTURES=docs SPOKEN=RECORDING, with the server of a real model at ADDRESS."""
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    if address := os.environ.get("ADDRESS"):
        page.goto(address)
    heard(page, Path(os.environ.get("SPOKEN") or wav(6.0, 5.0, 7.0, 4.0)))
    page.locator(".word").nth(4).click()
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.screenshot(path=Path(os.environ.get("PICTURES", tmp_path)) / f"page_{name}.png")


def test_three_hours_are_edited_without_waiting(page: Page, wav: Callable[..., Path]):
    heard(page, wav(2.0))
    page.evaluate(
        """async () => {
          const store = await import('./page/store.js');
          const pieces = [];
          for (let n = 0; n < 1500; n++) {
            const words = [];
            for (let w = 0; w < 20; w++) {
              const start = 7.2 * n + 0.35 * w;
              words.push({ word: 'WORD' + w, start, end: start + 0.3, confidence: ((n * 20 + w) % 100) / 100 });
            }
            pieces.push({ start: 7.2 * n, end: 7.2 * n + 7, words });
          }
          await store.keepPieces(pieces);
        }"""
    )
    page.reload()
    expect(page.locator(".piece")).to_have_count(1500, timeout=20_000)
    page.locator(".piece .edit").nth(700).click()
    page.evaluate(
        """() => {
          window.late = [];
          document.addEventListener('keydown', (event) => {
            const begin = event.timeStamp;
            requestAnimationFrame(() => setTimeout(() => window.late.push(performance.now() - begin)));
          }, true);
        }"""
    )
    page.keyboard.press("End")
    for letter in "AND SO ON AND SO FORTH UNTIL THE END OF THE STORY":
        page.keyboard.press("Space" if letter == " " else letter)
    assert within(10, lambda: page.evaluate("window.late.length") > 40)
    late = sorted(page.evaluate("window.late"))
    page.locator(".piece .edit").nth(702).click()  # another paragraph, before the first one is in the database
    page.keyboard.press("End")
    page.keyboard.press("Space")
    page.keyboard.press("Z")
    assert 0 < page.locator(".word").count() < 3000, "words are elements near the screen only"
    page.reload()
    # Asked directly: a locator waits for drawn frames, and a browser without a screen draws none when nothing moves.
    kept = "() => document.querySelectorAll('.piece .words')[700]?.textContent ?? ''"
    assert within(10, lambda: "UNTIL THE END OF THE STORY" in page.evaluate(kept))
    assert " Z" in page.evaluate(kept.replace("700", "702"))
    print("p95 of a key press:", late[int(0.95 * len(late))])
