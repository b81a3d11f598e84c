import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.data.made_up_speech import librispeech_tree, voice, write

from wav2vec2.audio.read import read_audio
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.prepare import workers
from wav2vec2.data.prepare.command import PrepareFolder, PrepareLibriSpeech, run
from wav2vec2.data.prepare.examine import speaker_fraction
from wav2vec2.data.utterance import Utterance
from wav2vec2.errors import UserError


def test_a_librispeech_tree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = librispeech_tree(tmp_path / "corpus")
    path = run(PrepareLibriSpeech(root=root, out=tmp_path / "out", workers=1, language="en"))
    manifest = Manifest.open(path)
    assert len(manifest) == 12
    row = manifest.utterance(0)
    assert row == Utterance(
        "4-1-0000", f"{root}/dev/4/1/4-1-0000.flac", samples=6_400, sample_rate=16_000, text="HELLO WORLD 4",
        speaker="4", split="dev", language="en", source="corpus",
    )  # fmt: skip
    assert len(Manifest.open(path, "train")) == 6
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split() == ["split", "utterances", "hours", "labelled", "h", "speakers", "words"]
    assert printed[1].split() == ["dev", "6", "0.00", "0.00", "3", "18"]
    assert "rejected: none of 12 files" in printed
    assert Manifest.open(tmp_path / "out").ids == manifest.ids
    assert {item.name for item in (tmp_path / "out").iterdir()} == {"manifest.parquet", "rejected.jsonl", ".prepare"}


def test_splits_by_speaker_are_disjoint_and_depend_on_the_name_alone(tmp_path: Path) -> None:
    root = tmp_path / "speech"
    for speaker in range(12):
        for number in range(2):
            write(root / f"speaker{speaker}" / f"{number}.wav", voice(0.15, seed=speaker))
    manifest = Manifest.open(run(PrepareFolder(root=root, out=tmp_path / "out", valid_percent=40, workers=1)))
    homes = {row.speaker: {other.split for other in manifest if other.speaker == row.speaker} for row in manifest}
    assert all(len(splits) == 1 for splits in homes.values())
    valid = {speaker for speaker, splits in homes.items() if splits == {"valid"}}
    assert valid == {speaker for speaker in homes if speaker_fraction(speaker) < 0.4}
    assert 0 < len(valid) < 12
    assert all(row.text is None for row in manifest)


def test_a_root_without_split_folders_is_split_by_speaker(tmp_path: Path) -> None:
    root = librispeech_tree(tmp_path / "corpus") / "train"
    manifest = Manifest.open(run(PrepareLibriSpeech(root=root, out=tmp_path / "out", valid_percent=50, workers=1)))
    assert {row.speaker for row in manifest} == {"1", "2", "3"}
    assert {row.split for row in manifest} <= {"train", "valid"}


def test_parts_together_are_the_whole(tmp_path: Path) -> None:
    root = librispeech_tree(tmp_path / "corpus")
    options = PrepareLibriSpeech(root=root, out=tmp_path / "whole", workers=1)
    whole = Manifest.open(run(options))
    for part in ("1/2", "2/2"):
        run(replace(options, out=tmp_path / "parts", part=part))
    parts = Manifest.open(tmp_path / "parts")
    assert sorted(parts, key=lambda row: row.id) == sorted(whole, key=lambda row: row.id)
    assert 0 < len(Manifest.open(tmp_path / "parts" / "manifest-001-of-002.parquet")) < len(whole)


def test_worker_processes_give_the_same_manifest(tmp_path: Path) -> None:
    root = tmp_path / "speech"
    for number in range(40):
        write(root / f"{number}.wav", voice(0.2, seed=number))
    options = PrepareFolder(root=root, out=tmp_path / "one", workers=1)
    one = Manifest.open(run(options))
    two = Manifest.open(run(replace(options, out=tmp_path / "two", workers=2)))
    assert list(one) == list(two)


