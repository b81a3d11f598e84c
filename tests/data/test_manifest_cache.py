import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from wav2vec2.data import manifest_cache
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.utterance import Utterance, write_manifest


def _open(path: str, unpacked: Any, barrier: Any, results: Any) -> None:
    real = manifest_cache._unpack

    def counted(*arguments: Any) -> None:
        with unpacked.get_lock():
            unpacked.value += 1
        real(*arguments)

    manifest_cache._unpack = counted
    barrier.wait()
    results.put(len(Manifest.open(path)))


def test_processes_that_open_a_large_manifest_at_once_unpack_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest_cache, "ROWS_IN_MEMORY", 10)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = write_manifest([Utterance(f"u{n}", f"{n}.flac", samples=9) for n in range(20_000)], tmp_path / "m.parquet")
    processes = multiprocessing.get_context("fork")
    unpacked, barrier, results = processes.Value("i", 0), processes.Barrier(3), processes.Queue()
    ranks = [processes.Process(target=_open, args=(str(path), unpacked, barrier, results)) for _ in range(3)]
    for rank in ranks:
        rank.start()
    assert [results.get(timeout=60) for _ in ranks] == [20_000] * 3
    for rank in ranks:
        rank.join()
    assert unpacked.value == 1


def test_what_a_killed_process_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest_cache, "ROWS_IN_MEMORY", 1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = write_manifest([Utterance(f"u{n}", f"{n}.flac", samples=9) for n in range(3)], tmp_path / "m.parquet")
    name = f"{manifest_cache._fingerprint([str(path)])}.arrow"
    left = tmp_path / "cache" / "wav2vec2" / f".{name}.123.tmp"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    assert len(Manifest.open(path)) == 3
    assert sorted(file.suffix for file in left.parent.iterdir()) == [".arrow", ".lock"]


def test_a_changed_manifest_in_s3_is_unpacked_anew(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import s3fs

    monkeypatch.setattr(manifest_cache, "ROWS_IN_MEMORY", 1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    files = s3fs.S3FileSystem()
    for ids in ("ab", "cd"):  # of one size
        write_manifest([Utterance(one, one, samples=9) for one in ids], tmp_path / "m.parquet")
        files.put_file(str(tmp_path / "m.parquet"), "speech/m.parquet")
        for _ in range(2):
            assert Manifest.open("s3://speech/m.parquet").ids == list(ids)
    assert len(list((tmp_path / "cache").rglob("*.arrow"))) == 2
