"""One run in one folder: the lock ends with the process, also if it is killed and its children live on."""

import errno
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from wav2vec2.errors import UserError
from wav2vec2.train.lock import LOCK_FILE, sole_run

HOLDER = """
import os, subprocess, sys, time
from pathlib import Path
from wav2vec2.train.lock import sole_run
with sole_run(Path(sys.argv[1])):
    if os.fork() == 0:  # as a process that reads audio
        time.sleep(60)
    print("held", flush=True)
    time.sleep(60)
"""


def holder(folder: Path) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_run_is_told_who_holds_the_folder_and_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    process = holder(tmp_path / "run")
    try:
        with pytest.raises(UserError) as caught, sole_run(tmp_path / "run"):
            pass
        message = rf"another run is working in this folder \(process {process.pid} on \S+, since 20\d\d-\d\d-\d\d .*\)"
        assert re.search(message, str(caught.value))
        assert "\n" not in str(caught.value)
        process.kill()
        process.wait()
        with sole_run(tmp_path / "run") as lines:  # its child still runs
            assert lines == []
            told = json.loads((tmp_path / "run" / LOCK_FILE).read_text())
            assert told["process"] == os.getpid()
        with sole_run(tmp_path / "run"):
            pass
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"process": "x", "host": 1, "since": []}', b"\xff" * 2000])
def test_a_lock_file_that_says_nothing_is_still_a_lock(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / LOCK_FILE).write_bytes(content)

    def held(*_: object) -> None:
        raise OSError(errno.EAGAIN, "held")

    monkeypatch.setattr(fcntl, "lockf", held)
    with pytest.raises(UserError, match="which one, its lock does not say"), sole_run(tmp_path):
        pass


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_lets_the_run_begin_and_says_so(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "lockf", none)
    with sole_run(tmp_path) as lines:
        assert lines == [f"{tmp_path}: this file system has no locks: take care that no second run writes here"]


def test_the_time_of_the_lock_has_a_zone(tmp_path: Path) -> None:
    with sole_run(tmp_path):
        told = json.loads((tmp_path / LOCK_FILE).read_text())
    assert told["since"].endswith(time.tzname[0])
