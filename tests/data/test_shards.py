import json
import signal
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.data.made_up_speech import librispeech_tree, voice, write

from wav2vec2.audio.encoded_file import AudioError
from wav2vec2.audio.read import read_audio
from wav2vec2.data import shard_members
from wav2vec2.data.byte_range import read_bytes
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.prepare.command import PrepareLibriSpeech, run
from wav2vec2.data.shards import PrepareShards, write_shards
from wav2vec2.data.shards import run as run_shards
from wav2vec2.data.utterance import Utterance, write_manifest
from wav2vec2.data.waveforms import read_utterance
from wav2vec2.data.whole_files import WholeFiles
from wav2vec2.errors import UserError


def test_shards_hold_the_very_bytes_and_webdataset_names(tmp_path: Path) -> None:
    root = librispeech_tree(tmp_path / "corpus")
    original = Manifest.open(run(PrepareLibriSpeech(root=root, out=tmp_path / "out", workers=1)))
    copied = Manifest.open(write_shards(original, tmp_path / "shards", 30_000))
    assert copied.ids == original.ids
    assert len({row.path for row in copied}) > 1
    for row, source in zip(copied, original, strict=True):
        content = read_bytes(row.path, row.offset, row.size)
        assert content == Path(source.path).read_bytes()
        np.testing.assert_array_equal(read_audio(content), read_audio(source.path))
    with tarfile.open(tmp_path / "shards" / "shard-000000.tar") as shard:
        names = shard.getnames()
        first = original.utterance(0)
        assert names[:3] == [f"{first.id}.flac", f"{first.id}.json", f"{first.id}.txt"]
        described = json.load(shard.extractfile(names[1]))  # type: ignore[arg-type]
        assert described["text"] == first.text == shard.extractfile(names[2]).read().decode()  # type: ignore[union-attr]
        offsets = {member.name: member.offset_data for member in shard}
    assert copied.utterance(0).offset == offsets[names[0]]


def test_a_folder_of_shards_may_be_moved_and_sharded_again(tmp_path: Path) -> None:
    root = librispeech_tree(tmp_path / "corpus", splits=("train",))
    manifest = Manifest.open(run(PrepareLibriSpeech(root=root, out=tmp_path / "out", workers=1)))
    write_shards(manifest, tmp_path / "shards", 10_000)
    (tmp_path / "shards").rename(tmp_path / "moved")
    again = Manifest.open(run_shards(PrepareShards(manifest=str(tmp_path / "moved"), out=str(tmp_path / "again"))))
    row = again.utterance(3)
    assert read_bytes(row.path, row.offset, row.size) == Path(manifest.utterance(3).path).read_bytes()


def test_segments_share_one_copy_of_their_recording(tmp_path: Path) -> None:
    path = str(write(tmp_path / "speech" / "v1.0 long.wav", voice(2.0)))
    rows = [Utterance(f"v1.0 é{'x' * 120}-{start}", path, start=start, samples=8_000) for start in (0, 16_000)]
    copied = Manifest.open(write_shards(rows, tmp_path / "shards", 10**6))
    first, second = copied
    assert (first.offset, first.size) == (second.offset, second.size)
    content = read_bytes(second.path, second.offset, second.size)
    piece = read_audio(content, start=second.start, samples=second.samples)
    np.testing.assert_array_equal(piece, read_audio(path, start=16_000, samples=8_000))
    with tarfile.open(tmp_path / "shards" / "shard-000000.tar") as shard:
        audio, described = shard.getmembers()
        assert audio.name == f"v1_0 é{'x' * 120}-0.wav"
        assert audio.offset_data == first.offset
        assert len(json.load(shard.extractfile(described))["segments"]) == 2  # type: ignore[arg-type]


def test_bad_sources_and_options_are_user_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = write_manifest([Utterance("a", "/nowhere/a.wav", samples=5)], tmp_path / "m.parquet")
    with pytest.raises(UserError, match=r"m\.parquet: no recording could be read"):
        run_shards(PrepareShards(manifest=str(manifest), out=str(tmp_path / "shards")))
    assert "left out: a: /nowhere/a.wav: does not exist" in capsys.readouterr().err
    assert list((tmp_path / "shards").iterdir()) == []
    with pytest.raises(UserError, match="shard-mb"):
        run_shards(PrepareShards(manifest=str(manifest), out=str(tmp_path / "shards"), shard_mb=0))


def blobs(folder: Path, sizes: list[int]) -> list[Utterance]:
    """Files of these sizes; what is in them does not matter to a shard."""
    folder.mkdir()
    for number, size in enumerate(sizes):
        (folder / f"{number}.bin").write_bytes(bytes([number % 256]) * size)
    return [Utterance(f"b{number}", str(folder / f"{number}.bin"), samples=5) for number in range(len(sizes))]


