"""What may be opened, and what JSON and TOML may hold."""

import os
import socket
import time
from pathlib import Path

import pytest

from wav2vec2.errors import MOST_QUOTED, UserError, quoted
from wav2vec2.input_file import open_input, parse_json, parse_toml, read_input, read_text, refuse_special


def test_a_regular_file_is_read_through_links_too(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"eins\r\nzwei\rdrei\n")
    (tmp_path / "b").symlink_to("a")
    with open_input(tmp_path / "b") as file:
        assert file.read(4) == b"eins"
    assert read_text(tmp_path / "a") == "eins\nzwei\ndrei\n"


def test_pipes_sockets_and_devices_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        for path, kind in ((tmp_path / "pipe", "pipe"), (tmp_path / "socket", "socket"), (Path("/dev/zero"), "device")):
            with pytest.raises(UserError, match=f"is a {kind}, not a file"):
                refuse_special(path)


def test_a_name_that_no_file_can_have_is_refused() -> None:
    for name in ("a\0b", "\ud800"):
        with pytest.raises(UserError, match="not the name of a file"):
            open_input(name)


def test_folders_and_missing_files_are_left_to_the_caller(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        open_input(tmp_path)
    with pytest.raises(FileNotFoundError):
        open_input(tmp_path / "none")


def test_a_file_larger_than_the_limit_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(1 << 40)  # takes no space on the disk
    with pytest.raises(UserError, match="larger than 1 MiB"):
        read_input(tmp_path / "large", most=1 << 20)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 500 + "1" + "}" * 500,
        "1" * 5000,
        '{"a": 1, "a": 2}',
        r'{"a": ["\ud800"]}',
        b"\xff",
        "",
    ],
)
def test_impossible_json_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"it is|Exceeds|decode|Expecting|Invalid|surrogate|twice"):
        parse_json(text)


def test_odd_but_correct_json_is_read() -> None:
    assert parse_json(b'\xef\xbb\xbf{"a": "\\ud83d\\ude00", "b": 1, "b": 1}') == {"a": "😀", "b": 1}


@pytest.mark.parametrize(
    "text",
    [
        b"a = " + b"[" * 100_000,
        b"a = " + b"[" * 200 + b"]" * 200,
        b"a = " + b"1" * 5000,
        b".".join([b"a"] * 100_000) + b" = 1",
        b"b = {" + b".".join([b"a"] * 100_000) + b" = 1}",
        b"a = 1\n" * 300_000,
        b"a = '\xff'",
    ],
)
def test_impossible_toml_is_a_value_error_in_no_time(text: bytes) -> None:
    begin = time.process_time()
    with pytest.raises(ValueError, match=r"it is|Exceeds|decode|Expecting|Invalid|surrogate|twice"):
        parse_toml(text)
    assert time.process_time() - begin < 5


def test_a_quoted_value_has_at_most_80_characters() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    for value in ("x" * 10_000_000, deep, 1 << 100_000, list(range(1000))):
        assert len(quoted(value)) <= MOST_QUOTED
    assert quoted("a\x1b[2J") == r"'a\x1b[2J'"
    while deep:  # taken apart by hand: Python's own way down is a recursion
        deep = deep[0]  # type: ignore[assignment]
