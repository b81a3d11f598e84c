import time
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.train.tiny_run import open_corpus

from wav2vec2.model.architecture import ARCHITECTURES
from wav2vec2.train import read_workers
from wav2vec2.train.corpus import plan_corpus
from wav2vec2.train.distributed import Ranks
from wav2vec2.train.options import BatchConfig
from wav2vec2.train.read_workers import ReadingSpeed, count_workers, counted, heard_at_most, reading_speed

ALONE = Ranks(0, 1, torch.device("cpu"))
BATCH = BatchConfig(seconds=3.0, micro_seconds=1.5, min_seconds=0.1, max_seconds=1.2)


def test_enough_processes_to_stay_ahead_and_no_more_than_the_cores_serve() -> None:
    decoding = ReadingSpeed(seconds=1 / 400, core_seconds=1 / 400)  # 400 s/s, busy all the time
    assert count_workers(decoding, 200, 16) == 1
    assert count_workers(decoding, 2000, 16) == 7  # 1.3 x 2000 / 400
    assert count_workers(decoding, 20_000, 15) == 15
    waiting = ReadingSpeed(seconds=1 / 400, core_seconds=1 / 4000)  # a store that answers slowly
    assert count_workers(waiting, 20_000, 4) == 40
    assert count_workers(waiting, 200_000, 16) == read_workers.MOST_WORKERS
    assert count_workers(decoding, 20_000, 0) == 1


def test_a_device_hears_what_its_operations_allow() -> None:
    gpu = torch.device("cuda")
    base = heard_at_most(ARCHITECTURES["base"], "pretrain", gpu)
    assert base == pytest.approx(4e14 / 46.1e9, rel=0.01)  # 46.1 GFLOP for a second of audio
    assert heard_at_most(ARCHITECTURES["large"], "pretrain", gpu) < base / 2
    assert heard_at_most(ARCHITECTURES["base"], "pretrain", torch.device("cpu")) < base / 10
    assert heard_at_most(ARCHITECTURES["tiny"], "pretrain", torch.device("cpu")) <= read_workers.MOST_HEARD_BY_CPU


def test_on_a_cpu_a_quarter_of_the_cores_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_workers, "available_cores", lambda: 32)
    monkeypatch.setattr(read_workers, "reading_speed", lambda *_: ReadingSpeed(1 / 100, 1 / 100))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    manifest = open_corpus(tmp_path)
    assert counted(manifest, 9_000, 1e9, accelerated=False)[0] == 4
    assert counted(manifest, 9_000, 1e9, accelerated=True)[0] == 15


def test_the_speed_is_that_of_reading_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = open_corpus(tmp_path)
    real = read_workers.read_utterance
    read: list[int] = []

    def slow(row: read_workers.Utterance, *arguments: object) -> np.ndarray:
        read.append(row.samples)
        time.sleep(0.01)
        return real(row)

    monkeypatch.setattr(read_workers, "read_utterance", slow)
    speed = reading_speed(manifest, 9_000)
    assert speed is not None
    assert len(read) == 9
    assert max(read) == 9_000
    audio = sum(read[1:]) / 16_000
    assert speed.seconds * audio > 0.08
    assert speed.core_seconds < speed.seconds
    clock = iter(np.arange(0.0, 100.0, 1.5))
    read.clear()
    reading_speed(manifest, 9_000, clock=lambda: float(next(clock)))
    assert len(read) == 3  # the first, and what fits into two seconds


def test_the_count_is_said_and_used(tmp_path: Path) -> None:
    manifest = open_corpus(tmp_path)
    corpus = plan_corpus(manifest, BATCH, ALONE, seed=1, crop=True, epsilon=None, heard=1.0)
    assert corpus.loader.workers == 1
    assert corpus.lines[-1].startswith("reading: one process reads ")
    assert corpus.lines[-1].endswith("hears at most 1: 1 process reads (batch.workers)")
    assert "all that the cores allow" in counted(manifest, 9_000, 1e9, accelerated=True)[1]
    for row in manifest:
        Path(row.path).unlink()
    assert counted(manifest, 9_000, 1e9, accelerated=True) == (
        1,
        "reading: none of a few recordings could be read; 1 process reads (batch.workers)",
    )
