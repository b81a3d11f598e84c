"""``wav2vec2 benchmark``: what it measures is what the commands do, and its report is complete. No times are judged."""

import json
import multiprocessing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.small_models import GROUP

import wav2vec2
from wav2vec2 import cli
from wav2vec2.data.dataset import Update
from wav2vec2.data.sampler import Position
from wav2vec2.errors import UserError
from wav2vec2.model.architecture import ARCHITECTURES, Masking, Regularization
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.model.flops import PARTS
from wav2vec2.train.benchmark import turns
from wav2vec2.train.benchmark.ceiling import matmul_ceiling
from wav2vec2.train.benchmark.choice import choose
from wav2vec2.train.benchmark.ours import OurSteps, build
from wav2vec2.train.benchmark.parts import OPTIMISER, Stopwatch, time_of_parts
from wav2vec2.train.benchmark.reading import Heard, Source
from wav2vec2.train.benchmark.result import Result, Sides
from wav2vec2.train.benchmark.table import Report
from wav2vec2.train.benchmark.turns import OURS, THEIRS, Worker
from wav2vec2.train.benchmark.workload import Workload, audio_seconds, made_up_audio, padded, padding_share
from wav2vec2.train.options import BatchConfig

WORKLOAD = Workload("pretrain", GROUP)
CPU = torch.device("cpu")


def test_made_up_audio_has_the_lengths_asked_for() -> None:
    equal, ragged = (made_up_audio(5, 3.0, ragged=ragged, seed=1) for ragged in (False, True))
    assert [len(row) for row in equal] == [48_000] * 5
    assert audio_seconds(equal) == 15.0
    assert padding_share(equal) == 0.0
    assert all(32_000 <= len(row) <= 48_000 for row in ragged)
    assert 0 < padding_share(ragged) < 0.4
    waveforms, lengths = padded(ragged)
    assert waveforms.shape == (5, max(lengths))
    assert not waveforms[0, lengths[0] :].any()


def test_a_measured_step_changes_the_parameters_as_the_training_loop_does() -> None:
    steps, rows = OurSteps(WORKLOAD), made_up_audio(2, 1.0, ragged=False, seed=0)
    before = {name: value.clone() for name, value in steps.model.state_dict().items()}
    batch = steps.ready(rows, 3)
    steps.compute(batch, 3)
    other = OurSteps(WORKLOAD)
    work = other.step.prepare(Update([other.ready(rows, 3)], Position()), 3, stop=False)
    other.step.take(work, 3, 1e-5, other.window.zeros(), by_part=False)
    after = steps.model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in other.model.state_dict().items())
    assert any(not torch.equal(after[name], value) for name, value in before.items())
    assert all(p.grad is None for p in steps.model.parameters())
    masked = steps.masked(batch, 3)
    assert masked is not None
    assert len(masked) == 2
    assert all(0 < count < 49 for count in masked)


@pytest.mark.parametrize("task", ["pretrain", "finetune", "inference"])
def test_the_parts_of_a_step_are_told_apart(task: str) -> None:
    frozen = Regularization(feature_grad_mult=0.0)
    w = Workload(task, GROUP, frozen if task == "finetune" else Regularization())  # type: ignore[arg-type]
    parts = time_of_parts(OurSteps(w), made_up_audio(2, 1.0, ragged=True, seed=0), 0)
    forward = {f"{part}, forward" for part in PARTS}
    backward = {f"{part}, backward" for part in PARTS[1:] if task != "inference"}
    first = {f"{PARTS[0]}, backward"} if task == "pretrain" else set()
    assert set(parts) == forward | backward | first | ({OPTIMISER} if task != "inference" else set())
    assert all(seconds > 0 for seconds in parts.values())


def test_a_stopwatch_counts_the_last_of_marks_in_a_row() -> None:
    watch = Stopwatch(CPU)
    watch.mark("start")
    for _ in range(3):
        watch.last("backward")
    watch.mark("end")
    assert list(watch.seconds()) == ["backward", "end"]


def test_both_sides_compute_the_same(tmp_path: Path) -> None:
    w = Workload("inference", GROUP)
    wav2vec2.save(build(w), tmp_path)  # type: ignore[arg-type]
    rows = made_up_audio(1, 1.0, ragged=False, seed=0)
    ours, theirs = (Worker(side, w, tmp_path, keep=False).logits(rows) for side in (OURS, THEIRS))
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("task", ["pretrain", "finetune"])
@pytest.mark.parametrize("norm", ["group", "layer"])
def test_transformers_takes_its_steps(task: str, norm: str, tmp_path: Path) -> None:
    a = replace(GROUP, conv_norm=norm, layer_norm_first=norm == "layer", conv_bias=norm == "layer")
    w = Workload(task, a, Regularization(feature_grad_mult=0.0 if task == "finetune" else 0.1), Masking(min_spans=1))  # type: ignore[arg-type]
    wav2vec2.save(build(w), tmp_path)  # type: ignore[arg-type]
    worker = Worker(THEIRS, w, tmp_path, keep=False)
    model = worker.steps.model  # type: ignore[attr-defined]
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    turn = worker.turn(made_up_audio(2, 1.0, ragged=True, seed=0), 0, 1, 0)
    changed = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert turn.seconds > 0
    assert turn.cpu_seconds > 0
    assert any("encoder.layers.0" in name for name in changed)
    assert any("feature_extractor" in name for name in changed) == (task == "pretrain")


def test_the_ceiling_is_a_rate_of_operations() -> None:
    assert 1e8 < matmul_ceiling(CPU, half=False, seconds=0.01) < 1e14


