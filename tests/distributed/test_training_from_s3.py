"""Pre-training from shards in a real S3 server (moto's), as many processes with one bucket would."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.object_store import KEYS, FlakyServer, forget_connections, s3_server
from tests.train.test_resume import records, tensors
from tests.train.tiny_run import pretrain_config, with_train, write_corpus

from wav2vec2.config import write_toml
from wav2vec2.data import remote
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.shards import write_shards
from wav2vec2.data.utterance import write_manifest
from wav2vec2.train.checkpoint.folder import Checkpoints
from wav2vec2.train.pretrain.command import PretrainConfig, run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch, s3_server() as address:
        import s3fs

        for name, value in (KEYS | {"AWS_ENDPOINT_URL": address}).items():
            patch.setenv(name, value)
        forget_connections()
        s3fs.S3FileSystem().mkdir("speech")
        yield "s3://speech"
    forget_connections()


def test_a_run_from_s3_killed_and_resumed_equals_the_local_run_bit_for_bit(bucket: str, tmp_path: Path) -> None:
    local = write_corpus(tmp_path / "corpus")
    write_shards(Manifest.open(local), f"{bucket}/shards", 200_000)
    whole = with_train(pretrain_config(local, tmp_path / "local"), updates=8)
    run(whole)
    remote = replace(whole, output=str(tmp_path / "remote"))
    remote = replace(
        remote,
        data=replace(remote.data, manifest=f"{bucket}/shards"),
        batch=replace(remote.batch, workers=1),
    )
    kill_after_a_checkpoint(remote, tmp_path)
    run(remote)
    expected, found = tensors(whole), tensors(remote)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert records(whole) == records(remote)


def test_a_server_that_often_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("aiohttp")
    monkeypatch.setattr(remote, "FIRST_WAIT", 0.01)
    local = write_corpus(tmp_path / "corpus")
    whole = with_train(pretrain_config(local, tmp_path / "local"), updates=6)
    run(whole)
    server = FlakyServer()
    forget_connections()
    rows = list(Manifest.open(write_shards(Manifest.open(local), tmp_path / "shards", 200_000)))
    for row in rows:
        server.files[f"/{Path(row.path).name}"] = Path(row.path).read_bytes()
    random = np.random.default_rng(0)
    kinds: list[int | str] = ["good", 503, "reset", "cut"]
    server.script = [kinds[min(3, int(draw))] for draw in random.integers(0, 10, 300) % 7]
    away = [replace(row, path=f"{server.url}/{Path(row.path).name}") for row in rows]
    manifest = write_manifest(away, tmp_path / "away.parquet")
    remote_run = replace(whole, output=str(tmp_path / "away"), data=replace(whole.data, manifest=str(manifest)))
    run(remote_run)
    server.close()
    assert len(server.script) < 270  # so it was asked, and failed
    expected, found = tensors(whole), tensors(remote_run)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert records(whole) == records(remote_run)


def kill_after_a_checkpoint(config: PretrainConfig, folder: Path) -> None:
    write_toml(config, folder / "recipe.toml")
    command = [sys.executable, "-m", "wav2vec2", "pretrain", str(folder / "recipe.toml")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=dict(os.environ))
    checkpoints = Checkpoints(Path(config.output) / "checkpoints", 1)
    deadline = time.monotonic() + 60
    while checkpoints.latest() is None and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    said, _ = process.communicate()
    assert checkpoints.latest() is not None, said.decode()
