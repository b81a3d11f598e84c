"""Tables that are no tables: devices, endless lines, deep JSON. One line each, in bounded time and memory."""

import gzip
import os
from pathlib import Path

import pytest

from wav2vec2.cli import main
from wav2vec2.data.corpora.table import scan_table
from wav2vec2.errors import UserError


def test_devices_and_pipes_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "zero.csv").symlink_to("/dev/zero")
    for table in (tmp_path / "pipe.csv", tmp_path / "zero.csv", tmp_path):
        with pytest.raises(UserError, match=r"is a pipe|is a device|Is a directory"):
            list(scan_table(table))


def test_an_endless_line_ends(tmp_path: Path) -> None:
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"path,text\n" + b"x" * 3_000_000))
    with pytest.raises(UserError, match="line 2: is longer than 1,048,576 characters"):
        list(scan_table(tmp_path / "t.csv.gz"))
    (tmp_path / "u.csv.gz").write_bytes(gzip.compress(b"path,text\na.wav,x\n" * 99)[:-9])
    with pytest.raises(UserError, match="cannot be read"):
        list(scan_table(tmp_path / "u.csv.gz"))


@pytest.mark.parametrize(
    "content",
    [
        "[" * 100_000,
        '{"path": ' * 50_000,
        '{"path": ' + "1" * 5_000 + "}",
        "\0" * 5_000,
        '"' * 9_999,
        "path\na\0.wav\n",
    ],
)
@pytest.mark.parametrize("name", ["t.json", "t.jsonl", "t.csv"])
def test_strange_content_is_one_line(
    tmp_path: Path, content: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_text(content)
    assert main(["prepare", "table", str(tmp_path / name), "--out", str(tmp_path / "out"), "--workers", "1"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert len(error) < 1_500