@pytest.mark.parametrize("sizes", [[1, 511, 512, 513, 1024, 5000], [512] * 3])
def test_byte_ranges_are_exact_whatever_the_size(tmp_path: Path, sizes: list[int]) -> None:
    copied = Manifest.open(write_shards(blobs(tmp_path / "blobs", sizes), tmp_path / "shards", 10**9))
    assert [row.size for row in copied] == sizes
    for number, row in enumerate(copied):
        assert read_bytes(row.path, row.offset, row.size) == bytes([number]) * sizes[number]


def test_a_shard_is_full_at_its_size_and_not_before(tmp_path: Path) -> None:
    # A recording takes two blocks of 512 bytes for its bytes and two for its .json.
    rows = blobs(tmp_path / "blobs", [100] * 6)
    for limit, expected in ((2048, [1] * 6), (2049, [2] * 3), (4096, [2] * 3), (4097, [3] * 2), (10**9, [6])):
        copied = Manifest.open(write_shards(rows, tmp_path / f"s{limit}", limit))
        names = [Path(row.path).name for row in copied]
        assert [names.count(name) for name in sorted(set(names))] == expected
        assert sorted(set(names)) == [f"shard-{number:06d}.tar" for number in range(len(expected))]


def test_a_shard_describes_its_recordings(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", voice(1.0))
    labelled = Utterance(
        "x.1",
        str(path),
        samples=16_000,
        sample_rate=16_000,
        text="eins",
        speaker="s",
        split="p",
        language="de",
        source="q",
    )
    (tmp_path / "noname").write_bytes(b"???")
    rows = [labelled, Utterance("y", str(tmp_path / "noname"), samples=3)]
    copied = Manifest.open(write_shards(rows, tmp_path / "shards", 10**9))
    with tarfile.open(tmp_path / "shards" / "shard-000000.tar") as shard:
        assert shard.getnames() == ["x_1.wav", "x_1.json", "x_1.txt", "y.audio", "y.json"]
        assert all(member.mode == 0o644 for member in shard)
        assert json.load(shard.extractfile("x_1.json")) == {  # type: ignore[arg-type]
            "id": "x.1", "start": 0, "samples": 16_000, "sample_rate": 16_000, "text": "eins", "speaker": "s",
            "split": "p", "language": "de", "source": "q",
        }  # fmt: skip
    assert copied.utterance(0) == replace(
        labelled, path=str(tmp_path / "shards" / "shard-000000.tar"), offset=512, size=path.stat().st_size
    )


def test_what_cannot_be_read_is_left_out_with_all_its_segments(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = str(write(tmp_path / "good.wav", voice(0.3)))
    rows = [
        Utterance("a", good, samples=900),
        Utterance("lost-0", str(tmp_path / "lost.wav"), samples=5),
        Utterance("lost-1", str(tmp_path / "lost.wav"), start=5, samples=5),
        Utterance("z", good, start=900, samples=900),
    ]
    manifest = write_manifest(rows, tmp_path / "m.parquet")
    copied = Manifest.open(run_shards(PrepareShards(manifest=str(manifest), out=str(tmp_path / "shards"))))
    assert copied.ids == ["a", "z"]
    printed = capsys.readouterr()
    assert "2 utterances in 1 shards, 2 left out" in printed.out
    assert printed.err.count("left out: lost-0: ") == 1
    with pytest.raises(AudioError, match=r"lost\.wav: does not exist"):
        write_shards(rows, tmp_path / "again", 10**9)


def test_shards_are_written_to_s3_and_read_from_there(s3: str, tmp_path: Path) -> None:
    root = librispeech_tree(tmp_path / "corpus", splits=("train",))
    original = Manifest.open(run(PrepareLibriSpeech(root=root, out=tmp_path / "out", workers=1)))
    path = run_shards(PrepareShards(manifest=str(tmp_path / "out"), out="s3://speech/shards/"))
    assert path == "s3://speech/shards/manifest.parquet"
    copied = Manifest.open("s3://speech/shards")
    assert copied.ids == original.ids
    for row, source in zip(copied, original, strict=True):
        assert row.path == "s3://speech/shards/shard-000000.tar"
        np.testing.assert_array_equal(read_utterance(row), read_utterance(source))
    run_shards(PrepareShards(manifest="s3://speech/shards", out=str(tmp_path / "back")))  # and from there
    assert Manifest.open(tmp_path / "back").ids == original.ids
    for address, message in (("s3://no-bucket/a", "there is no bucket 'no-bucket'"), ("x-no://a/b", "x-no")):
        with pytest.raises(UserError, match=message):
            run_shards(PrepareShards(manifest=str(tmp_path / "out"), out=address))


DIES = """
import os, signal, sys
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.shards import write_shards

def rows():
    for number, row in enumerate(Manifest.open(sys.argv[1])):
        if number == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        yield row

write_shards(rows(), sys.argv[2], 2049)
"""


@pytest.mark.parametrize("remote", [False, True])
def test_a_killed_command_goes_on_with_the_shards_that_are_there(
    remote: bool, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if remote:
        request.getfixturevalue("s3")
    out = "s3://speech/shards" if remote else str(tmp_path / "shards")
    rows = blobs(tmp_path / "blobs", [100] * 8)  # two in a shard
    manifest = write_manifest(rows, tmp_path / "m.parquet")
    killed = subprocess.run([sys.executable, "-c", DIES, str(manifest), out], capture_output=True, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert [name for name in WholeFiles(out).names() if name.endswith(".tar")] == [
        "shard-000000.tar",
        "shard-000001.tar",
    ]
    read: list[str] = []
    real = shard_members.read_bytes
    monkeypatch.setattr(shard_members, "read_bytes", lambda path, *place: (read.append(path), real(path, *place))[1])
    write_shards(rows, out, 2049)
    assert read == [row.path for row in rows[4:]]
    write_shards(rows, tmp_path / "at once", 2049)
    for name in WholeFiles(out).names():
        if name.endswith(".tar"):
            assert read_bytes(WholeFiles(out).path(name)) == (tmp_path / "at once" / name).read_bytes()
    found, expected = Manifest.open(out), Manifest.open(tmp_path / "at once")
    assert [replace(row, path="") for row in found] == [replace(row, path="") for row in expected]
    read.clear()
    write_shards(rows[:6], out, 2049)  # fewer rows: what is left of the longer set goes
    assert read == []
    assert [name for name in WholeFiles(out).names() if name.endswith(".tar")] == [
        f"shard-{number:06d}.tar" for number in range(3)
    ]


def test_only_whole_shards_of_the_same_rows_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = blobs(tmp_path / "blobs", [100] * 6)
    out = tmp_path / "shards"
    write_shards(rows, out, 2049)
    read: list[str] = []
    real = shard_members.read_bytes
    monkeypatch.setattr(shard_members, "read_bytes", lambda path, *place: (read.append(path), real(path, *place))[1])
    with (out / "shard-000001.tar").open("ab") as shard:
        shard.write(b"more")
    write_shards(rows, out, 2049)
    assert read == [row.path for row in rows[2:4]]
    read.clear()
    changed = [*rows[:4], replace(rows[4], text="new"), rows[5]]
    write_shards(changed, out, 2049)
    assert read == [row.path for row in rows[4:]]
    read.clear()
    lost = [replace(rows[0], path=str(tmp_path / "lost")), *rows[1:]]
    for _ in range(2):  # what was left out is tried again
        read.clear()
        write_shards(lost, out, 2049, lambda *_: None)
        assert lost[0].path in read
    assert Manifest.open(out).ids == [row.id for row in rows[1:]]


def test_a_shard_that_cannot_be_finished_leaves_nothing_in_s3(s3: str, tmp_path: Path) -> None:
    rows = blobs(tmp_path / "blobs", [100] * 3)
    with pytest.raises(AudioError, match="does not exist"):
        write_shards([*rows, replace(rows[0], id="lost", path="/nowhere")], "s3://speech/half", 10**6)
    assert WholeFiles("s3://speech/half").names() == []


def test_segments_may_be_cut_into_files_of_their_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    long = str(write(tmp_path / "long.wav", voice(3.0)))
    short = str(write(tmp_path / "short.wav", voice(0.5)))
    rows = [Utterance(f"s{start}", long, start=start, samples=7_000, text=f"t{start}") for start in (0, 9_000, 30_000)]
    rows.append(Utterance("whole", short, samples=8_000))
    manifest = write_manifest(rows, tmp_path / "m.parquet")
    run_shards(PrepareShards(manifest=str(manifest), out=str(tmp_path / "whole")))
    assert "an epoch reads these shards 2.7 times over (0.000304 GB), since" in capsys.readouterr().out
    run_shards(PrepareShards(manifest=str(manifest), out=str(tmp_path / "cut"), cut=True))
    assert "an epoch reads" not in capsys.readouterr().out
    cut = Manifest.open(tmp_path / "cut")
    assert [(row.id, row.start, row.samples, row.text) for row in cut] == [
        ("s0", 0, 7_000, "t0"), ("s9000", 0, 7_000, "t9000"), ("s30000", 0, 7_000, "t30000"), ("whole", 0, 8_000, None)
    ]  # fmt: skip
    for row, source in zip(cut, rows, strict=True):
        np.testing.assert_array_equal(read_utterance(row), read_utterance(source))  # of 16 bits, so exact
        assert row.size < 20_000
    with tarfile.open(tmp_path / "cut" / "shard-000000.tar") as shard:
        names = shard.getnames()
    assert names[:6] == ["s0.flac", "s0.json", "s0.txt", "s9000.flac", "s9000.json", "s9000.txt"]
    assert names[-2:] == ["whole.wav", "whole.json"]


def test_a_damaged_note_of_a_shard_means_that_the_shard_is_written_again(tmp_path: Path) -> None:
    rows = blobs(tmp_path / "blobs", [100] * 4)
    out = tmp_path / "shards"
    write_shards(rows, out, 2049)
    expected = (out / "shard-000000.tar").read_bytes()
    for damage in (b"", b"no parquet"):
        (out / ".shard-000000.rows").write_bytes(damage)
        (out / "shard-000000.tar").write_bytes(b"")
        write_shards(rows, out, 2049)
        assert (out / "shard-000000.tar").read_bytes() == expected
