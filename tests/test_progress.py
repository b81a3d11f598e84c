"""What a terminal shows while results and a bar come together."""

import io
import os
import pty
import re
import sys
import threading

import pytest

from wav2vec2.progress import AudioProgress, be_quiet, clock, counted, download_bar, progress_bar


class Screen:
    """The lines of a terminal: what the control sequences that rich uses for a bar leave of the bytes written."""

    def __init__(self, text: str) -> None:
        self.lines: list[str] = [""]
        row = column = 0
        for control, argument, letter, char in re.findall(r"(\x1b\[([?\d;]*)([a-zA-Z]))|(.)", text, re.DOTALL):
            if control:
                if letter == "A":
                    row = max(0, row - int(argument or 1))
                elif letter == "K":
                    self.lines[row] = "" if argument == "2" else self.lines[row][:column]
            elif char == "\n":
                row += 1
                self.lines += [""] * (row == len(self.lines))
            elif char == "\r":
                column = 0
            else:
                self.lines[row] = self.lines[row][:column].ljust(column) + char + self.lines[row][column + 1 :]
                column += 1

    @property
    def text(self) -> list[str]:
        return [line.rstrip() for line in self.lines if line.strip()]


class Terminal:
    """A pseudo-terminal that is stdout and stderr."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._master, slave = pty.openpty()
        self._stream = os.fdopen(slave, "w")
        self._bytes = io.BytesIO()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()
        monkeypatch.setattr(sys, "stdout", self._stream)
        monkeypatch.setattr(sys, "stderr", self._stream)
        for name, value in (("TERM", "xterm"), ("COLUMNS", "200")):
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("NO_COLOR", raising=False)

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._master, 65536)
            except OSError:  # EIO: the other end is closed
                return
            if not data:
                return
            self._bytes.write(data)

    def close(self) -> str:
        self._stream.close()
        self._thread.join()
        os.close(self._master)
        return self._bytes.getvalue().decode()


def test_results_and_bar_share_a_terminal_without_tearing(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal(monkeypatch)
    with AudioProgress("file") as progress:
        for _ in range(3):
            progress.expect(10.0)
        for number in range(3):
            progress.advance(4.0)
            progress.advance(6.0)
            progress.finish(10.0, 10.0)
            with progress.aside():
                print(f"result {number}")
            print(f"message {number}", file=sys.stderr)
    written = terminal.close()
    plain = re.sub(r"\x1b\[[?\d;]*[a-zA-Z]", "", written)
    assert "1/3 files  audio 0:00:10/0:00:30" in plain
    assert re.search(r"2/3 files  audio 0:00:20/0:00:30  [\d.]+ s of audio a second  0:00:00 left", plain)
    *results, last = Screen(written).text
    assert results == [line for number in range(3) for line in (f"result {number}", f"message {number}")]
    assert re.fullmatch(r"3 files, 0:00:30 of audio in 0:00:0\d, [\d.]+ times as fast", last)


def test_an_unknown_length_shows_what_is_done_and_how_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal(monkeypatch)
    with AudioProgress("file") as progress:
        progress.expect(0.0)
        progress.advance(3_725.0)
        with progress.aside():
            pass
        progress.finish(0.0, 3_726.0)
    plain = re.sub(r"\x1b\[[?\d;]*[a-zA-Z]", "", terminal.close())
    assert re.search(r"0/1 file  audio 1:02:05  [\d.]+ s of audio a second *[\r\n]", plain)
    assert "left" not in plain.partition("1/1")[0]


def test_nothing_is_drawn_where_stderr_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with AudioProgress("file") as progress:
        progress.expect(10.0)
        progress.advance(10.0)
        progress.finish(10.0, 10.0)
        with progress.aside():
            print("result")
    assert capsys.readouterr() == ("result\n", "")


def test_clock_and_counts() -> None:
    assert [clock(seconds) for seconds in (0, 59.6, 3_725, -1)] == ["0:00:00", "0:01:00", "1:02:05", "0:00:00"]
    assert [counted(1, "file"), counted(2, "file")] == ["1 file", "2 files"]


def test_quiet_shows_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    be_quiet(True)
    try:
        with AudioProgress("file", shown=True) as progress:
            progress.expect(10.0)
            progress.finish(10.0, 10.0)
        assert progress_bar().disable
    finally:
        be_quiet(False)
    assert capsys.readouterr().err == ""


def test_a_download(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal: how much of it is there; elsewhere, and where it is not wanted, nothing."""
    for terminal, shown in ((True, True), (True, False), (False, True)):
        monkeypatch.setenv("FORCE_COLOR", "1" if terminal else "")
        monkeypatch.setenv("COLUMNS", "100")
        with download_bar(2_000_000, shown=shown) as advance:
            advance(500_000)
            advance(1_000_000)
        captured = capsys.readouterr()
        assert captured.out == ""
        assert ("1.5/2.0 MB" in captured.err) == (terminal and shown)
        assert shown is True or captured.err == ""
