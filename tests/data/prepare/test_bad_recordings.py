import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tests.data.made_up_speech import librispeech_tree, voice, write

from wav2vec2.data.manifest import Manifest
from wav2vec2.data.prepare.command import PrepareFolder, PrepareLibriSpeech, PrepareTable, run
from wav2vec2.errors import UserError


def reasons(out: Path) -> dict[str, str]:
    items = [json.loads(line) for line in (out / "rejected.jsonl").read_text().splitlines()]
    assert all("\n" not in item["message"] for item in items)
    return {item["id"]: item["reason"] for item in items}


def test_every_bad_file_is_rejected_with_its_reason_and_the_rest_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "speech"
    good = write(root / "good.flac", voice(0.5))
    (root / "corrupt.flac").write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    (root / "empty.wav").touch()
    write(root / "zero.wav", np.zeros(0))
    write(root / "silent.wav", np.zeros(8_000))
    soundfile.write(root / "nan.wav", np.full(8_000, np.nan), 16_000, subtype="FLOAT")
    (root / "text.wav").write_text("no audio at all" * 9)
    (root / "misnamed.wav").write_bytes(good.read_bytes())
    write(root / "short.wav", voice(0.05))
    (root / "gone.wav").symlink_to(root / "nowhere.wav")
    write(root / "twice.flac", voice(0.3))
    write(root / "twice.wav", voice(0.3))
    (root / "readme.txt").write_text("is no audio and is not looked at")
    out = tmp_path / "out"
    manifest = Manifest.open(run(PrepareFolder(root=root, out=out, workers=1)))
    assert manifest.ids == ["good", "misnamed", "twice", "twice.wav"]
    assert reasons(out) == {
        "corrupt": "corrupt", "empty": "empty file", "zero": "no samples", "silent": "silent", "nan": "not finite",
        "text": "unreadable", "short": "too short", "gone": "missing",
    }  # fmt: skip
    printed = capsys.readouterr().out
    assert "rejected: 8 (of 12 files)" in printed
    assert f"{root}/silent.wav: is silent" in printed
    assert "note: 1 files: the format is not that of the suffix; such as " in printed
    assert "misnamed" in (out / "notes.jsonl").read_text()


def test_the_second_row_with_an_id_is_rejected(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / f"{name}.wav", voice(0.3))
    (tmp_path / "t.csv").write_text("id,path\n1,a.wav\n1,b.wav\n")
    options = PrepareTable(tables=(tmp_path / "t.csv",), out=tmp_path / "out", workers=1)
    assert Manifest.open(run(options)).ids == ["1"]
    assert reasons(tmp_path / "out") == {"1": "duplicate id"}


def test_transcripts_without_audio_and_the_reverse(tmp_path: Path) -> None:
    root = librispeech_tree(tmp_path / "corpus", splits=("train",), speakers=3)
    (root / "train/1/1/1-1-0000.flac").unlink()
    (root / "train/2/1/2-1.trans.txt").write_bytes(b"2-1-0000 GOOD\n2-1-0001\n")
    lines = b"3-1-0000 BAD \x07 BELL\n3-1-0001 CAF" + b"\xe9\n"
    (root / "train/3/1/3-1.trans.txt").write_bytes(lines)
    write(root / "train/3/1/3-1-0002.flac", voice(0.3))
    out = tmp_path / "out"
    assert Manifest.open(run(PrepareLibriSpeech(root=root, out=out, workers=1))).ids == ["1-1-0001", "2-1-0000"]
    assert reasons(out) == {
        "1-1-0000": "transcript without audio", "2-1-0001": "no words", "3-1-0000": "unknown characters",
        "3-1-0001": "unknown characters", "3-1-0002": "audio without transcript",
    }  # fmt: skip


def test_an_alphabet_says_which_characters_are_known(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", voice(0.3))
    write(tmp_path / "b.wav", voice(0.3))
    (tmp_path / "t.tsv").write_text("path\ttext\na.wav\tcafe\u0301  ol\u00e9\nb.wav\tnaïve\n", encoding="utf-8")
    options = PrepareTable(tables=(tmp_path / "t.tsv",), out=tmp_path / "out", alphabet="acfeloé", workers=1)
    manifest = Manifest.open(run(options))
    assert [row.text for row in manifest] == ["café olé"]
    assert reasons(tmp_path / "out") == {"b": "unknown characters"}


def test_nothing_usable_is_one_error_after_the_report(tmp_path: Path) -> None:
    (tmp_path / "speech").mkdir()
    with pytest.raises(UserError, match="no audio file was found"):
        run(PrepareFolder(root=tmp_path / "speech", out=tmp_path / "out"))
    write(tmp_path / "speech" / "a.wav", np.zeros(800))
    with pytest.raises(UserError, match="1 files, all rejected"):
        run(PrepareFolder(root=tmp_path / "speech", out=tmp_path / "out"))
    assert reasons(tmp_path / "out") == {"a": "silent"}


def test_a_root_that_is_no_folder_is_a_user_error(tmp_path: Path) -> None:
    for options in (PrepareFolder(root=tmp_path / "x"), PrepareLibriSpeech(root=tmp_path / "x")):
        with pytest.raises(UserError, match="is not a folder"):
            run(options)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"min_seconds": float("nan")}, "--min-seconds"),
        ({"min_seconds": -1.0}, "--min-seconds"),
        ({"max_seconds": float("nan"), "segment": True}, "--max-seconds"),
        ({"min_seconds": 3.0, "max_seconds": 2.0}, "--max-seconds"),
        ({"valid_percent": float("nan")}, "--valid-percent"),
        ({"workers": -1}, "--workers"),
    ],
)
def test_impossible_limits_are_refused(tmp_path: Path, change: dict[str, float], named: str) -> None:
    write(tmp_path / "speech" / "a.wav", voice(0.3))
    with pytest.raises(UserError, match=named):
        run(PrepareFolder(root=tmp_path / "speech", out=tmp_path / "out", **change))
    assert not (tmp_path / "out").exists()


def test_a_disk_that_fills_up_is_one_line_and_the_run_goes_on_later(tmp_path: Path) -> None:
    write(tmp_path / "speech" / "a.wav", voice(0.3))
    script = (
        "import resource, sys; from pathlib import Path\n"
        "from wav2vec2.data.prepare.command import *; from wav2vec2.errors import UserError\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, (600, {resource.RLIM_INFINITY}))\n"
        "try: run(PrepareFolder(root=Path('speech'), out=Path('out'), workers=1))\n"
        "except UserError as error: print(error); sys.exit(2)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert done.stdout.count("\n") == 1
    assert "cannot be written (" in done.stdout
    assert not list((tmp_path / "out").rglob("*.tmp"))
    assert len(Manifest.open(run(PrepareFolder(root=tmp_path / "speech", out=tmp_path / "out", workers=1)))) == 1


def test_pipes_link_loops_and_names_that_are_not_unicode_are_rejected_or_skipped(tmp_path: Path) -> None:
    root = tmp_path / "speech"
    write(root / "good.flac", voice(0.5))
    os.mkfifo(root / "pipe.wav")
    (root / "loop").symlink_to(root)
    os.rename(write(root / "odd.flac", voice(0.4)), os.fsencode(root) + b"/odd\xff.flac")
    out = tmp_path / "out"
    assert Manifest.open(run(PrepareFolder(root=root, out=out, workers=1))).ids == ["good"]
    assert reasons(out) == {"pipe": "unreadable", "odd\\udcff": "not UTF-8"}
