from pathlib import Path

import pytest

from wav2vec2.errors import UserError
from wav2vec2.output_file import writing_together


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_a_file_and_its_companion_take_their_places(tmp_path: Path) -> None:
    target = tmp_path / "new" / "model"
    with writing_together(target, Path("model.data")) as folder:
        (folder / "model").write_text("graph")
        (folder / "model.data").write_text("weights")
        assert not target.exists()
    assert contents(target.parent) == {"model": "graph", "model.data": "weights"}


def test_a_companion_that_was_not_written_again_is_removed(tmp_path: Path) -> None:
    (tmp_path / "model.data").write_text("old weights")
    with writing_together(tmp_path / "model", Path("model.data")) as folder:
        (folder / "model").write_text("graph")
    assert contents(tmp_path) == {"model": "graph"}


def test_a_failure_leaves_everything_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("old")
    (tmp_path / "model.data").write_text("old weights")

    def write_and_refuse() -> None:
        with writing_together(tmp_path / "model", Path("model.data")) as folder:
            (folder / "model").write_text("new")
            (folder / "model.data").write_text("new weights")
            raise UserError("refused")

    with pytest.raises(UserError, match="refused"):
        write_and_refuse()
    assert contents(tmp_path) == {"model": "old", "model.data": "old weights"}


def test_what_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot be written") as caught, writing_together(tmp_path / "file" / "model"):
        pass
    assert "\n" not in str(caught.value)
