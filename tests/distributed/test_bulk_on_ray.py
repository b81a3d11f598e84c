"""Work over a manifest on a real Ray cluster of two nodes, of which one is killed in the middle."""

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile
from tests.small_models import FAMILIES, noise, recognizer

import wav2vec2
from wav2vec2.bulk.results import read_results
from wav2vec2.cli import main
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.prepare.decode import Rules
from wav2vec2.data.prepare.examine import Chunk, read_journal
from wav2vec2.data.prepare.workers import run_chunks_on_cluster
from wav2vec2.data.utterance import Utterance, write_manifest
from wav2vec2.errors import UserError
from wav2vec2.ray_cluster import RayOptions, run_on_cluster
from wav2vec2.text.vocabulary import Vocabulary

pytestmark = pytest.mark.slow
ray = pytest.importorskip("ray")

UTTERANCES, SECONDS = 30, 20
STORE = 100 << 20
SOURCE = str(Path(wav2vec2.__file__).parents[1])


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, and a manifest of segments of one recording, of different lengths; each is a task."""
    folder = tmp_path_factory.mktemp("work")
    wav2vec2.save(recognizer(FAMILIES["group"], Vocabulary.from_transcripts(["A FOX"])), folder / "model")
    soundfile.write(folder / "long.wav", 0.3 * noise(2 * SECONDS * 16_000)[0][0].numpy(), 16_000)
    rows = [
        Utterance(f"u{number}", "long.wav", start=100 * number, samples=SECONDS * 16_000 + 1000 * number)
        for number in range(UTTERANCES)
    ]
    write_manifest(rows, folder / "manifest.parquet")
    return folder


@pytest.mark.parametrize(
    ("address", "why"), [("127.0.0.1:1", "Connection refused"), ("cluster", "write it as HOST:PORT")]
)
def test_an_address_where_nobody_answers_is_one_line(address: str, why: str) -> None:
    with pytest.raises(UserError, match=rf"--ray-address {address}: no Ray cluster answers there \({why}"):
        list(run_on_cluster(lambda: str, [1], RayOptions(ray_address=address), name=str))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_run_that_is_killed_goes_on_with_the_same_words(work: Path, tmp_path: Path, number: signal.Signals) -> None:
    words = ["transcribe", "--model", str(work / "model"), str(work / "manifest.parquet"), "--device", "cpu"]
    words += ["--decoder", "greedy", "--task-minutes", "0.01", "--out", str(tmp_path / "out")]
    run = subprocess.Popen([sys.executable, "-m", "wav2vec2", *words], env=os.environ | {"PYTHONPATH": SOURCE})
    until = time.monotonic() + 120
    while len(results_in(tmp_path / "out")) < 3 and time.monotonic() < until:
        time.sleep(0.01)
    run.send_signal(number)
    assert run.wait(60) == -number
    done = {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in results_in(tmp_path / "out")}
    assert 3 <= len(done) < UTTERANCES
    assert main(words) == 0
    assert {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in done} == done
    assert [row["id"] for row in read_results(tmp_path / "out")] == [f"u{number}" for number in range(UTTERANCES)]
    assert not [name for name in os.listdir(tmp_path / "out") if name.endswith(".tmp")]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without processors, and two nodes with one each; the tests share it, the last one kills a node."""
    from ray.cluster_utils import Cluster

    paths = [SOURCE, str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    head = {"num_cpus": 0, "object_store_memory": STORE, "include_dashboard": False}
    with pytest.MonkeyPatch.context() as patched:
        for name, value in (("RAY_USAGE_STATS_ENABLED", "0"), ("OMP_NUM_THREADS", "1")):
            patched.setenv(name, value)
        patched.setenv("PYTHONPATH", os.pathsep.join(paths))
        nodes = Cluster(initialize_head=True, head_node_args=head)
        try:
            nodes.doomed = [nodes.add_node(num_cpus=1, object_store_memory=STORE) for _ in range(2)][1]
            ray.init(address=nodes.address, log_to_driver=False)
            yield nodes
        finally:
            ray.shutdown()
            nodes.shutdown()


class Deadly(Utterance):
    """A recording that ends the process of the cluster which examines it, as a bug in a decoder does."""

    def __getattribute__(self, name: str) -> object:
        elsewhere = multiprocessing.parent_process() is not None or "default_worker" in sys.argv[0]
        if name == "text" and elsewhere:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getattribute__(name)


def test_preparation_passes_over_a_recording_that_kills_its_process(cluster: Any, work: Path) -> None:
    rows = [
        [Utterance(f"{place}-{name}", str(work / "long.wav"), start=100, samples=8000) for name in "abc"]
        for place in range(6)
    ]
    rows[2][1] = Deadly("2-b", str(work / "long.wav"), samples=8000)
    chunks = [Chunk(tuple(some), work / f"journal/{place}.parquet", Rules()) for place, some in enumerate(rows)]
    finished: list[str] = []
    run_chunks_on_cluster(iter(chunks), RayOptions(), lambda chunk, samples: finished.append(chunk.journal.name))
    assert sorted(finished) == [f"{place}.parquet" for place in range(6)]
    found = [read_journal(chunk.journal) for chunk in chunks]
    ids = [name for batch, _ in found if batch is not None for name in batch.column("id").to_pylist()]
    assert ids == [row.id for some in rows for row in some if row.id != "2-b"]
    assert ["crashes the decoder" in facts["rejected"] for _, facts in found] == [place == 2 for place in range(6)]


def test_prepare_on_the_cluster_writes_the_manifest_of_this_machine(cluster: Any, work: Path) -> None:
    for number in range(40):
        soundfile.write(work / f"{number:02d}.flac", 0.3 * noise(4000, seed=number)[0][0].numpy(), 16_000)
    words = ["prepare", "folder", str(work), "--speaker", "none"]
    assert main([*words, "--out", str(work / "on-ray"), "--engine", "ray"]) == 0
    assert main([*words, "--out", str(work / "local"), "--workers", "1"]) == 0
    there, here = (Manifest.open(work / name) for name in ("on-ray", "local"))
    assert list(there) == list(here)
    assert len(here) == 41


def results_in(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if name.startswith("results-")] if folder.is_dir() else []


def kill_in_the_middle(cluster: Any, folder: Path, killed: list[int]) -> None:
    """Wait until two processes have been seen at work and some files are there, then kill one node."""
    seen: set[str] = set()
    until = time.monotonic() + 120
    while time.monotonic() < until and not killed:
        names = os.listdir(folder) if folder.is_dir() else []
        done = len(results_in(folder))
        seen |= {match[1] for name in names if (match := re.search(r"-(\d+)\.tmp$", name))}
        if len(seen) >= 2 and done >= 4:
            cluster.remove_node(cluster.doomed, allow_graceful=False)
            killed.append(done)
        time.sleep(0.005)


class Unloadable:
    """Cannot be read on another machine, as if this package were not installed there."""

    def __reduce__(self) -> tuple[Any, ...]:
        return eval, ("__import__('no_such_package')",)

    def __call__(self) -> Any:
        raise AssertionError


def test_processes_that_cannot_start_are_one_line(cluster: Any) -> None:
    with pytest.raises(UserError, match=r"no process of the cluster can start: install this version"):
        list(run_on_cluster(Unloadable(), [1, 2], RayOptions(), name=str))


def test_no_room_is_one_line(cluster: Any) -> None:
    with pytest.raises(UserError, match=r"no node has room for a process of 1 cores and 1 GPUs \(the cluster has 2 "):
        list(run_on_cluster(Unloadable(), [1], RayOptions(ray_gpus=1), name=str))


def test_every_row_once_and_equal_although_a_node_is_killed(
    cluster: Any, work: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["transcribe", "--model", str(work / "model"), str(work / "manifest.parquet"), "--device", "cpu"]
    words += ["--decoder", "greedy", "--task-minutes", "0.01", "--batch-seconds", "5"]
    killed: list[int] = []
    killer = threading.Thread(target=kill_in_the_middle, args=(cluster, work / "ray", killed))
    killer.start()
    status = main([*words, "--out", str(work / "ray"), "--engine", "ray"])
    killed.append(-1)
    killer.join()
    assert status == 0
    assert 4 <= killed[0] < UTTERANCES - 4, "the node was killed before or after the work"
    said = capfd.readouterr().err
    assert "its process was lost; it is done again" in said
    assert main([*words, "--out", str(work / "here")]) == 0
    assert list(read_results(work / "ray")) == list(read_results(work / "here"))
    assert [row["id"] for row in read_results(work / "ray")] == [f"u{number}" for number in range(UTTERANCES)]
    for name in os.listdir(work / "here"):
        assert (work / "ray" / name).read_bytes() == (work / "here" / name).read_bytes()
    emissions = ["features", *words[2:4], "--emissions", "--device", "cpu"]
    assert main([*emissions, "--out", str(work / "emissions"), "--engine", "ray"]) == 0  # on the node that is left
    assert main([*emissions, "--out", str(work / "emissions-here")]) == 0
    assert read_results(work / "emissions").table().equals(read_results(work / "emissions-here").table())
