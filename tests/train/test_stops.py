"""A run that is stopped by a signal, wherever that is, ends as one that is not stopped: log, best, weights."""

import errno
import json
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.train.tiny_run import logged, pretrain_config, with_train

from wav2vec2.errors import Stopped, UserError
from wav2vec2.train.best import MARK_FILE
from wav2vec2.train.checkpoint.folder import Checkpoints
from wav2vec2.train.pretrain.command import PretrainConfig, run
from wav2vec2.train.pretrain.objective import ContrastiveObjective
from wav2vec2.train.step import Step

pytestmark = pytest.mark.slow

CLOCK = ("time", "seconds_per_second", "wait_share", "save_seconds")
UPDATES = 16


def ask() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def outcome(config: PretrainConfig) -> tuple[list[dict[str, Any]], bytes, bytes]:
    """Log lines without clocks and stops, best weights, and the model that the run gives."""
    lines = map(json.loads, (Path(config.output) / "log.jsonl").read_text().splitlines())
    kept = [{k: v for k, v in record.items() if k not in CLOCK} for record in lines if record["kind"] != "stop"]
    best, model = ((Path(config.output) / name / "model.safetensors").read_bytes() for name in ("best", "model"))
    return kept, best, model


@pytest.fixture(scope="module")
def undisturbed(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> PretrainConfig:
    """Sixteen updates with validations after every fourth, each the best so far."""
    config = with_train(
        pretrain_config(corpus, tmp_path_factory.mktemp("undisturbed") / "run"), updates=UPDATES, lr=2e-2
    )
    config = replace(config, log=replace(config.log, every=2, validate_every=4, save_every=5))
    config = replace(config, batch=replace(config.batch, seconds=0.7, micro_seconds=0.7, max_seconds=0.35))
    run(config)
    scores = [record["score"] for record in logged(config.output, "validation")]
    assert len(scores) == 4
    assert scores == sorted(scores, reverse=True)
    return config


def lives(config: PretrainConfig) -> int:
    """Run until the end, as a launcher does; returns how often it was started."""
    started = 1
    while True:
        try:
            run(config)
            return started
        except Stopped:
            started += 1


def during_update(monkeypatch: pytest.MonkeyPatch, places: set[int]) -> None:
    take = Step.take

    def asked(self: Any, work: Any, number: int, *given: Any, **named: Any) -> Any:
        if number in places:
            places.remove(number)
            ask()
        return take(self, work, number, *given, **named)

    monkeypatch.setattr(Step, "take", asked)


def during_validation(monkeypatch: pytest.MonkeyPatch, places: set[int]) -> None:
    validate, seen = ContrastiveObjective.validate, [0]

    def asked(self: Any, module: Any) -> Any:
        seen[0] += 1
        if seen[0] in places:
            ask()
        return validate(self, module)

    monkeypatch.setattr(ContrastiveObjective, "validate", asked)


@pytest.mark.parametrize(
    ("when", "places", "starts"),
    [(during_update, set(range(UPDATES)), UPDATES + 1), (during_validation, {1, 2, 3, 4}, 4)],
)
def test_a_run_that_is_stopped_at_every_place_is_the_undisturbed_one(
    when: Callable[..., None],
    places: set[int],
    starts: int,
    undisturbed: PretrainConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = replace(undisturbed, output=str(tmp_path / "run"))
    when(monkeypatch, places)
    assert lives(config) == starts
    assert outcome(config) == outcome(undisturbed)


def test_a_limit_of_time_is_no_failure_and_loses_no_validation_either(
    undisturbed: PretrainConfig, tmp_path: Path
) -> None:
    config = replace(undisturbed, output=str(tmp_path / "run"))
    config = with_train(config, updates=4)
    run(config)
    short = with_train(replace(config, output=str(tmp_path / "short")), max_minutes=1e-9)
    for number in range(1, 5):
        run(short)
        assert logged(short.output, "stop")[-1]["update"] == number
    run(short)
    assert logged(short.output, "stop")[-1]["reason"] == "done"
    assert outcome(short) == outcome(config)


def test_weights_of_a_validation_that_no_checkpoint_knows_are_not_taken_for_the_best(
    undisturbed: PretrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = replace(undisturbed, output=str(tmp_path / "run"))
    during_update(monkeypatch, {13})
    with pytest.raises(Stopped):
        run(config)
    newest = Checkpoints(tmp_path / "run" / "checkpoints", 2).latest()
    assert newest is not None
    assert newest.name == "000000014"
    (newest / "__0_0.distcp").write_bytes(b"")
    during_update(monkeypatch, {10})
    with pytest.raises(Stopped):
        run(config)
    out = capsys.readouterr().out
    assert "set aside as damaged-000000014, going on from" in out
    assert json.loads((tmp_path / "run" / "best" / MARK_FILE).read_text()) == {"update": 12}
    assert f"model: {tmp_path / 'run' / 'model'} (update 11)" in out  # the best of update 12 is yet to come again
    run(config)
    assert outcome(config) == outcome(undisturbed)


def test_files_that_are_all_bad_are_skipped_and_counted_until_there_are_too_many(
    undisturbed: PretrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config, gone = with_train(replace(undisturbed, output=str(tmp_path / "run")), updates=10, max_skips=3), {2, 5, 6}
    prepare = Step.prepare

    def without(self: Any, update: Any, number: int, stop: bool) -> Any:
        work = prepare(self, update, number, stop)
        return replace(work, held=0.0) if number in gone else work

    monkeypatch.setattr(Step, "prepare", without)
    run(config)
    assert [record["skipped"] for record in logged(config.output)] == [0, 1, 1, 1, 0]
    assert "update 6 skipped: no recording of it could be read (2 in a row)" in capsys.readouterr().out
    gone |= {7, 8}
    again = replace(config, output=str(tmp_path / "again"))
    with pytest.raises(UserError, match=r"no recording of update 7 could be read, 3 updates skipped in a row"):
        run(again)
    # the drive is back: the recordings that could not be read are tried again
    gone.clear()
    gone.add(2)
    run(again)
    assert [record["skipped"] for record in logged(again.output)] == [0, 1, 0, 0, 0]


def test_a_model_that_cannot_be_written_at_the_end_leaves_the_old_one_whole_and_the_same_command_ends_well(
    undisturbed: PretrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(undisturbed, output=str(tmp_path / "run"))
    shutil.copytree(undisturbed.output, config.output)
    old = Path(config.output) / "model/model.safetensors"
    old.write_bytes(b"of an earlier stop")
    copyfile = shutil.copyfile

    def full(source: Path, target: Path) -> None:
        with open(target, "wb") as file:
            file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(UserError, match=r"model.safetensors: .*no space left.*run the same command again"):
        run(config)
    assert old.read_bytes() == b"of an earlier stop"
    monkeypatch.setattr(shutil, "copyfile", copyfile)
    run(config)
    assert outcome(config) == outcome(undisturbed)
