"""`wav2vec2 transcribe`: files in a folder, stdin, patterns, and what goes wrong."""

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import webvtt
from tests.inference.spoken_symbols import spoken

from wav2vec2.decode.build import DecodingOptions
from wav2vec2.errors import FileWarning, UserError
from wav2vec2.inference.frame_outputs import ComputeOptions
from wav2vec2.inference.transcribe_command import TranscribeOptions, run
from wav2vec2.output.destination import ToStdout
from wav2vec2.output.formats import Format

TEXTS = {"a": "THE FOX", "b": "A", "sub/c": "LAZY DOG'S QUICK FOX"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in TEXTS.items():
        path = tmp_path / "audio" / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, spoken(text), 16_000, subtype="PCM_16")
    return tmp_path / "audio"


def transcribe(model_path: str, *files: Path | str, formats: tuple[Format, ...] = (), out: Path | None = None) -> None:
    run(
        TranscribeOptions(
            tuple(map(str, files)),
            model_path,
            format=formats,
            out=out,
            decoding=DecodingOptions(decoder="greedy"),
            compute=ComputeOptions(device="cpu"),
        )
    )


def test_a_file_beside_each_name_in_every_format_and_what_is_finished_is_skipped(
    model_path: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "texts"
    transcribe(model_path, folder, formats=("vtt", "json", "text"), out=out)
    assert sorted(path.name for path in out.iterdir()) == sorted(
        f"{name}.{suffix}" for name in "abc" for suffix in ("vtt", "json", "txt")
    )
    assert (out / "a.txt").read_text() == "THE FOX\n"
    assert json.loads((out / "c.json").read_text())["text"] == "LAZY DOG'S QUICK FOX"
    assert [caption.text for caption in webvtt.read(out / "c.vtt")] == ["LAZY DOG'S QUICK FOX"]
    assert capsys.readouterr() == ("", "")
    (out / "a.txt").write_text("corrected by hand")
    (out / "b.vtt").unlink()
    (out / "b.txt").write_text("half")
    transcribe(model_path, folder, formats=("vtt", "json", "text"), out=out)
    assert (out / "a.txt").read_text() == "corrected by hand"
    assert (out / "b.txt").read_text() == "A\n"
    assert capsys.readouterr().err == f"{out}: has the files of 2 of 3 recordings\n"
    transcribe("no model is loaded", folder, formats=("vtt",), out=out)


def test_equal_stems_get_the_names_of_their_folders(model_path: str, folder: Path, tmp_path: Path) -> None:
    (folder / "sub" / "a.wav").write_bytes((folder / "b.wav").read_bytes())
    transcribe(model_path, folder, folder / "a.wav", out=tmp_path / "texts")
    names = {path.name: path.read_text() for path in (tmp_path / "texts").iterdir()}
    assert names["audio-a.txt"] == "THE FOX\n"
    assert names["sub-a.txt"] == "A\n"
    assert len(names) == 4


def test_failures_leave_the_other_files_whole(
    model_path: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "aa.wav").write_bytes(b"nothing that could be audio")
    with pytest.raises(UserError, match="1 of 4 files"):
        transcribe(model_path, folder, formats=("srt",), out=tmp_path / "texts")
    assert sorted(path.name for path in (tmp_path / "texts").iterdir()) == ["a.srt", "b.srt", "c.srt"]
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_recording_on_stdin(
    model_path: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def pipe(content: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    pipe((folder / "a.wav").read_bytes())
    transcribe(model_path, "-")
    assert capsys.readouterr().out == "THE FOX\n"
    pipe((folder / "a.wav").read_bytes())
    transcribe(model_path, folder / "b.wav", "-", formats=("jsonl",))
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(entry["source"], entry["text"]) for entry in lines] == [(str(folder / "b.wav"), "A"), ("stdin", "THE FOX")]
    pipe((folder / "a.wav").read_bytes())
    transcribe(model_path, "-", formats=("ctm",), out=tmp_path / "texts")
    assert (tmp_path / "texts" / "stdin.ctm").read_text().startswith("stdin 1 ")
    pipe(b"")
    with pytest.raises(UserError, match="1 of 1 file "):
        transcribe(model_path, "-")
    assert capsys.readouterr().err.startswith("stdin: is empty")
    with pytest.raises(UserError, match="name it once"):
        transcribe(model_path, "-", "-")


def test_patterns_in_quotes(model_path: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "notes.txt").write_text("no audio")
    (folder / "[x].wav").write_bytes((folder / "b.wav").read_bytes())
    transcribe(model_path, folder / "*")
    assert [line.split("\t")[1] for line in capsys.readouterr().out.splitlines()] == ["A", "THE FOX", "A"]
    transcribe(model_path, folder / "**" / "c.*")
    assert capsys.readouterr().out == f"{folder}/sub/c.wav\tLAZY DOG'S QUICK FOX\n"
    transcribe(model_path, folder / "[x].wav")
    assert capsys.readouterr().out == "A\n"
    with pytest.raises(UserError, match="no file matches"):
        transcribe(model_path, folder / "*.mp3")


def test_what_cannot_share_stdout(model_path: str, folder: Path) -> None:
    with pytest.raises(UserError, match="--format srt and json: cannot share stdout"):
        transcribe(model_path, folder / "a.wav", formats=("srt", "json", "srt"))
    with pytest.raises(UserError, match="--format srt: a file holds one recording"):
        transcribe(model_path, folder, formats=("srt",))
    with pytest.raises(UserError, match="is a file; name a folder"):
        transcribe(model_path, folder, out=folder / "a.wav")


def test_tables_on_stdout_have_one_header(model_path: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    transcribe(model_path, folder, formats=("tsv",))
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["recording", "start", "end", "word", "confidence"]
    assert [line[3] for line in lines[1:]] == " ".join(TEXTS.values()).split()
    transcribe(model_path, folder, formats=("ctm",))
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["a", "a", "b", "c", "c", "c", "c"]


def test_a_file_that_is_cut_short_gives_its_words_and_a_warning_with_both_lengths(
    model_path: str, folder: Path
) -> None:
    whole = (folder / "sub" / "c.wav").read_bytes()
    seconds = (len(whole) - 44) / 32_000
    (folder / "cut.wav").write_bytes(whole[: 44 + (len(whole) - 44) // 4 * 2])
    out = folder.parent / "texts"
    with pytest.warns(FileWarning, match=rf"cut\.wav: is cut short: its header promises {seconds:.1f} s; the 0\.8 s"):
        transcribe(model_path, folder / "cut.wav", formats=("json",), out=out)
    entry = json.loads((out / "cut.json").read_text())
    assert entry["text"].startswith("LAZY")
    assert "cut short" in entry["warning"]


def test_pieces_are_printed_as_they_are_recognised(
    model_path: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pause = np.zeros(16_000, np.float32)
    texts = ["THE FOX", "A LAZY DOG'S", "QUICK FOX"]
    audio = np.concatenate([part for text in texts for part in (spoken(f"{text} "), pause)])
    soundfile.write(folder / "long.wav", audio, 16_000, subtype="PCM_16")
    written: list[str] = []
    add = ToStdout.add
    monkeypatch.setattr(ToStdout, "add", lambda self, text, gap: (written.append(text), add(self, text, gap)))
    compute = ComputeOptions(device="cpu", longest_piece=1.5, batch_seconds=1.5)
    run(TranscribeOptions((str(folder / "long.wav"),), model_path, compute=compute))
    assert written == texts
    assert capsys.readouterr().out == f"{' '.join(texts)}\n"
