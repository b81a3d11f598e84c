"""Tables of tensors: which file is open when, and views of other tables."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.checkpoints.made_up_models import make
from tests.small_models import GROUP

import wav2vec2
from wav2vec2.checkpoints.tensors import table as module
from wav2vec2.checkpoints.tensors.table import ChangedTable, JoinedTable, SafetensorsTable


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the safetensors files that are opened to read values."""
    names: list[str] = []
    really: Callable[..., object] = module.safe_open

    def noting(path: Path, **options: str) -> object:
        names.append(path.name)
        return really(path, **options)

    monkeypatch.setattr(module, "safe_open", noting)
    return names


class Held:
    """A table in memory that counts how often it is closed."""

    def __init__(self, **tensors: torch.Tensor) -> None:
        self.shapes = tensors
        self.closed = 0

    def read(self, name: str) -> torch.Tensor:
        return self.shapes[name]

    def close(self) -> None:
        self.closed += 1


def test_a_model_in_shards_opens_each_once(tmp_path: Path, opened: list[str]) -> None:
    """However the shards divide the model: the parts of a layer may be in several."""
    wav2vec2.save(make("ctc", GROUP), tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    parts = [{name: tensors[name] for name in sorted(tensors)[part::3]} for part in range(3)]
    files = [f"model-{part}.safetensors" for part in range(3)]
    for file, part in zip(files, parts, strict=True):
        save_file(part, tmp_path / file)
    index = {name: file for file, part in zip(files, parts, strict=True) for name in part}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    wav2vec2.load(tmp_path)
    assert opened == files


def test_a_file_stays_open_until_another_is_read(tmp_path: Path, opened: list[str]) -> None:
    save_file({"a": torch.ones(2), "b": torch.zeros(3)}, tmp_path / "1")
    save_file({"c": torch.full((1,), 7.0)}, tmp_path / "2")
    table = SafetensorsTable([tmp_path / "1", tmp_path / "2"])
    assert {name: list(tensor.shape) for name, tensor in table.shapes.items()} == {"a": [2], "b": [3], "c": [1]}
    assert all(tensor.is_meta for tensor in table.shapes.values())
    assert [table.read(name).tolist() for name in "abca"] == [[1, 1], [0, 0, 0], [7], [1, 1]]
    assert opened == ["1", "2", "1"]
    table.close()
    assert table.read("b").tolist() == [0, 0, 0]
    assert opened == ["1", "2", "1", "1"]


def test_values_outlive_their_file(tmp_path: Path) -> None:
    save_file({"a": torch.ones(4)}, tmp_path / "1")
    table = SafetensorsTable([tmp_path / "1"])
    values = table.read("a")
    (tmp_path / "1").write_bytes(bytes((tmp_path / "1").stat().st_size))
    assert values.tolist() == [1, 1, 1, 1]


def test_of_two_tables_the_second_wins_and_both_are_closed() -> None:
    first = Held(a=torch.zeros(1), b=torch.zeros(2))
    second = Held(b=torch.ones(3), c=torch.ones(4))
    joined = JoinedTable(first, second)
    assert {name: len(shape) for name, shape in joined.shapes.items()} == {"a": 1, "b": 3, "c": 4}
    assert [joined.read(name).sum() for name in "abc"] == [0, 3, 4]
    joined.close()
    assert (first.closed, second.closed) == (1, 1)


def test_a_changed_table_renames_leaves_out_changes_and_closes_the_other() -> None:
    inner = Held(old=torch.arange(4.0), other=torch.ones(1), same=torch.ones(2))
    names = {"old": "new", "other": None}
    table = ChangedTable(
        inner, rename=lambda name: names.get(name, name), changed={"new": lambda values: values[:2] + 1}
    )
    assert {name: len(shape) for name, shape in table.shapes.items()} == {"new": 2, "same": 2}
    assert table.read("new").tolist() == [1, 2]
    assert table.read("same").tolist() == [1, 1]
    assert inner.closed == 0
    table.close()
    assert inner.closed == 1
