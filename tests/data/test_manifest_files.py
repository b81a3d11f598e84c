from pathlib import Path

import pytest
from tests.object_store import FlakyServer

from wav2vec2.data.manifest import Manifest
from wav2vec2.data.manifest_files import manifest_files
from wav2vec2.data.utterance import Utterance, write_manifest
from wav2vec2.errors import UserError


def written(path: Path, *ids: str) -> Path:
    return write_manifest([Utterance(one, f"audio/{one}.flac", samples=9) for one in ids], path)


def test_manifests_joined_by_a_plus_are_one(tmp_path: Path) -> None:
    one, two = written(tmp_path / "one" / "manifest.parquet", "a", "b"), written(tmp_path / "two+half.parquet", "c")
    assert Manifest.open(two).ids == ["c"]  # a file may have a "+" in its name
    both = Manifest.open(f"{written(tmp_path / 'c.parquet', 'z')} + {one.parent}")
    assert both.ids == ["z", "a", "b"]
    assert both.utterance(0).path == f"{tmp_path}/audio/z.flac"
    assert both.utterance(1).path == f"{one.parent}/audio/a.flac"
    with pytest.raises(UserError, match=r"names .*manifest\.parquet twice"):
        manifest_files(f"{one}+{one.parent}")
    with pytest.raises(UserError, match=r"no\.parquet: no manifest found"):
        manifest_files(f"{one}+{tmp_path}/no.parquet")


def test_manifests_in_s3(s3: str, tmp_path: Path) -> None:
    import s3fs

    files = s3fs.S3FileSystem()
    written(tmp_path / "one.parquet", "a", "b")
    files.put_file(str(tmp_path / "one.parquet"), "speech/corpus/manifest-001-of-002.parquet")
    written(tmp_path / "two.parquet", "c")
    files.put_file(str(tmp_path / "two.parquet"), "speech/corpus/manifest-002-of-002.parquet")
    files.pipe_file("speech/corpus/audio/a.flac", b"not a manifest")
    folder = "s3://speech/corpus"
    for address in (folder, f"{folder}/", f"{folder}/manifest-*.parquet"):
        manifest = Manifest.open(address)
        assert manifest.ids == ["a", "b", "c"]
        assert {row.path for row in manifest} == {f"{folder}/audio/{one}.flac" for one in "abc"}
    assert Manifest.open(f"{folder}/manifest-002-of-002.parquet").ids == ["c"]
    assert len(Manifest.open(Path(folder))) == 3  # pathlib makes s3:/speech of it
    assert Manifest.open(f"{folder}/manifest-002-of-002.parquet+{tmp_path}/one.parquet").ids == ["c", "a", "b"]
    files.rm("speech/corpus/manifest-001-of-002.parquet")
    for address, message in (
        (folder, "part 1 of 2 is missing"),
        (f"{folder}/manifest-001-of-002.parquet", "does not exist"),
        ("s3://speech/nothing", "no manifest found"),
        ("s3://no-bucket/m.parquet", "there is no bucket 'no-bucket'"),
        ("s3://no-bucket/folder", "there is no bucket 'no-bucket'|no manifest found"),
        (f"{folder}/audio/a.flac", "cannot be read as a manifest"),
    ):
        with pytest.raises(UserError, match=message):
            Manifest.open(address)


def test_a_manifest_on_a_plain_web_server(flaky: FlakyServer, tmp_path: Path) -> None:
    flaky.files["/corpus/m.parquet"] = written(tmp_path / "m.parquet", "a", "b").read_bytes()
    flaky.script = ["whole"] * 9  # it does not know ranges
    manifest = Manifest.open(f"{flaky.url}/corpus/m.parquet")
    assert [row.path for row in manifest] == [f"{flaky.url}/corpus/audio/{one}.flac" for one in "ab"]
    with pytest.raises(UserError, match=r"n\.parquet: does not exist"):
        Manifest.open(f"{flaky.url}/corpus/n.parquet")
