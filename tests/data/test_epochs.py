"""Plans of large epochs: shared by the processes of a machine, and made ahead."""

import os
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wav2vec2.data import epochs
from wav2vec2.data.batch_plan import BatchPlan, sorted_order
from wav2vec2.data.epochs import EpochPlan
from wav2vec2.data.sampler import GlobalBatch, Position

SAMPLES = np.random.default_rng(0).integers(50, 300, 90)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every plan is large, and files are made here."""
    monkeypatch.setattr(epochs, "ROWS_SHARED", 0)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / f"wav2vec2-plans-{os.getuid()}"


def plan(seed: int = 1) -> BatchPlan:
    return BatchPlan(SAMPLES, batch_samples=400, max_samples=100, min_samples=1, seed=seed)


def same(a: GlobalBatch, b: GlobalBatch) -> bool:
    return a.utterances.tolist() == b.utterances.tolist() and a.starts.tolist() == b.starts.tolist()


def counted(p: BatchPlan) -> list[int]:
    """The epochs that ``p`` itself plans from now on."""
    made: list[int] = []
    make = p._epochs._make
    p._epochs._make = lambda epoch: (made.append(epoch), make(epoch))[1]
    return made


def test_one_process_plans_and_the_others_map(folder: Path) -> None:
    alone = [plan()._make(0).members(n)[0].tolist() for n in range(5)]
    first, second, other = plan(), plan(), plan(seed=2)
    made, mapped, own = counted(first), counted(second), counted(other)
    for p in (first, second, other):
        p.batch(Position(0, 0))
    assert (made, mapped, own) == ([0], [], [0])
    assert isinstance(second._epochs.plan(0).order.base, np.memmap)
    assert [second._epochs.plan(0).members(n)[0].tolist() for n in range(5)] == alone
    assert all(same(first.batch(Position(0, n)), second.batch(Position(0, n))) for n in range(first.batches(0)))


def test_a_damaged_file_is_made_again_and_without_a_folder_every_process_plans(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = plan().batch(Position(0, 3))
    (file,) = folder.glob("*-0.plan")
    file.write_bytes(file.read_bytes()[:-4])
    assert same(plan().batch(Position(0, 3)), expected)
    assert len(EpochPlan.map(file)) == plan().batches(0)
    folder.chmod(0o777)  # somebody else could write there
    p = plan()
    made = counted(p)
    assert same(p.batch(Position(0, 3)), expected)
    assert made == [0]
    folder.chmod(0o700)
    file.unlink()
    monkeypatch.setattr(EpochPlan, "write", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    assert same(plan().batch(Position(0, 3)), expected)


def test_the_next_epoch_is_planned_in_a_thread_and_old_ones_are_forgotten(folder: Path) -> None:
    p = plan()
    threads: list[str] = []
    make = p._epochs._make
    p._epochs._make = lambda epoch: (threads.append(f"{epoch} {threading.current_thread().name}"), make(epoch))[1]
    for batch, _ in zip(p.walk(Position()), range(3 * p.batches(0)), strict=False):
        assert batch.epoch < 4
        for thread in threading.enumerate():
            if thread.name.startswith("plan-"):
                thread.join()
    assert threads[:3] == ["0 MainThread", "1 plan-1", "2 plan-2"]
    assert len(p._epochs._plans) <= 2
    assert not list(folder.glob("*-0.plan"))
    assert list(folder.glob("*-2.plan"))


def test_what_fails_in_the_thread_is_raised_where_the_plan_is_asked_for(folder: Path) -> None:
    p = plan()
    count = p.batches(0)
    p._epochs._make = lambda epoch: (_ for _ in ()).throw(MemoryError("no memory"))
    p.batch(Position(0, count - 1))
    with pytest.raises(MemoryError, match="no memory"):
        p.batch(Position(1, 0))


@given(st.lists(st.sampled_from([0.5, 1.0, 1.0 + 2**-52, 3.0, 7.25, 2.0**40, 1e-300, 0.0]), min_size=1, max_size=60))
def test_keys_are_sorted_as_by_two_keys(values: list[float]) -> None:
    keys = np.asarray(values)
    ties = np.random.default_rng(len(values)).integers(0, 4, len(values)) / 4
    assert sorted_order(keys.copy, lambda: ties).tolist() == np.lexsort((ties, keys)).tolist()


def test_many_random_keys_are_sorted_as_by_two_keys() -> None:
    random = np.random.default_rng(3)
    keys = random.integers(32_000, 250_000, 20_000) * (1 + 0.1 * (random.random(20_000) - 0.5))
    assert sorted_order(keys.copy, lambda: keys).tolist() == np.argsort(keys, kind="stable").tolist()
