"""The fuzzer notices what it is there to notice, and its inputs are functions of seed and number."""

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from scripts.fuzz import Input, Watch, finding, make_input, too_much_memory
from scripts.fuzz_mutations import mutated
from scripts.fuzz_targets import TARGETS, Target

from wav2vec2.errors import UserError


@pytest.fixture(scope="module")
def watch(tmp_path_factory: pytest.TempPathFactory) -> Watch:
    return Watch(tmp_path_factory.mktemp("watched"))


def raises(error: Exception) -> Callable[[Path], None]:
    def read(_: Path) -> None:
        raise error

    return read


@pytest.mark.parametrize(
    ("read", "kind"),
    [
        (raises(UserError("a.wav: is damaged: copy it again")), None),
        (lambda path: path.read_bytes(), None),
        (raises(UserError("two\nlines")), "message"),
        (raises(ValueError("no")), "traceback"),
        (raises(RecursionError()), "traceback"),
        (lambda _: os.system("true"), "execution"),
        (lambda _: subprocess.run([sys.executable, "-c", ""], check=True), "execution"),
        (lambda _: Path(__file__).with_suffix(".elsewhere").open("w").close(), "execution"),
    ],
)
def test_what_a_reader_must_not_do_is_a_finding(
    read: Callable[[Path], object], kind: str | None, watch: Watch, tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "printed").touch()
    item = Input(0, Target(lambda folder: [], read), "made up", tmp_path / "a")
    found = finding(item, watch, tmp_path / "printed")
    Path(__file__).with_suffix(".elsewhere").unlink(missing_ok=True)
    assert (found and found[0]) == kind


def test_what_a_library_prints_is_a_finding(watch: Watch, tmp_path: Path) -> None:
    (tmp_path / "printed").write_bytes(b"libsndfile says something")
    item = Input(0, Target(lambda folder: [], lambda path: None), "made up", tmp_path)
    assert finding(item, watch, tmp_path / "printed") == ("print", "libsndfile says something")


def test_memory_beyond_the_limit_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.fuzz.MOST_MEMORY", 1 << 50)
    assert too_much_memory() is None
    monkeypatch.setattr("scripts.fuzz.MOST_MEMORY", 1 << 20)
    assert too_much_memory() == ("memory", "more than 4 GB")


def test_an_input_depends_on_seed_and_number_alone(tmp_path: Path) -> None:
    (tmp_path / "seeds" / "settings").mkdir(parents=True)
    TARGETS["settings"].seeds(tmp_path / "seeds" / "settings")

    def content(number: int, place: str) -> bytes:
        (tmp_path / place).mkdir()
        return make_input(number, 3, "settings", tmp_path / "seeds", tmp_path / place).path.read_bytes()

    assert content(7, "a") == content(7, "b")
    assert len({content(number, f"c{number}") for number in range(20)}) > 15


def test_damage_is_bounded() -> None:
    content = bytes(range(256)) * 8
    for number in range(500):
        assert len(mutated(content, random.Random(number), content)) < 20 * len(content) + 500_000
        mutated(b"", random.Random(number), b"")