def test_the_waiting_for_a_manifest_is_measured(corpus: Path) -> None:
    batch = BatchConfig(seconds=4.0, micro_seconds=4.0, min_seconds=0.1, max_seconds=2.0, workers=0)
    heard = Worker(OURS, WORKLOAD, None, keep=False).listen(Source(str(corpus), "", batch, None), 2)
    assert 0 < heard.waited < heard.seconds
    assert 0 < heard.audio <= heard.padded_audio


@pytest.mark.parametrize(
    ("error", "said"),
    [(MemoryError(), "wav2vec2: the device ran out of memory: lower --batch"), (UserError("a reason"), "a reason")],
)
def test_a_process_that_cannot_work_says_why(error: Exception, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(turns, "Worker", fail)
    near, far = multiprocessing.Pipe()
    turns._serve(far, OURS, WORKLOAD, None, False)
    assert near.recv() == (False, said)


def test_the_model_is_an_architecture_a_recipe_or_a_model(tmp_path: Path) -> None:
    named = choose("large", "auto", "auto", CPU, 3).workload
    assert (named.architecture, named.task, named.train.precision, named.threads) == (
        ARCHITECTURES["large"],
        "pretrain",
        "fp32",
        3,
    )
    chosen = choose("recipes/pretrain_base.toml", "auto", "auto", CPU, 1)
    assert chosen.workload.train.precision == "bf16"
    assert chosen.batch.micro_seconds == 87.5
    assert choose("recipes/pretrain_base.toml", "inference", "fp32", CPU, 1).workload.task == "inference"
    recipe = tmp_path / "finetune.toml"
    recipe.write_text('init = "scratch"\n[model]\narchitecture = "tiny"\n[freeze]\nupdates = 3\n')
    finetuned = choose(str(recipe), "auto", "auto", CPU, 1).workload
    assert (finetuned.task, finetuned.architecture.name, finetuned.frozen) == ("finetune", "tiny", True)
    wav2vec2.save(Wav2Vec2ForCTC(GROUP, 9), tmp_path / "model")
    given = choose(str(tmp_path / "model"), "auto", "auto", CPU, 1).workload
    assert given.task == "inference"
    assert given.architecture.hidden_size == GROUP.hidden_size
    with pytest.raises(UserError, match="neither a recipe"):
        choose("bass", "auto", "auto", CPU, 1)


def result(*, peer: bool, heard: Heard | None = None) -> Result:
    turns = {"wav2vec2": [(2.0, 3.0), (4.0, 6.0)]} | ({"transformers": [(6.0, 9.0), (8.0, 6.0)]} if peer else {})
    parts = {f"{part}, {way}": 1.0 for part in PARTS for way in ("forward", "backward")} | {OPTIMISER: 2.0}
    operations = [dict.fromkeys(PARTS, (1000000000.0, 2000000000.0))] * 2
    return Result(
        True, [8.0, 8.0], [[64_000] * 2] * 2, 1, Sides(turns, {"wav2vec2": 2**30, "transformers": 2**31}), 1e10, parts,
        operations, heard,
    )  # fmt: skip


def test_the_report_says_what_was_measured() -> None:
    machine = {"device": "a processor", "threads": 2, "torch": "2.13.0", "transformers": "5.0"}
    one = result(peer=True, heard=Heard(10.0, 0.5, 9.0, 10.0))
    assert one.speed() == 3.0
    assert one.sides.ratio(0) == 2.5
    assert one.sides.ratio(1) == 2.0
    assert one.padding == 0.0
    text = Report("tiny", 2_400_000, WORKLOAD, machine, [one]).text()
    for expected in (
        "2 x 4 s a step (speech), float32, a processor, 2 threads, torch 2.13.0",
        "3 seconds of audio a second",
        "1.1 GFLOP for a second of audio, so 3 GFLOP/s are used",  # 2 batches x 9 GFLOP in 16 s
        "34 % of 10 GFLOP/s",
        "1.00 GiB",
        "5.0 % of the time, at 0.9 seconds of audio a second",
        "optimiser               25.0 %",
        "2.50x",
        "2048 MiB",
    ):
        assert expected in text
    written = json.loads(Report("tiny", 2_400_000, WORKLOAD, machine, [one]).json())
    assert written["results"][0]["audio_seconds_per_second"] == pytest.approx({"wav2vec2": 3.0, "transformers": 7 / 6})


def test_the_command_measures_a_recipe_in_its_own_process(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe, written = tmp_path / "small.toml", tmp_path / "out.json"
    recipe.write_text('[model]\narchitecture = "tiny"\nlayers = 1\nhidden_size = 32\nffn_size = 32\nheads = 2\n')
    line = f"benchmark {recipe} --seconds 1 --batch 2 --ragged --rounds 1 --warmup 0 --peer none --json {written}"
    assert cli.main(line.split()) == 0
    shown = capsys.readouterr().out
    assert "of the ceiling" in shown
    assert "context network" in shown
    assert "transformers" not in shown
    (one,) = json.loads(written.read_text())["results"]
    assert one["keeps_freed_memory"] in (True, False)
    assert one["flops_per_second"] > 0


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("base --seconds 0.01", "too short"),
        ("no/such/model", "neither a recipe"),
        ("tiny --device cuda:9", "--device"),
        ("tiny --manifest no/such.parquet", "no/such.parquet"),
    ],
)
def test_a_wrong_argument_is_one_line(line: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["benchmark", *line.split()]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
