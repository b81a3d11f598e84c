"""Checkpoints appear whole, replace each other, are written beside training, and survive a full disk."""

import errno
import json
import resource
import signal
import subprocess
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint.api import CheckpointException

from wav2vec2.errors import UserError
from wav2vec2.train.checkpoint import folder as module
from wav2vec2.train.checkpoint.contents import reason, restore
from wav2vec2.train.checkpoint.folder import GOOD, Checkpoints
from wav2vec2.train.checkpoint.seal import STATE_FILE, read_state


def tensors(value: float, size: int = 3) -> dict[str, Any]:
    return {"model": {"w": torch.full((size,), value)}}


def values(checkpoint: Path) -> list[float]:
    found = tensors(0.0)
    restore(checkpoint, found)
    return list(found["model"]["w"].tolist())


def names(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir())


def test_the_last_ones_are_kept_and_the_newest_is_found(tmp_path: Path) -> None:
    of = Checkpoints(tmp_path / "c", 2)
    assert of.latest() is None
    for update in (2, 9, 10):
        assert of.save(update, tensors(update), {"update": update, GOOD: True}) == tmp_path / "c" / f"{update:09d}"
    assert names(tmp_path / "c") == ["000000009", "000000010"]
    latest = of.latest()
    assert latest == tmp_path / "c" / "000000010"
    assert values(latest) == [10.0] * 3
    assert read_state(latest)["update"] == 10
    (latest / STATE_FILE).unlink()
    assert of.latest() == tmp_path / "c" / "000000009"


def test_at_least_one_is_kept(tmp_path: Path) -> None:
    of = Checkpoints(tmp_path, 0)
    for update in (1, 2):
        of.save(update, tensors(update), {})
    assert names(tmp_path) == ["000000002"]


def test_the_last_good_one_is_kept_as_long_as_the_newest_are_suspicious(tmp_path: Path) -> None:
    of = Checkpoints(tmp_path, 2)
    assert of.last_good() is None
    for update, good in ((1, True), (2, True), (3, False), (4, False), (5, False)):
        of.save(update, tensors(update), {GOOD: good})
    assert names(tmp_path) == ["000000002", "000000004", "000000005"]
    assert of.last_good() == tmp_path / "000000002"
    of.save(6, tensors(6), {GOOD: True})
    assert names(tmp_path) == ["000000005", "000000006"]


def test_an_update_that_is_saved_again_replaces_itself(tmp_path: Path) -> None:
    of = Checkpoints(tmp_path, 2)
    of.save(4, tensors(1.0), {"try": 1})
    again = of.save(4, tensors(2.0), {"try": 2})
    assert values(again) == [2.0] * 3
    assert read_state(again)["try"] == 2
    of.save(5, tensors(3.0), {})
    assert names(tmp_path) == ["000000004", "000000005"]


def test_the_only_checkpoint_comes_back_if_its_replacement_did_not_appear(tmp_path: Path) -> None:
    of = Checkpoints(tmp_path, 2)
    of.save(4, tensors(1.0), {}).rename(tmp_path / ".old-000000004")  # killed between the two renames
    assert of.latest() == tmp_path / "000000004"


def test_it_is_written_beside_training_from_a_copy_one_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, write = threading.Event(), module.save_distributed

    def slow(*given: Any, **named: Any) -> Any:
        assert go.wait(30)
        return write(*given, **named)

    monkeypatch.setattr(module, "save_distributed", slow)
    of, live = Checkpoints(tmp_path, 3), tensors(1.0) | {"scalar": torch.tensor(7.0, dtype=torch.float64)}
    of.begin(1, live, {"update": 1})
    live["model"]["w"].fill_(2.0)  # training goes on
    assert of.ended() is None
    assert of.latest() is None
    go.set()
    of.begin(2, live, {"update": 2})  # waits for the first
    of.finish()
    saved = of.ended()
    assert saved is not None
    assert (saved.update, saved.failure) == (2, "")
    assert of.ended() is None
    assert [values(tmp_path / f"{n:09d}")[0] for n in (1, 2)] == [1.0, 2.0]


LIMITED = """
import sys
from pathlib import Path
import torch
from wav2vec2.train.checkpoint.folder import Checkpoints
of = Checkpoints(Path(sys.argv[1]), 2)
big = {"model": {"w": torch.arange(100_000.0)}}
for update in (1, 2, 3):
    if update == 2:
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))
    if update == 3:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    of.begin(update, big, {"update": update})
    of.finish()
    print(update, of.ended().failure)
"""


def test_a_file_that_the_system_refuses_to_write_leaves_the_one_before_and_the_next_is_tried(tmp_path: Path) -> None:
    # setrlimit(2): a write beyond RLIMIT_FSIZE fails with EFBIG, as a full disk does with ENOSPC
    assert signal.getsignal(signal.SIGXFSZ) == signal.SIG_IGN
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path / "c")], capture_output=True, text=True, timeout=100
    )
    assert done.stdout.splitlines() == ["1 ", "2 File too large", "3 "], done.stderr
    assert "Traceback" not in done.stderr
    assert names(tmp_path / "c") == ["000000001", "000000003"]


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = Checkpoints(tmp_path, 1)
    before = of.save(1, tensors(1.0), {"update": 1})

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "save_distributed", full)
    with pytest.raises(UserError, match=r"000000002: the checkpoint cannot be written \(No space left on device\)"):
        of.save(2, tensors(2.0), {"update": 2})
    assert names(tmp_path) == ["000000001"]
    assert json.loads((before / STATE_FILE).read_text())["update"] == 1


def test_a_full_disk_or_a_damaged_checkpoint_is_a_few_words_without_a_traceback() -> None:
    inner = OSError(errno.ENOSPC, "No space left on device", "run/checkpoints/x")
    failures = {0: (inner, traceback.StackSummary.from_list([]))}
    assert reason(CheckpointException("save", failures)) == "No space left on device"
    wrapped = {0: (RuntimeError("file is\n  cut short"), traceback.StackSummary.from_list([]))}
    assert reason(CheckpointException("load", wrapped)) == "file is cut short"
    assert reason(ValueError("a\nb")) == "a b"
