import errno
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from wav2vec2.errors import UserError
from wav2vec2.output_file import write_error, writing, writing_together


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_files_take_their_places_together(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    with writing_together(folder, last="model") as temporary:
        (temporary / "model").write_text("graph")
        (temporary / "model.data").write_text("weights")
        assert not (folder / "model").exists()
    assert contents(folder) == {"model": "graph", "model.data": "weights"}


@pytest.mark.parametrize(("umask", "permissions"), [(0o022, 0o644), (0o007, 0o660), (0o077, 0o600)])
def test_weights_can_be_read_by_whom_other_files_can_be_read(umask: int, permissions: int, tmp_path: Path) -> None:
    """A server is often another user than who trained the model."""
    before = os.umask(umask)
    try:
        with writing(tmp_path / "one.safetensors") as temporary:
            save_file({"a": torch.zeros(1)}, temporary)
        with writing_together(tmp_path / "model") as folder:
            save_file({"a": torch.zeros(1)}, folder / "two.safetensors")
    finally:
        os.umask(before)
    assert {path.name for path in tmp_path.rglob("*")} == {"one.safetensors", "model", "two.safetensors"}
    for path in tmp_path.rglob("*.safetensors"):
        assert path.stat().st_mode & 0o777 == permissions


def test_an_obsolete_file_that_was_not_written_again_is_removed(tmp_path: Path) -> None:
    for written in ({"model": "graph", "model.data": "weights"}, {"model": "graph"}):
        (tmp_path / "model.data").write_text("old weights")
        with writing_together(tmp_path, last="model", obsolete=["model.data"]) as temporary:
            for name, text in written.items():
                (temporary / name).write_text(text)
        assert contents(tmp_path) == written


def test_a_failure_leaves_everything_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("old")
    (tmp_path / "model.data").write_text("old weights")

    def write_and_refuse() -> None:
        with writing_together(tmp_path, last="model", obsolete=["model.data"]) as temporary:
            (temporary / "model").write_text("new")
            raise UserError("refused")

    with pytest.raises(UserError, match="refused"):
        write_and_refuse()
    assert contents(tmp_path) == {"model": "old", "model.data": "old weights"}


def test_what_a_killed_process_left_is_cleared(tmp_path: Path) -> None:
    (tmp_path / ".partial").mkdir()
    (tmp_path / ".partial" / "half").write_text("")
    with writing_together(tmp_path) as temporary:
        (temporary / "whole").write_text("")
    assert contents(tmp_path) == {"whole": ""}


def test_what_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot be written") as caught, writing_together(tmp_path / "file"):
        pass
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("number", "why"),
    [
        (errno.ENOSPC, "no space left on the disk): free some space and run the same command again"),
        (errno.EDQUOT, "no space left on the disk): free some space and run the same command again"),
        (errno.EFBIG, "File too large): raise the limit (ulimit -f) and run the same command again"),
        (errno.EACCES, "Permission denied): choose another folder or correct this one"),
    ],
)
def test_the_remedy_fits_the_cause(number: int, why: str) -> None:
    assert str(write_error(Path("a"), OSError(number, os.strerror(number)))) == f"a: cannot be written ({why}"
