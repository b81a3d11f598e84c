"""The log of a run grows by whole lines, survives a full disk, and forgets what will come again."""

import json
import resource
from pathlib import Path

import pytest

from wav2vec2.train.metrics import LEFT_FILE, LOG_FILE, LogFile, Reporter, forget_after


def test_on_a_full_disk_lines_wait_and_none_is_half_written(tmp_path: Path) -> None:
    said: list[str] = []
    log = LogFile(tmp_path / LOG_FILE, said.append)
    log.write({"update": 1})
    # setrlimit(2): a write beyond RLIMIT_FSIZE is cut short and then fails with EFBIG
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, before[1]))
    try:
        log.write({"update": 2})
        log.write({"update": 3})
        assert (tmp_path / LOG_FILE).read_text() == '{"update": 1}\n'
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert said == [f"{tmp_path / LOG_FILE}: cannot be written (File too large): free space; its lines wait in memory"]
    log.write({"update": 4})
    assert [json.loads(line)["update"] for line in (tmp_path / LOG_FILE).read_text().splitlines()] == [1, 2, 3, 4]
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, before[1]))
    try:
        log.write({"update": 5})
        log.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert said[-1].endswith("the last 1 lines are lost (File too large)")


@pytest.mark.parametrize(
    ("lines", "kept"),
    [
        (['{"update": 1}\n', '{"update": 2}\n', '{"update": 3}\n', '{"upda'], 2),
        (['{"update": 2, "kind": "train"}\n', '{"update": 2, "kind": "validation"}\n', '{"update": 2'], 1),
        (['{"update": 1, "kind": "validation"}\n', '{"update": 2, "kind": "train"}\n'], 2),
        (['{"update": 2}'], 0),
        (["[]\n", '{"update": 9}\n', "\0\0\0"], 0),
        ([], 0),
    ],
)
def test_a_resumed_log_forgets_what_comes_again(lines: list[str], kept: int, tmp_path: Path) -> None:
    log = tmp_path / LOG_FILE
    assert forget_after(log, 2, 1) == []
    log.write_text("".join(lines))
    assert "".join(forget_after(log, 2, 1)) == "".join(lines[kept:])
    assert log.read_text() == "".join(lines[:kept])


def test_a_damaged_line_in_the_middle_takes_only_itself_away(tmp_path: Path) -> None:
    (tmp_path / LOG_FILE).write_text('{"update": 1}\n{"upd\n{"update": 2}\n')
    assert forget_after(tmp_path / LOG_FILE, 2, 2) == ['{"upd\n']
    assert (tmp_path / LOG_FILE).read_text() == '{"update": 1}\n{"update": 2}\n'


def test_the_records_of_a_way_that_was_given_up_are_kept_apart(tmp_path: Path) -> None:
    reporter = Reporter(tmp_path, 10, tensorboard=True)
    reporter.open(0, 0)
    for update in (1, 2, 3):
        reporter.write("train", update, {"loss": 1.0})
    reporter.go_back(1, {"from": 3, "verdict": "sick"})
    reporter.write("train", 2, {"loss": 0.5})
    reporter.close()
    records = [json.loads(line) for line in (tmp_path / LOG_FILE).read_text().splitlines()]
    assert [(record["kind"], record["update"]) for record in records] == [("train", 1), ("return", 1), ("train", 2)]
    left = [json.loads(line) for line in (tmp_path / LEFT_FILE).read_text().splitlines()]
    assert [record["update"] for record in left] == [2, 3]
    silent = Reporter(tmp_path, 10, tensorboard=False, enabled=False)
    silent.open(0, 0)
    silent.write("train", 9, {})
    silent.go_back(0, {})
    silent.close()
    assert len((tmp_path / LOG_FILE).read_text().splitlines()) == 3
