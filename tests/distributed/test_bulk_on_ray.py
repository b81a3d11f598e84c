"""Work over a manifest on a real Ray cluster of two nodes, of which one is killed in the middle."""

import os
import re
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
from wav2vec2.data.utterance import Utterance, write_manifest
from wav2vec2.text.vocabulary import Vocabulary

pytestmark = pytest.mark.slow
ray = pytest.importorskip("ray")

UTTERANCES, SECONDS = 30, 20
STORE = 100 << 20


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


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head without processors, and two nodes with one each."""
    from ray.cluster_utils import Cluster

    for name, value in (("RAY_USAGE_STATS_ENABLED", "0"), ("RAY_DEDUP_LOGS", "0"), ("OMP_NUM_THREADS", "1")):
        monkeypatch.setenv(name, value)
    source = str(Path(wav2vec2.__file__).parents[1])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([source, os.environ.get("PYTHONPATH", "")]))
    head = {"num_cpus": 0, "object_store_memory": STORE, "include_dashboard": False}
    nodes = Cluster(initialize_head=True, head_node_args=head)
    try:
        nodes.doomed = [nodes.add_node(num_cpus=1, object_store_memory=STORE) for _ in range(2)][1]
        ray.init(address=nodes.address, log_to_driver=False)
        yield nodes
    finally:
        ray.shutdown()
        nodes.shutdown()


def kill_in_the_middle(cluster: Any, folder: Path, killed: list[int]) -> None:
    """Wait until two processes have been seen at work and some files are there, then kill one node."""
    seen: set[str] = set()
    until = time.monotonic() + 120
    while time.monotonic() < until and not killed:
        names = os.listdir(folder) if folder.is_dir() else []
        done = sum(name.startswith("results-") for name in names)
        seen |= {match[1] for name in names if (match := re.search(r"-(\d+)\.tmp$", name))}
        if len(seen) >= 2 and done >= 4:
            cluster.remove_node(cluster.doomed, allow_graceful=False)
            killed.append(done)
        time.sleep(0.005)


def test_every_row_once_and_equal_although_a_node_is_killed(
    cluster: Any, work: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["transcribe", str(work / "model"), str(work / "manifest.parquet"), "--device", "cpu"]
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
    emissions = ["features", *words[1:3], "--emissions", "--device", "cpu"]
    assert main([*emissions, "--out", str(work / "emissions"), "--engine", "ray"]) == 0  # on the node that is left
    assert main([*emissions, "--out", str(work / "emissions-here")]) == 0
    assert read_results(work / "emissions").table().equals(read_results(work / "emissions-here").table())
