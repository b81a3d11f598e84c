"""Folders of training checkpoints that were written to run code, or to be read wrongly."""

import json
import logging
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint.filesystem import FileSystemReader, _StorageInfo
from torch.distributed.checkpoint.metadata import BytesStorageMetadata, Metadata, MetadataIndex

from wav2vec2.errors import UserError
from wav2vec2.train.checkpoint.contents import restore
from wav2vec2.train.checkpoint.folder import Checkpoints
from wav2vec2.train.checkpoint.seal import STATE_FILE, read_state, read_without_trust
from wav2vec2.train.state import RunState


class Touch:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self.path}'",)


def tensors(value: float) -> dict[str, Any]:
    return {"model": {"w": torch.full((3, 2), value)}, "sums": {"s": torch.tensor(value, dtype=torch.float64)}}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return Checkpoints(tmp_path / "c", 2).save(4, tensors(1.5), {})


def refused(folder: Path, match: str) -> None:
    printed: list[str] = []
    logging.getLogger().addHandler(handler := logging.Handler())
    handler.emit = lambda record: printed.append(record.getMessage())  # type: ignore[method-assign]
    with pytest.raises(UserError, match=match) as caught:
        restore(folder, tensors(0.0))
    logging.getLogger().removeHandler(handler)
    assert "\n" not in str(caught.value)
    assert printed == []  # torch's own reader prints tracebacks


def test_a_description_that_would_run_a_command_is_refused_unexecuted(saved: Path, tmp_path: Path) -> None:
    (saved / ".metadata").write_bytes(pickle.dumps(Touch(tmp_path / "ran")))
    refused(saved, "asks for posix.system")
    assert not (tmp_path / "ran").exists()


def test_a_tensor_that_would_run_a_command_is_refused_unexecuted(saved: Path, tmp_path: Path) -> None:
    torch.save(Touch(tmp_path / "ran"), tmp_path / "evil")
    content = (tmp_path / "evil").read_bytes()
    (saved / "__0_0.distcp").write_bytes(content)
    metadata = FileSystemReader(saved).read_metadata()
    metadata.storage_data = {index: _StorageInfo("__0_0.distcp", 0, len(content)) for index in metadata.storage_data}
    (saved / ".metadata").write_bytes(pickle.dumps(metadata))
    refused(saved, "asks for posix.system")
    assert not (tmp_path / "ran").exists()


def _bytes_entry(metadata: Metadata) -> None:
    metadata.state_dict_metadata["model.w"] = BytesStorageMetadata()


def _other_folder(metadata: Metadata) -> None:
    metadata.storage_data = {i: _StorageInfo("../__0_0.distcp", 0, 10) for i in metadata.storage_data}


def _beyond(metadata: Metadata) -> None:
    metadata.storage_data = {i: _StorageInfo("__0_0.distcp", 1 << 40, 1 << 40) for i in metadata.storage_data}


def _negative(metadata: Metadata) -> None:
    metadata.storage_data = {i: _StorageInfo("__0_0.distcp", -1, 5) for i in metadata.storage_data}


def _hole(metadata: Metadata) -> None:
    metadata.state_dict_metadata["model.w"].chunks.clear()  # type: ignore[union-attr]


def _outside(metadata: Metadata) -> None:
    metadata.state_dict_metadata["model.w"].chunks[0].offsets = torch.Size([7, 7])  # type: ignore[union-attr]


def _swapped(metadata: Metadata) -> None:
    first, second = (metadata.storage_data[index] for index in metadata.storage_data)
    metadata.storage_data = dict(zip(metadata.storage_data, (second, first), strict=True))


def _no_place(metadata: Metadata) -> None:
    metadata.storage_data = {MetadataIndex("other"): _StorageInfo("__0_0.distcp", 0, 10)}


def _no_state(metadata: Metadata) -> None:
    metadata.state_dict_metadata = {"model.w": 3}  # type: ignore[dict-item]


CHANGES = [_bytes_entry, _other_folder, _beyond, _negative, _hole, _outside, _swapped, _no_place, _no_state]


@pytest.mark.parametrize("change", CHANGES)
def test_a_description_that_does_not_describe_tensors_here(change: Callable[[Metadata], None], saved: Path) -> None:
    metadata = FileSystemReader(saved).read_metadata()
    change(metadata)
    (saved / ".metadata").write_bytes(pickle.dumps(metadata))
    refused(saved, "000000004: is damaged .cannot be loaded: ")


def test_every_protocol_of_pickle_describes_the_same(saved: Path) -> None:
    metadata = FileSystemReader(saved).read_metadata()
    for protocol in range(2, 6):
        (saved / ".metadata").write_bytes(pickle.dumps(metadata, protocol))
        found = tensors(0.0)
        restore(saved, found)
        assert found["model"]["w"].tolist() == [[1.5, 1.5]] * 3
        assert found["sums"]["s"].item() == 1.5


@pytest.mark.parametrize("content", ["[]", "{", "[" * 100_000, '{"a": 1, "a": 2}', ""])
def test_a_state_that_is_no_object(content: str, saved: Path) -> None:
    (saved / STATE_FILE).write_text(content)
    with pytest.raises(UserError, match="000000004: is damaged"):
        read_state(saved)


@pytest.mark.parametrize(
    "change",
    [
        {"update": -1},
        {"update": 10**400},
        {"update": 1.5},
        {"update": True},
        {"position": 3},
        {"position": [1, 2, 3]},
        {"position": ["a", 1]},
        {"best": "low"},
        {"skips": None},
        {"best": True},
        {"validated_at": -2},
        {"judged_from": 0.5},
        {"lr_scale": 0.0},
        {"lr_scale": 2.0},
        {"lr_scale": "half"},
    ],
)
def test_a_state_with_an_impossible_value(change: dict[str, Any], saved: Path) -> None:
    plain = json.loads(json.dumps(RunState().as_plain()))
    assert RunState.from_plain(plain) == RunState()
    with pytest.raises(UserError, match="000000004: is damaged"), read_without_trust(saved):
        RunState.from_plain({**plain, **change})
    for key in plain.keys() - {"validated_at", "judged_from", "lr_scale"}:  # which older versions did not write
        lacking = {name: value for name, value in plain.items() if name != key}
        with pytest.raises(UserError, match="000000004: is damaged"), read_without_trust(saved):
            RunState.from_plain(lacking)
