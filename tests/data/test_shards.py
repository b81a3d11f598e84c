import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from tests.data.made_up_speech import librispeech_tree, voice, write

from wav2vec2.audio.read import read_audio
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.prepare.command import PrepareLibriSpeech, run
from wav2vec2.data.shards import PrepareShards, write_shards
from wav2vec2.data.shards import run as run_shards
from wav2vec2.data.utterance import Utterance, write_manifest
from wav2vec2.data.waveforms import read_bytes
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
    again = Manifest.open(run_shards(PrepareShards(manifest=tmp_path / "moved", out=tmp_path / "again")))
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
        run_shards(PrepareShards(manifest=manifest, out=tmp_path / "shards"))
    assert "left out: a: /nowhere/a.wav: does not exist" in capsys.readouterr().err
    assert list((tmp_path / "shards").iterdir()) == []
    with pytest.raises(UserError, match="shard-mb"):
        run_shards(PrepareShards(manifest=manifest, out=tmp_path / "shards", shard_mb=0))