def test_an_interrupted_run_goes_on_without_decoding_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "speech"
    for number in range(40):
        write(root / f"{number:02d}.wav", voice(0.2, seed=number))
    options = PrepareFolder(root=root, out=tmp_path / "out", workers=1)
    real = workers.examine_chunk
    decoded: list[str] = []

    def interrupted(chunk, *more):  # type: ignore[no-untyped-def]
        if len(decoded) >= 16:
            raise KeyboardInterrupt
        decoded.extend(row.id for row in chunk.recordings)
        return real(chunk, *more)

    monkeypatch.setattr(workers, "examine_chunk", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(options)
    assert len(decoded) == 16
    assert not (tmp_path / "out" / "manifest.parquet").exists()

    def counted(chunk, *more):  # type: ignore[no-untyped-def]
        decoded.extend(row.id for row in chunk.recordings)
        return real(chunk, *more)

    monkeypatch.setattr(workers, "examine_chunk", counted)
    assert len(Manifest.open(run(options))) == 40
    assert sorted(decoded) == [f"{number:02d}" for number in range(40)]
    run(options)
    assert len(decoded) == 40
    write(root / "39.wav", voice(0.3))
    assert Manifest.open(run(options)).samples[-1] == 4_800
    assert len(decoded) < 60


@pytest.mark.parametrize(("number", "times"), [(signal.SIGINT, 1), (signal.SIGKILL, 3)])
def test_a_killed_run_leaves_a_journal_and_ends_like_any_other(
    tmp_path: Path, number: int, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "speech"
    for index in range(64):
        write(root / f"{index:02d}.wav", voice(4.0, seed=index))
    script = (
        "from pathlib import Path; from wav2vec2.data.prepare.command import *\n"
        "if __name__ == '__main__': run(PrepareFolder(root=Path('speech'), out=Path('out'), workers=1))"
    )
    (tmp_path / "prepare.py").write_text(script)
    command = [sys.executable, "prepare.py"]
    folder = tmp_path / "out" / ".prepare" / "part-whole"
    for round_ in range(times):
        process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
        deadline = time.monotonic() + 60
        while process.poll() is None and len(list(folder.glob("[!.]*.parquet"))) <= round_:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        os.kill(process.pid, number) if process.poll() is None else None
        _, said = process.communicate()
    finished = list(folder.glob("[!.]*.parquet"))
    assert len(finished) >= times
    if number == signal.SIGINT and process.returncode:
        assert b"the same command continues" in said
    before = {path: path.stat().st_mtime_ns for path in finished}
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert len(Manifest.open(tmp_path / "out")) == 64
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in before.items())
    assert not list(folder.glob(".*"))
    monkeypatch.chdir(tmp_path)
    uninterrupted = run(PrepareFolder(root=Path("speech"), out=Path("other"), workers=1))
    for name in ("manifest.parquet", "rejected.jsonl"):
        assert (tmp_path / "out" / name).read_bytes() == (uninterrupted.parent / name).read_bytes()


def test_long_recordings_are_cut_at_pauses(tmp_path: Path) -> None:
    silence = np.zeros(9_600, np.float32)
    pieces = [part for seed in range(6) for part in (voice(2.0, seed), silence + 1e-4 * voice(0.6, seed))]
    write(tmp_path / "speech" / "long.flac", np.concatenate([silence, *pieces]))
    write(tmp_path / "speech" / "short.flac", voice(1.0))
    options = PrepareFolder(root=tmp_path / "speech", out=tmp_path / "out", segment=True, max_seconds=6, workers=1)
    manifest = Manifest.open(run(options))
    cut = [row for row in manifest if row.id.startswith("long")]
    assert [row.id for row in manifest][-1] == "short"
    assert len(cut) == 3
    assert all(row.id == f"long-{row.start}-{row.start + row.samples}" for row in cut)
    for row in cut:
        assert row.samples <= 6 * 16_000
        edge = read_audio(row.path, start=row.start, samples=row.samples)
        assert max(np.abs(edge[:400]).max(), np.abs(edge[-400:]).max()) < 1e-3
    with pytest.raises(UserError, match="all rejected"):
        run(replace(options, segment=False, max_seconds=0.5, min_seconds=0.1))


def test_segments_are_as_long_as_what_pretraining_hears_at_once(tmp_path: Path) -> None:
    silence = np.zeros(9_600, np.float32)
    pieces = [part for seed in range(12) for part in (voice(2.0, seed), silence + 1e-4 * voice(0.6, seed))]
    write(tmp_path / "speech" / "long.flac", np.concatenate(pieces))
    manifest = Manifest.open(
        run(PrepareFolder(root=tmp_path / "speech", out=tmp_path / "out", segment=True, workers=1))
    )
    assert len(manifest) == 2
    assert 160_000 < max(row.samples for row in manifest) <= 250_000


@pytest.mark.parametrize(
    "change",
    [{"part": "0/4"}, {"part": "5/4"}, {"part": "x"}, {"valid_percent": 100.0}, {"max_seconds": 0.01}, {"workers": -1}],
)
def test_bad_options_are_user_errors(tmp_path: Path, change: dict[str, object]) -> None:
    with pytest.raises(UserError, match=next(iter(change)).replace("_", "-")):
        run(replace(PrepareFolder(root=tmp_path), **change))  # type: ignore[arg-type]


@pytest.mark.speech
def test_real_speech(speech_root: Path, tmp_path: Path) -> None:
    root = tmp_path / "speech"
    for split in ("train", "dev", "test-clean"):
        chapter = min(folder for folder in (speech_root / split).glob("*/*"))
        target = root / split / chapter.parent.name
        target.mkdir(parents=True)
        (target / chapter.name).symlink_to(chapter)
    manifest = Manifest.open(run(PrepareLibriSpeech(root=root, out=tmp_path / "out", workers=1)))
    assert {row.split for row in manifest} == {"train", "dev", "test-clean"}
    listed = [line.split("\t") for line in (speech_root / "manifest.tsv").read_text().splitlines()]
    assert set(manifest.ids) <= {cell for line in listed for cell in line} | {Path(c).stem for x in listed for c in x}
    assert all(len(read_audio(row.path)) == row.samples for row in manifest)
    assert json.dumps(manifest.column("text").to_pylist()).isascii()
