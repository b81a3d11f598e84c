"""Real files arrive in a real folder: copied in pieces, renamed, removed, in folders that are moved there."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile
from tests.inference.spoken_symbols import VOCABULARY, LoudnessCTC, spoken

from wav2vec2 import cli
from wav2vec2.errors import UserError
from wav2vec2.inference.watched_folder import WatchedFolder

STILL = 0.8


class Arrivals:
    """What a watched folder has given so far; the watching runs in a thread."""

    def __init__(self, folder: Path) -> None:
        self.names: list[str] = []
        self.sizes: list[int] = []
        self._folder, self._stop = folder, threading.Event()
        self._watched = WatchedFolder(folder, still=STILL)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        for files in self._watched.arrivals(self._stop):
            for file in files:
                self.sizes.append(file.stat().st_size)
                self.names.append(str(file.relative_to(self._folder)))

    def wait_for(self, count: int) -> list[str]:
        deadline = time.monotonic() + 20
        while len(self.names) < count and time.monotonic() < deadline:
            time.sleep(0.02)
        return self.names

    def close(self) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "inbox" / "old").mkdir(parents=True)
    (tmp_path / "inbox" / "old" / "there.wav").write_bytes(b"12")
    return tmp_path / "inbox"


@pytest.fixture
def arrivals(folder: Path) -> Iterator[Arrivals]:
    watching = Arrivals(folder)
    yield watching
    watching.close()


def test_files_are_taken_when_they_stand_still(folder: Path, arrivals: Arrivals) -> None:
    assert arrivals.wait_for(1) == ["old/there.wav"]
    with (folder / "slow.mp3").open("wb") as file:  # a copy that takes longer than a file must stand still
        for _ in range(16):  # pauses so short that they stay below it on a busy machine
            file.write(b"x" * 10)
            file.flush()
            time.sleep(STILL / 12)
    assert arrivals.wait_for(2)[1:] == ["slow.mp3"]
    assert arrivals.sizes[1] == 160
    (folder / "notes.txt").write_text("no audio")
    (folder / ".hidden.wav").write_bytes(b"1")
    (folder / "empty.wav").write_bytes(b"")
    (folder / "gone.wav").write_bytes(b"1")
    (folder / "gone.wav").rename(folder / "new.wav")
    moved = folder.parent / "moved"
    moved.mkdir()
    (moved / "x.flac").write_bytes(b"123")
    moved.rename(folder / "moved")
    assert sorted(arrivals.wait_for(4)[2:]) == ["moved/x.flac", "new.wav"]
    (folder / "slow.mp3").write_bytes(b"another recording of this name")
    assert arrivals.wait_for(5)[4:] == ["slow.mp3"]
    time.sleep(2 * STILL)
    assert len(arrivals.names) == 5


def test_a_folder_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no folder"):
        WatchedFolder(tmp_path / "absent")


def test_the_command_transcribes_what_arrives_until_ctrl_c(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    VOCABULARY.save(tmp_path / "model")
    monkeypatch.setattr("wav2vec2.checkpoints.load.load", lambda source, language: LoudnessCTC())
    soundfile.write(folder / "first.wav", spoken("THE FOX"), 16_000)
    (folder / "old" / "there.wav").write_bytes(b"no audio at all")
    soundfile.write(folder / "old" / "done.wav", spoken("A"), 16_000)
    out = tmp_path / "texts"
    out.mkdir()
    (out / "old-done.txt").write_text("corrected by hand")

    def somebody() -> None:
        _wait_for(out / "first.txt")
        soundfile.write(folder / "second.flac", spoken("LAZY DOG'S"), 16_000)
        _wait_for(out / "second.txt")
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = threading.Thread(target=somebody)
    thread.start()
    try:
        arguments = ["--model", str(tmp_path / "model"), "--watch", str(folder), "--out", str(out), "--device", "cpu"]
        assert cli.main(["transcribe", *arguments, "--decoder", "greedy"]) == 130
    finally:
        thread.join()
        signal.signal(signal.SIGINT, before)
    messages = capsys.readouterr().err.splitlines()
    assert messages[0] == f"{folder}: watched for recordings until Ctrl-C"
    assert messages[-1] == "interrupted"
    assert len(messages) == 3
    assert "there.wav" in messages[1]
    texts = {path.name: path.read_text() for path in out.iterdir()}
    assert texts == {"first.txt": "THE FOX\n", "second.txt": "LAZY DOG'S\n", "old-done.txt": "corrected by hand"}


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
