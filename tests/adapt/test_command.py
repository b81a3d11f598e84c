"""From a folder and a table to a recogniser: stages, what is written, and that the same line goes on after a kill."""

import json
import os
import shutil
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file
from tests.adapt.made_up_recordings import smallest, write_recordings
from tests.hub_double import repositories
from tests.hub_double.in_process import turn_to
from tests.hub_double.server import HubDouble
from tests.run_here import run_here

from wav2vec2 import Transcriber, cli
from wav2vec2.adapt import command
from wav2vec2.adapt.plan import make_plan
from wav2vec2.errors import UserError
from wav2vec2.pipeline.engine import Engine


@pytest.mark.slow  # needs a complete run, as do the others that are marked
def test_the_folder_is_a_recogniser_with_its_preset(finished, capsys):
    out = finished.out
    assert {path.name for path in out.iterdir()} >= {"model", "lm.arpa", "lexicon.txt", "README.md", "report", "work"}
    # whether this noise is recognised better with the language model is chance: with it, there is a preset
    recording = str(next(Path(finished.recordings).rglob("*.wav")))
    assert cli.main(["transcribe", recording, "--model", str(out)]) == 0
    captured = capsys.readouterr()
    assert ("preset.toml: used" in captured.err) == (out / "preset.toml").exists()
    with Transcriber(out) as transcriber:
        assert (transcriber.search.decoder is not None) == (out / "preset.toml").exists()
        words = set((out / "lexicon.txt").read_text(encoding="utf-8").split())
        assert set(transcriber(recording).text.split()) <= words or not (out / "preset.toml").exists()
        assert transcriber.vocabulary.normalize("Red BOX.") == "red box"
    with Transcriber(out, lm="none") as transcriber:
        assert transcriber.search.decoder is None


@pytest.mark.slow
def test_the_card_is_one_that_the_hub_reads(finished):
    """huggingface_hub parses the header, and finds licence, task and error rates in it."""
    card = huggingface_hub.ModelCard.load(finished.out / "README.md")
    assert card.data.license == "unknown"
    assert card.data.pipeline_tag == "automatic-speech-recognition"
    rates = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert set(rates) == {"wer", "cer"}
    assert f"{rates['cer']:.1f} %" in card.text
    assert "wav2vec2 finetune" in card.text
    report = (finished.out / "report/report.md").read_text(encoding="utf-8")
    assert "Error rates" in report
    assert "pre-training: 3 updates" in report


@pytest.mark.slow
def test_transcribed_recordings_are_not_pretrained_on_and_no_speaker_is_in_two_parts(finished):
    from wav2vec2.data.manifest import Manifest

    folder = make_plan(finished).plan.folder("divide")
    transcribed, rest = (Manifest.open(folder / f"{name}.parquet") for name in ("transcribed", "untranscribed"))
    parts = {}
    for row in transcribed:
        parts.setdefault(row.split, set()).add(row.speaker)
    assert sorted(parts) == ["test", "train", "valid"]
    assert sum(map(len, parts.values())) == len(set().union(*parts.values())) == 6
    assert {row.speaker for row in rest} == {"speaker6", "speaker7"}
    assert all(row.text is None for row in rest)


@pytest.mark.slow
def test_the_same_line_does_nothing_twice_and_a_dry_run_shows_what_was_run(finished, monkeypatch, capsys):
    monkeypatch.setattr("wav2vec2.pipeline.engine.run_command", lambda *_, **__: pytest.fail("nothing is left to do"))
    command.run(finished)
    assert "0 of 9 stages to do" in capsys.readouterr().out
    command.run(replace(finished, dry_run=True))
    shown = capsys.readouterr().out
    assert shown.count("(done)") == 9
    assert "<" not in shown
    assert "--train.updates 4" in shown


@pytest.mark.slow
def test_a_round_of_self_training_that_is_asked_for_later_keeps_the_recogniser(finished, tmp_path, monkeypatch):
    later = replace(finished, out=tmp_path / "later", self_training=1)
    shutil.copytree(finished.out, later.out)
    monkeypatch.setattr("wav2vec2.pipeline.engine.run_command", run_here)
    Engine(make_plan(later).plan).run(make_plan(later).plan.needed(["choose"]))
    left = [stage.name for stage in make_plan(later).plan.needed(make_plan(later).goals)]
    assert left == ["pseudo-1", "finetune-self-1", "recogniser-1", "tune-1", "evaluate"]


