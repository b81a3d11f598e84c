"""Pipes, devices, sockets and impossible names in place of files: one line, at once, from every command that reads one.

A pipe without a writer would wait for ever, ``/dev/zero`` would fill all memory.
"""

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import pytest
from tests.small_models import GROUP, recognizer

import wav2vec2
from wav2vec2.cli import main
from wav2vec2.data.utterance import SCHEMA
from wav2vec2.text.vocabulary import Vocabulary

COMMANDS = [
    "info BAD",
    "convert BAD out",
    "convert m out --vocabulary BAD",
    "export BAD out.onnx --to onnx",
    "transcribe a.wav --model BAD",
    "transcribe a.wav --model m --lm BAD",
    "transcribe a.wav --model m --lm lm.arpa --lexicon BAD",
    "transcribe a.wav --model m --preset BAD",
    "transcribe a.wav --model m --preset lm-is-bad.toml",
    "transcribe a.wav --model m --hotwords BAD",
    "evaluate BAD d.parquet",
    "evaluate m BAD",
    "align a.wav BAD --model m",
    "features BAD a.wav --out out",
    "units BAD a.wav",
    "lm ngram BAD --out out.arpa",
    "lm ngram x.txt --out out.arpa --vocab BAD",
    "lm perplexity BAD x.txt",
    "lm perplexity lm.arpa BAD",
    "pretrain BAD",
    "finetune BAD",
    "lm transformer BAD",
    "pretrain extends-bad.toml",
    "finetune --init m --data.manifest BAD --output out",
    "prepare table BAD --out out",
    "prepare fairseq BAD --out out",
    "prepare shards BAD --out out",
    "report BAD",
    "report hours BAD",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, a text and an empty manifest; what reads a good file before the bad one never gets to it."""
    import pyarrow.parquet as pq

    root = tmp_path_factory.mktemp("special")
    wav2vec2.save(recognizer(GROUP, Vocabulary.from_transcripts(["THE QUICK BROWN FOX"])), root / "m")
    (root / "x.txt").write_text("THE FOX\n")
    (root / "lm.arpa").write_text("\\data\\\nngram 1=4\n\n\\1-grams:\n-1 <s>\n-1 <unk>\n-1 THE\n-1 </s>\n\n\\end\\\n")
    (root / "a.wav").write_bytes(b"RIFF")
    pq.write_table(SCHEMA.empty_table(), root / "d.parquet")
    os.mkfifo(root / "pipe")
    return root


@pytest.fixture
def at_once() -> Iterator[None]:
    """Ends the test if it waits: opening a pipe is a wait that this signal ends."""

    def late(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def run(line: str, bad: str, folder: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[[], tuple[str, str]]) -> str:
    """Run a command whose word BAD names a special file; return its only line."""
    monkeypatch.chdir(folder)
    (folder / "lm-is-bad.toml").write_text(f"lm = '{bad}'\n")
    (folder / "extends-bad.toml").write_text(f"extends = '{bad}'\n")
    read()
    assert main([bad if word == "BAD" else word for word in line.split()]) == 2
    lines = read()[1].splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    return lines[0]


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("line", COMMANDS)
def test_pipes_and_devices_are_refused(
    line: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for bad, kind in (("pipe", "a pipe"), ("/dev/zero", "a device")):
        said = run(line, bad, folder, monkeypatch, lambda: tuple(capsys.readouterr()))  # type: ignore[arg-type,return-value]
        assert f"is {kind}, not a file" in said, said


@pytest.mark.usefixtures("at_once")
def test_sockets_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(folder)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        for line in ("info BAD", "evaluate m BAD", "lm ngram BAD --out out.arpa"):
            said = run(line, "socket", folder, monkeypatch, lambda: tuple(capsys.readouterr()))  # type: ignore[arg-type,return-value]
            assert "is a socket, not a file" in said


def test_names_that_no_file_can_have(capsys: pytest.CaptureFixture[str]) -> None:
    for line in COMMANDS:
        if "BAD" in line.split():
            for bad in ("a\0b", "\ud800"):
                assert main([bad if word == "BAD" else word for word in line.split()]) == 2
                lines = capsys.readouterr().err.splitlines()
                assert len(lines) == 1
                assert ("zero byte" in lines[0]) or ("surrogate" in lines[0])
