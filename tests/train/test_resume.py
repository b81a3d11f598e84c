import json
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.train.tiny_run import pretrain_config, with_train

from wav2vec2.config import write_toml
from wav2vec2.errors import UserError
from wav2vec2.train import optimizer
from wav2vec2.train.checkpoint.contents import restore, training_tensors
from wav2vec2.train.checkpoint.folder import Checkpoints
from wav2vec2.train.checkpoint.seal import read_state, write_state
from wav2vec2.train.pretrain.command import PretrainConfig, build_model, run

CLOCK = ("time", "seconds_per_second", "wait_share", "save_seconds")


def start(config: PretrainConfig, folder: Path) -> subprocess.Popen[str]:
    """The command in a process of its own, which a test may kill."""
    write_toml(config, folder / "recipe.toml")
    command = [sys.executable, "-m", "wav2vec2", "pretrain", str(folder / "recipe.toml")]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def tensors(config: PretrainConfig) -> dict[str, torch.Tensor]:
    """Weights and moments of a run's newest checkpoint."""
    model, _ = build_model(config)
    steps, _ = optimizer.build_optimizer(model.named_parameters(), config.train)
    nested: dict[str, Any] = training_tensors(model, steps)
    latest = Checkpoints(Path(config.output) / "checkpoints", 1).latest()
    assert latest is not None
    restore(latest, nested)
    flat = dict(nested["model"])
    return flat | {f"{n}/{k}": v for n, state in nested["optimizer"].items() for k, v in state.items()}


def records(config: PretrainConfig) -> list[dict[str, Any]]:
    lines = (Path(config.output) / "log.jsonl").read_text().splitlines()
    kept = [json.loads(line) for line in lines]
    return [{k: v for k, v in record.items() if k not in CLOCK} for record in kept if record["kind"] != "stop"]


@pytest.fixture(scope="module")
def uninterrupted(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> PretrainConfig:
    config = with_train(pretrain_config(corpus, tmp_path_factory.mktemp("whole") / "run"), updates=20)
    config = replace(config, log=replace(config.log, validate_every=10))
    run(config)
    return config


def wait_for(condition: Any, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 300
    while not condition() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)


def test_killed_at_a_random_moment_and_resumed_is_bit_for_bit_uninterrupted(
    uninterrupted: PretrainConfig, tmp_path: Path
) -> None:
    config = replace(uninterrupted, output=str(tmp_path / "run"))
    process = start(config, tmp_path)
    checkpoints = Checkpoints(tmp_path / "run" / "checkpoints", 1)
    wait_for(checkpoints.latest, process)
    time.sleep(random.random() * 0.3)  # 16 updates are left
    process.kill()
    process.communicate()
    reached = checkpoints.latest()
    assert reached is not None
    run(config)
    expected, found = tensors(uninterrupted), tensors(config)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected), reached
    assert records(uninterrupted) == records(config)
    for name in ("best", "model"):
        weights = [(Path(c.output) / name / "model.safetensors").read_bytes() for c in (uninterrupted, config)]
        assert weights[0] == weights[1]


def test_a_half_written_checkpoint_is_ignored_and_cleared(uninterrupted: PretrainConfig, tmp_path: Path) -> None:
    config = with_train(replace(uninterrupted, output=str(tmp_path / "run")), max_minutes=1e-6)
    run(config)
    folder = tmp_path / "run" / "checkpoints"
    (folder / ".writing-000000019").mkdir()
    (folder / ".writing-000000019" / "__0_0.distcp").write_bytes(b"half")
    run(with_train(config, max_minutes=0.0))
    assert not list(folder.glob(".*"))
    expected, found = tensors(uninterrupted), tensors(config)
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_the_logged_speed_counts_the_time_before_a_stop(corpus: Path, tmp_path: Path) -> None:
    config = with_train(pretrain_config(corpus, tmp_path / "run"), max_minutes=1e-6)
    config = replace(config, log=replace(config.log, every=2, validate_every=0))
    run(config)
    latest = Checkpoints(tmp_path / "run" / "checkpoints", 1).latest()
    assert latest is not None
    state = read_state(latest)
    assert state["update"] == 1
    assert state["clock"][0] >= state["clock"][1] > 0
    write_state(latest, state | {"clock": [1000.0, 500.0]}, state["files"])
    run(config)
    lines = map(json.loads, (tmp_path / "run" / "log.jsonl").read_text().splitlines())
    (line,) = (line for line in lines if line["kind"] == "train")
    assert line["seconds_per_second"] < 1
    assert line["wait_share"] == pytest.approx(0.5, abs=0.1)


def test_sigterm_finishes_the_update_saves_and_leaves_with_status_75(corpus: Path, tmp_path: Path) -> None:
    config = with_train(pretrain_config(corpus, tmp_path / "run"), updates=100_000)
    config = replace(config, batch=replace(config.batch, workers=1), log=replace(config.log, every=1, save_every=0))
    process = start(config, tmp_path)
    log = tmp_path / "run" / "log.jsonl"
    wait_for(lambda: log.exists() and log.read_text().count("\n") > 1, process)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 75, said
    assert "SIGTERM: stopping after this update" in said
    assert "stopped at update" in said
    latest = Checkpoints(tmp_path / "run" / "checkpoints", 1).latest()
    assert latest is not None
    assert read_state(latest)["update"] == int(latest.name) > 1
    assert (tmp_path / "run" / "model" / "model.safetensors").exists()


def test_resuming_with_another_recipe_is_refused_by_key(uninterrupted: PretrainConfig, corpus: Path) -> None:
    with pytest.raises(UserError, match=r"train\.lr = 0\.002, now it is 0\.1"):
        run(with_train(uninterrupted, lr=0.1))
    with pytest.raises(UserError, match=r"masking\.time_start"):
        run(replace(uninterrupted, masking=replace(uninterrupted.masking, time_start=0.1)))
    with pytest.raises(UserError, match="other data"):
        run(replace(uninterrupted, data=replace(uninterrupted.data, manifest=str(_longer(corpus)))))
    harmless = replace(uninterrupted, batch=replace(uninterrupted.batch, workers=1, prefetch=2))
    assert run(harmless) == Path(uninterrupted.output) / "model"


def _longer(corpus: Path) -> Path:
    from tests.train.tiny_run import write_corpus

    return write_corpus(corpus.parent / "longer", count=13)


def test_only_the_newest_checkpoints_are_kept(uninterrupted: PretrainConfig) -> None:
    folder = Path(uninterrupted.output) / "checkpoints"
    assert sorted(path.name for path in folder.iterdir()) == ["000000016", "000000020"]


def test_a_damaged_checkpoint_is_one_line(uninterrupted: PretrainConfig, tmp_path: Path) -> None:
    config = with_train(replace(uninterrupted, output=str(tmp_path / "run")), max_minutes=1e-6)
    run(config)
    latest = Checkpoints(tmp_path / "run" / "checkpoints", 1).latest()
    assert latest is not None
    for file in latest.glob("*.distcp"):
        file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(UserError, match=r"000000001: is damaged .*: copy a checkpoint back") as caught:
        run(config)
    assert "\n" not in str(caught.value)