@pytest.mark.slow
def test_a_round_that_keeps_no_label_is_the_last_and_trains_nothing(finished, tmp_path, monkeypatch, capsys):
    options = replace(finished, out=tmp_path / "taught", self_training=2)
    shutil.copytree(finished.out, options.out)
    ran = []

    def nothing_is_spoken(words, **more):
        ran.append(words[0])
        run_here([*words, "--min-rate", "1000", "--max-rate", "2000"] if words[0] == "pseudo-label" else words, **more)

    monkeypatch.setattr("wav2vec2.pipeline.engine.run_command", nothing_is_spoken)
    command.run(options)
    assert "pseudo-1: no label was good enough, so the recogniser stays as it is" in capsys.readouterr().out
    assert ran.count("pseudo-label") == 1
    assert "finetune" not in ran
    weights = [load_file(one.out / "model/model.safetensors") for one in (options, finished)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[1])
    ran.clear()
    command.run(options)
    assert not ran


def test_a_dry_run_of_nothing_writes_nothing(tmp_path, capsys):
    options = smallest(tmp_path / "out", *write_recordings(tmp_path), dry_run=True, self_training=1)
    command.run(options)
    shown = capsys.readouterr().out
    assert not options.out.exists()
    assert "--train.updates '<updates of choose>'" in shown
    for name in ("prepare", "divide", "choose", "pretrain", "finetune", "lm", "tune", "pseudo-1", "evaluate"):
        assert f"{name} (to do)" in shown


@pytest.mark.slow
def test_killed_in_each_stage_the_same_line_ends_with_equal_results(finished, tmp_path):
    """A fork stands for the whole program: its commands run in it, and SIGKILL leaves no time to tidy up."""
    options = replace(finished, out=tmp_path / "killed")
    names = [stage.name for stage in make_plan(finished).plan.stages]
    for kill_in in [*names, ""]:
        child = os.fork()
        if child == 0:
            _run_and_die(options, kill_in)
        status = os.waitpid(child, 0)[1]
        assert os.WIFSIGNALED(status) if kill_in else status == 0
    assert not list(options.out.rglob("*.partial"))
    ours, theirs = (make_plan(one).plan for one in (options, finished))
    for name, file in (("evaluate", "hypotheses.tsv"), ("lm", "lm.arpa"), ("divide", "train.txt")):
        assert (ours.folder(name) / file).read_bytes() == (theirs.folder(name) / file).read_bytes()
    weights, expected = (load_file(one.out / "model/model.safetensors") for one in (options, finished))
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


def _run_and_die(options, kill_in: str) -> None:
    """Run, and be killed a moment after the stage `kill_in` has begun, or right after it if it takes less."""

    def run(words, **more):
        name = Path(words[[*words].index("--out" if "--out" in words else "--output") + 1])
        folder = next(part for part in (name, *name.parents) if part.parent.name == "work")
        dies = folder.name.rpartition("-")[0] == kill_in
        if dies:
            threading.Timer(0.06, os.kill, (os.getpid(), signal.SIGKILL)).start()
        run_here(words, **more)
        if dies:
            time.sleep(60)

    status = 1
    try:
        import wav2vec2.pipeline.engine

        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        wav2vec2.pipeline.engine.run_command = run
        command.run(options)
        status = 0
    finally:
        os._exit(status)


def test_mistakes_are_told_in_one_line(tmp_path):
    recordings, table = write_recordings(tmp_path)
    options = smallest(tmp_path / "out", recordings, table)
    for changes, message in (
        ({"source": ""}, "--from is not given"),
        ({"source": str(tmp_path / "none")}, r"--from .*none: no such model; give the folder of a model"),
        ({"recordings": str(tmp_path / "none")}, "no such folder or manifest"),
        ({"transcripts": tmp_path / "none.csv"}, "no such file; give a table"),
        ({"transcripts": None}, "has recordings but no transcripts"),
        ({"text": (tmp_path / "none.txt",)}, "no such file; give a text file"),
        ({"updates": -1}, "--updates -1: must be at least 0"),
        ({"hours": -1.0}, "--hours -1: must be at least 0"),
        ({"trials": 0}, "--trials 0"),
        ({"set": ("x",)}, "write STAGE:KEY=VALUE"),
    ):
        with pytest.raises(UserError, match=message):
            make_plan(replace(options, **changes))


def test_an_encoder_that_cannot_be_used_is_told_before_anything_is_prepared(tmp_path, monkeypatch):
    monkeypatch.setattr("wav2vec2.pipeline.engine.run_command", lambda *_, **__: pytest.fail("nothing is to run"))
    wavlm = repositories.xls_r_300m(tmp_path / "wavlm")
    config = json.loads((wavlm / "config.json").read_text())
    (wavlm / "config.json").write_text(json.dumps(config | {"model_type": "wavlm"}))
    options = smallest(tmp_path / "out", *write_recordings(tmp_path))
    with HubDouble() as hub:
        hub.add("somebody/wavlm", wavlm)
        turn_to(hub, tmp_path / "cache", monkeypatch)
        for source, message in (
            ("somebody/none", "somebody/none: neither a local path nor a model on the hub"),
            ("somebody/wavlm", "is WavLM"),
            (str(wavlm), "is WavLM"),
        ):
            with pytest.raises(UserError, match=message):
                command.run(replace(options, source=source))
