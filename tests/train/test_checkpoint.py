"""Checkpoints appear whole, replace each other, and are refused when they do not fit."""

import errno
import json
import traceback
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint.api import CheckpointException

from wav2vec2.errors import UserError
from wav2vec2.train import checkpoint
from wav2vec2.train.checkpoint import STATE_FILE, Checkpoints, read_state, restore


def tensors(value: float, size: int = 3) -> dict[str, Any]:
    return {"model": {"w": torch.full((size,), value)}}


def names(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir())


def test_the_last_ones_are_kept_and_the_newest_is_found(tmp_path: Path) -> None:
    of = Checkpoints(tmp_path / "c", 2)
    assert of.latest() is None
    for update in (2, 9, 10):
        assert of.save(update, tensors(update), {"update": update}) == tmp_path / "c" / f"{update:09d}"
    assert names(tmp_path / "c") == ["000000009", "000000010"]
    latest = of.latest()
    assert latest == tmp_path / "c" / "000000010"
    found = tensors(0.0)
    restore(latest, found)
    assert found["model"]["w"].tolist() == [10.0] * 3
    assert read_state(latest) == {"update": 10}
    (latest / STATE_FILE).unlink()
    assert of.latest() == tmp_path / "c" / "000000009"


def test_at_least_one_is_kept(tmp_path: Path) -> None:
    of = Checkpoints(tmp_path, 0)
    for update in (1, 2):
        of.save(update, tensors(update), {})
    assert names(tmp_path) == ["000000002"]


def test_an_update_that_is_saved_again_replaces_itself(tmp_path: Path) -> None:
    of = Checkpoints(tmp_path, 2)
    of.save(4, tensors(1.0), {"try": 1})
    again = of.save(4, tensors(2.0), {"try": 2})
    found = tensors(0.0)
    restore(again, found)
    assert found["model"]["w"].tolist() == [2.0] * 3
    assert read_state(again) == {"try": 2}
    of.save(5, tensors(3.0), {})
    assert names(tmp_path) == ["000000004", "000000005"]


def test_what_does_not_fit_or_is_damaged_is_one_line_and_stays(tmp_path: Path) -> None:
    folder = Checkpoints(tmp_path, 2).save(4, tensors(1.0), {})
    for wrong in (tensors(0.0, size=4), {"model": {"other": torch.zeros(3)}}):
        with pytest.raises(UserError, match=r"000000004: cannot be loaded") as caught:
            restore(folder, wrong)
        assert "\n" not in str(caught.value)
    (folder / STATE_FILE).write_text("{")
    with pytest.raises(UserError, match=r"000000004: is damaged"):
        read_state(folder)


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = Checkpoints(tmp_path, 1)
    before = of.save(1, tensors(1.0), {"update": 1})

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_distributed", full)
    with pytest.raises(UserError, match=r"000000002: the checkpoint cannot be written \(No space left on device\)"):
        of.save(2, tensors(2.0), {"update": 2})
    assert names(tmp_path) == ["000000001"]
    assert json.loads((before / STATE_FILE).read_text()) == {"update": 1}


def test_a_full_disk_or_a_damaged_checkpoint_is_a_few_words_without_a_traceback() -> None:
    inner = OSError(errno.ENOSPC, "No space left on device", "run/checkpoints/x")
    failures = {0: (inner, traceback.StackSummary.from_list([]))}
    assert checkpoint._reason(CheckpointException("save", failures)) == "No space left on device"
    wrapped = {0: (RuntimeError("file is\n  cut short"), traceback.StackSummary.from_list([]))}
    assert checkpoint._reason(CheckpointException("load", wrapped)) == "file is cut short"
    assert checkpoint._reason(ValueError("a\nb")) == "a b"
