"""Files of torch.save come back as tensors and plain containers, and nothing in them runs."""

import argparse
import collections
import os
import pickle
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch

from wav2vec2.checkpoints.tensors.torch_file import TorchFile
from wav2vec2.checkpoints.tensors.unpickle import Namespace, Opaque
from wav2vec2.errors import UserError

CONTENT = {
    "model": collections.OrderedDict(
        weight=torch.arange(12.0).reshape(3, 4).t(),
        half=torch.ones(3, dtype=torch.float16),
        scalar=torch.tensor(7),
        empty=torch.empty(0, 5),
        parameter=torch.nn.Parameter(torch.zeros(2)),
    ),
    "args": argparse.Namespace(layers=3, nested=argparse.Namespace(rate=0.5)),
    "history": [{"updates": 7}, (1, 2.0, None, "x", b"raw", {3})],
}


def read_torch_file(path: Path) -> Any:
    """Everything in a file, its tensors with their values."""
    file = TorchFile(path)

    def filled(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return file.values(value)
        return {k: filled(v) for k, v in value.items()} if isinstance(value, dict) else value

    return filled(file.content)


@pytest.mark.parametrize("zipped", [True, False])
def test_round_trip(zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / "file.pt"
    torch.save(CONTENT, path, _use_new_zipfile_serialization=zipped)
    content = read_torch_file(path)
    for name, tensor in CONTENT["model"].items():
        assert torch.equal(content["model"][name], tensor), name
        assert content["model"][name].dtype == tensor.dtype
    assert isinstance(content["args"], Namespace)
    assert (content["args"].layers, content["args"].nested.rate) == (3, 0.5)
    assert content["history"] == CONTENT["history"]


@pytest.mark.parametrize("zipped", [True, False])
def test_windows_of_one_storage(zipped: bool, tmp_path: Path) -> None:
    flat = torch.arange(12.0)
    views = {"a": flat[:4], "b": flat[2:6], "columns": flat.view(3, 4)[:, 1:3], "transposed": flat.view(3, 4).t()}
    torch.save(views, tmp_path / "file.pt", _use_new_zipfile_serialization=zipped)
    content = read_torch_file(tmp_path / "file.pt")
    for name, view in views.items():
        assert torch.equal(content[name], view), name
        assert content[name].untyped_storage().nbytes() <= 12 * 4


@pytest.mark.parametrize("zipped", [True, False])
def test_shapes_without_weights(zipped: bool, tmp_path: Path) -> None:
    torch.save(CONTENT, tmp_path / "file.pt", _use_new_zipfile_serialization=zipped)
    tensors = TorchFile(tmp_path / "file.pt").content["model"]
    assert tensors["weight"].is_meta
    assert tensors["weight"].shape == (4, 3)


class _Hostile:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_cannot_run_anything(zipped: bool, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    torch.save({"model": _Hostile(marker)}, tmp_path / "file.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError, match=r"file\.pt.*posix\.system") as caught:
        read_torch_file(tmp_path / "file.pt")
    assert "\n" not in str(caught.value)
    assert not marker.exists()


def test_builtins_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file.pt").write_bytes(b"c__builtin__\neval\n(S'1+1'\ntR.")
    with pytest.raises(UserError, match=r"__builtin__\.eval|builtins\.eval"):
        read_torch_file(tmp_path / "file.pt")


def test_objects_of_fairseq_stay_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Old files keep meters beside their weights; neither their package nor their state is needed."""
    module = types.ModuleType("fairseq.meters")
    module.Meter = type("Meter", (), {"__module__": "fairseq.meters"})
    monkeypatch.setitem(sys.modules, "fairseq", types.ModuleType("fairseq"))
    monkeypatch.setitem(sys.modules, "fairseq.meters", module)
    meter = module.Meter()
    meter.total = 3
    torch.save({"extra": [meter], "model": {}}, tmp_path / "file.pt")
    monkeypatch.undo()
    content = read_torch_file(tmp_path / "file.pt")
    assert isinstance(content["extra"][0], Opaque)
    assert vars(content["extra"][0]) == {"state": {"total": 3}}
    assert "fairseq" not in sys.modules


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("kept", [0, 1, 100, 0.5, 0.95])
def test_damaged_files(zipped: bool, kept: float, tmp_path: Path) -> None:
    path = tmp_path / "file.pt"
    torch.save({"model": {"weight": torch.ones(1000)}}, path, _use_new_zipfile_serialization=zipped)
    data = path.read_bytes()
    path.write_bytes(data[: kept if isinstance(kept, int) else int(len(data) * kept)])
    with pytest.raises(UserError, match=r"file\.pt: not a readable torch checkpoint"):
        read_torch_file(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing\.pt: No such file"):
        read_torch_file(tmp_path / "nothing.pt")


def test_a_tensor_cannot_reach_beyond_its_storage(tmp_path: Path) -> None:
    path = tmp_path / "file.pt"
    torch.save(torch.ones(3, 5), path, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    assert data.count(b"K\x03K\x05\x86") == 1
    path.write_bytes(data.replace(b"K\x03K\x05\x86", b"K\x7fK\x05\x86"))
    with pytest.raises(UserError, match="more elements than its storage"):
        read_torch_file(path)


def test_plain_pickle_is_not_a_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "file.pt").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(UserError, match="neither a zip archive"):
        read_torch_file(tmp_path / "file.pt")
