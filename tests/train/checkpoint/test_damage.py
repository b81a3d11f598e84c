"""A checkpoint that is not what was written is found out, said in one line, and the one before is used."""

import hashlib
import json
import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from wav2vec2.errors import UserError
from wav2vec2.train.checkpoint.contents import restore
from wav2vec2.train.checkpoint.folder import Checkpoints
from wav2vec2.train.checkpoint.run_checkpoints import newest_sound
from wav2vec2.train.checkpoint.seal import STATE_FILE, Damaged, read_state, verify


def tensors(value: float, size: int = 3) -> dict[str, Any]:
    return {"model": {"w": torch.full((size,), value)}, "sums": {"s": torch.tensor(value, dtype=torch.float64)}}


@pytest.fixture
def of(tmp_path: Path) -> Checkpoints:
    checkpoints = Checkpoints(tmp_path / "c", 3)
    for update in (4, 8):
        checkpoints.save(update, tensors(update), {"update": update, "config": {"lr": 0.1}})
    return checkpoints


def loaded(of: Checkpoints) -> tuple[float, list[str]]:
    """The value that a run would go on with, and what it says."""
    found = tensors(0.0)
    path, lines = newest_sound(of, lambda path, _: restore(path, found))
    assert path is not None
    return found["model"]["w"][0].item(), lines


def flip(file: Path, bit: int) -> None:
    content = bytearray(file.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    file.write_bytes(content)


def refused(checkpoint: Path) -> bool:
    try:
        verify(checkpoint, read_state(checkpoint))
    except Damaged as error:
        return "\n" not in str(error)
    return False


def test_the_seal_is_what_sha256sum_says(of: Checkpoints) -> None:
    newest = of.latest()
    assert newest is not None
    files = json.loads((newest / STATE_FILE).read_text())["files"]
    assert sorted(files) == sorted(path.name for path in newest.iterdir() if path.name != STATE_FILE)
    assert all(hashlib.sha256((newest / name).read_bytes()).hexdigest() == value for name, value in files.items())
    assert loaded(of) == (8.0, [])


def test_every_flipped_bit_is_found_wherever_it_is(of: Checkpoints) -> None:
    newest = of.latest()
    assert newest is not None
    draw = random.Random(15)
    for file in sorted(newest.iterdir()):
        content = file.read_bytes()
        before = read_state(newest)
        for bit in draw.sample(range(8 * len(content)), 200):
            flip(file, bit)
            assert refused(newest) or read_state(newest) == before, (file.name, bit)  # a blank became another blank
            file.write_bytes(content)


def test_the_one_before_a_damaged_one_is_used_and_the_damaged_one_is_kept_aside(of: Checkpoints) -> None:
    newest = of.latest()
    assert newest is not None
    flip(newest / "__0_0.distcp", 2000)
    value, (line,) = loaded(of)
    assert value == 4.0
    assert "000000008: is damaged (the SHA-256 of __0_0.distcp differs from the one in state.json)" in line
    assert "set aside as damaged-000000008, going on from" in line
    assert sorted(path.name for path in newest.parent.iterdir()) == ["000000004", "damaged-000000008"]
    assert loaded(of) == (4.0, [])
    of.save(8, tensors(8.5), {})
    flip(newest / ".metadata", 100)
    loaded(of)
    assert (newest.parent / "damaged-000000008-2").exists()


@pytest.mark.parametrize("name", [STATE_FILE, "__0_0.distcp", ".metadata"])
@pytest.mark.parametrize("harm", ["missing", "empty", "half", "folder"])
def test_files_that_are_gone_or_cut_short(name: str, harm: str, of: Checkpoints, tmp_path: Path) -> None:
    newest = of.latest()
    assert newest is not None
    file, content = newest / name, (newest / name).read_bytes()
    file.unlink()
    if harm == "folder":
        file.mkdir()
    elif harm != "missing":
        file.write_bytes(b"" if harm == "empty" else content[: len(content) // 2])
    value, lines = loaded(of)
    assert value == 4.0
    assert len(lines) == (0 if (name, harm) == (STATE_FILE, "missing") else 1)  # that one was never whole


def test_when_all_are_damaged_nothing_is_touched_and_the_run_does_not_begin_again(of: Checkpoints) -> None:
    for path in of.newest_first():
        flip(path / ".metadata", 50)
    with pytest.raises(UserError, match=r"000000008: is damaged .*, and so are the 1 before it: copy a checkpoint"):
        loaded(of)
    assert len(of.newest_first()) == 2


def test_a_checkpoint_of_before_there_were_seals_is_read(of: Checkpoints) -> None:
    newest = of.latest()
    assert newest is not None
    (newest / STATE_FILE).write_text(json.dumps({"update": 8}))
    assert loaded(of) == (8.0, [])
    for half in ({"update": 8, "files": {}}, {"update": 8, "sha256": "0"}):
        (newest / STATE_FILE).write_text(json.dumps(half))
        with pytest.raises(Damaged, match=r"the SHA-256 of state\.json differs"):
            read_state(newest)


@pytest.mark.parametrize("files", [3, [1], {"../x": "0"}, {"a": 1}])
def test_a_seal_that_names_something_else(files: Any, of: Checkpoints) -> None:
    newest = of.latest()
    assert newest is not None
    with pytest.raises(Damaged):
        verify(newest, {"files": files})


def test_a_damaged_description_without_a_seal_prints_nothing_of_torchs(
    of: Checkpoints, capfd: pytest.CaptureFixture[str]
) -> None:
    newest = of.latest()
    assert newest is not None
    (newest / STATE_FILE).write_text("{}")
    content, draw = (newest / ".metadata").read_bytes(), random.Random(3)
    for bit in draw.sample(range(8 * len(content)), 60):
        flip(newest / ".metadata", bit)
        with suppress(UserError):
            restore(newest, tensors(0.0))
        (newest / ".metadata").write_bytes(content)
    assert "Traceback" not in "".join(capfd.readouterr())


def test_what_does_not_fit_is_one_line_and_stays(of: Checkpoints) -> None:
    newest = of.latest()
    assert newest is not None
    for wrong in (tensors(0.0, size=4), {"model": {"other": torch.zeros(3)}}):
        with pytest.raises(UserError, match=r"000000008: is damaged \(cannot be loaded: ") as caught:
            restore(newest, wrong)
        assert "\n" not in str(caught.value)
    assert newest.exists()
