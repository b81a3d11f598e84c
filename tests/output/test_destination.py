"""What is printed of a recording while it is recognised, and at its end."""

import io
import sys
from pathlib import Path

import pytest

from wav2vec2.output.destination import ToFolder, ToStdout
from wav2vec2.output.transcript import Transcript

TRANSCRIPT = Transcript("a.wav", "one two three", (), 3.0, -1.0)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def printed(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, pieces: list[str], *, ends: bool = True) -> list[str]:
    """What stdout holds after each piece and at the end."""
    monkeypatch.setattr(sys, "stdout", stream)
    destination = ToStdout(("text",), alone=True)
    assert destination.wants_pieces
    states = []
    for piece in pieces:
        destination.add(piece, " ")
        states.append(stream.getvalue())
    if ends:
        destination.write(TRANSCRIPT, "a")
    else:
        destination.fail()
    destination.close()
    return [*states, stream.getvalue()]


def test_the_text_of_one_recording_is_one_line_that_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    states = printed(monkeypatch, io.StringIO(), ["one", "", "two three"])
    assert states == ["one", "one", "one two three", "one two three\n"]
    assert printed(monkeypatch, io.StringIO(), []) == ["one two three\n"]
    assert printed(monkeypatch, io.StringIO(), ["one"], ends=False) == ["one", "one\n"]
    assert printed(monkeypatch, io.StringIO(), [], ends=False) == [""]


def test_a_terminal_shows_a_line_for_each_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    assert printed(monkeypatch, Terminal(), ["one", "two three"])[1:] == ["one\ntwo three\n"] * 2


def test_other_formats_and_files_wait_for_the_end(tmp_path: Path) -> None:
    assert not ToStdout(("text",), alone=False).wants_pieces
    assert not ToStdout(("srt",), alone=True).wants_pieces
    assert not ToFolder(tmp_path / "out", ("text",)).wants_pieces
