"""How many processes and threads a server has by default, for small and large models and machines."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.bursts import VOCABULARY
from tests.serve.conftest import serving
from tests.small_models import FAMILIES, recognizer

import wav2vec2
from wav2vec2.device import compute_threads
from wav2vec2.errors import UserError
from wav2vec2.serve import layout as room
from wav2vec2.serve.layout import MOST_SMALL, SMALL, Layout, layout, layout_of

Machine = Callable[..., None]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Sets how many processors this process seems to have, and of how many cores they are."""

    def of(processors: int, cores: int | None = None) -> None:
        monkeypatch.setattr(room, "available_cores", lambda: processors)
        monkeypatch.setattr(room, "compute_threads", lambda: cores or processors)

    return of


@pytest.fixture(scope="module")
def large_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sizes = replace(FAMILIES["layer"], layers=8, hidden_size=512, ffn_size=2048)
    model = recognizer(sizes, VOCABULARY)
    assert sum(parameter.numel() for parameter in model.parameters()) > SMALL
    folder = tmp_path_factory.mktemp("layout") / "large"
    wav2vec2.save(model, folder)
    return folder


def settings(model: Path | str, **chosen: Any) -> dict[str, Any]:
    return {"model": str(model), "language": None, "device": "cpu", "processes": 0, "threads": 0, **chosen}


@pytest.mark.parametrize(
    ("cores", "small", "large"),
    [
        (1, Layout(1, 1), Layout(1, 1)),
        (2, Layout(2, 1), Layout(1, 2)),
        (6, Layout(6, 1), Layout(1, 6)),
        (8, Layout(8, 1), Layout(2, 4)),
        (16, Layout(8, 2), Layout(4, 4)),
        (64, Layout(16, 4), Layout(16, 4)),
    ],
)
def test_a_small_model_has_a_process_for_each_core_and_a_large_one_for_every_four(
    cores: int, small: Layout, large: Layout, machine: Machine, model_folder: Path, large_folder: Path
) -> None:
    machine(cores)
    assert layout_of(settings(model_folder)) == small
    assert layout_of(settings(large_folder)) == large


def test_two_threads_of_a_core_have_one_process(machine: Machine) -> None:
    machine(8, cores=4)
    assert layout(SMALL, "cpu") == Layout(4, 1)
    assert layout(SMALL + 1, "cpu") == Layout(2, 2)


def test_a_gpu_has_one_process(machine: Machine) -> None:
    machine(16)
    assert layout(SMALL, "cuda") == layout(SMALL + 1, "cuda") == Layout(1, 16)


def test_what_is_chosen_stays_and_the_rest_uses_all_cores(machine: Machine, model_folder: Path) -> None:
    machine(12)
    assert layout_of(settings(model_folder, processes=3)) == Layout(3, 4)
    assert layout_of(settings(model_folder, threads=6)) == Layout(3, 6)  # one for every four cores
    assert layout_of(settings(model_folder, threads=2)) == Layout(6, 2)
    assert layout_of(settings(model_folder, threads=1)) == Layout(MOST_SMALL, 1)
    assert layout_of(settings(model_folder, processes=1, threads=1)) == Layout(1, 1)
    assert layout(SMALL + 1, "cuda", processes=2) == Layout(2, 6)


def test_an_exported_file_counts_by_its_bytes(machine: Machine, tmp_path: Path) -> None:
    machine(4)
    with (tmp_path / "model.onnx").open("wb") as file:
        file.truncate(4 * SMALL)
    assert layout_of(settings(tmp_path / "model.onnx")) == Layout(4, 1)
    with (tmp_path / "model.onnx").open("ab") as file:
        file.write(b"more")
    assert layout_of(settings(tmp_path / "model.onnx")) == Layout(1, 4)


def test_a_model_that_is_not_there_is_refused() -> None:
    with pytest.raises(UserError, match="no such model"):
        layout_of(settings("nothing/here/at/all"))


def test_a_server_starts_what_the_layout_says(model_folder: Path) -> None:
    with serving(model_folder, "--processes", "0", "--threads", "0") as served:
        assert len(served.children("compute_worker")) == min(compute_threads(), MOST_SMALL)
        assert served.client.models.list().data
    with serving(model_folder, "--processes", "3") as served:
        assert len(served.children("compute_worker")) == 3
