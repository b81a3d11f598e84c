"""New recordings in the folder are noticed, told and prepared; the earlier results stay."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile
from tests.adapt.made_up_recordings import smallest, write_recordings
from tests.run_here import run_here

from wav2vec2.adapt import command
from wav2vec2.adapt.listing import Listing, list_folder, read_listing
from wav2vec2.adapt.options import AdaptOptions
from wav2vec2.adapt.plan import CHOOSE, Adaptation, make_plan
from wav2vec2.data.manifest import Manifest
from wav2vec2.pipeline.engine import Engine


def chosen(options: AdaptOptions) -> Adaptation:
    """The first stages, run here."""
    adaptation = make_plan(options)
    Engine(adaptation.plan).run(adaptation.plan.needed([CHOOSE]))
    adaptation.remember()
    return adaptation


def test_new_recordings_are_prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr("wav2vec2.pipeline.engine.run_command", run_here)
    recordings, table = write_recordings(tmp_path)
    options = smallest(recordings / "mine", recordings, table)  # the results lie among the recordings
    first = chosen(options).plan
    assert make_plan(options).plan.done(CHOOSE)
    for name in ("x", "y", "z"):
        soundfile.write(recordings / "speaker7" / f"{name}.wav", [0.1] * 20_000, 16_000)
    (recordings / "notes.txt").write_text("no recording")
    capsys.readouterr()
    command.run(replace(options, dry_run=True))
    said = capsys.readouterr().out
    assert f"{recordings}: 3 new recordings since: will be prepared, and what follows is done again" in said
    for name in ("prepare", "divide", "choose"):
        assert f"{name} (to do)" in said
    assert f"--reuse {options.out}/work" in said
    again = chosen(options).plan
    said = capsys.readouterr().out
    assert "not decoded again: 24 of 27 files" in said
    command.run(replace(options, dry_run=True))
    assert "--reuse" not in capsys.readouterr().out  # what has been done is shown as it would be done afresh
    assert len(Manifest.open(again.result("prepare"))) == 3 + len(Manifest.open(first.result("prepare")))
    assert first.result("prepare").exists()
    assert make_plan(options).news() == ""
    for name in ("x", "y", "z"):
        (recordings / "speaker7" / f"{name}.wav").unlink()
    assert make_plan(options).plan.folder("choose") == first.folder("choose")  # as before: its results are used


def test_what_changed_is_told_in_words(tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav", "c.wav", "text.tsv"):
        (tmp_path / name).write_text("x")
    before = list_folder(tmp_path, audio_only=False, without=tmp_path / "out")
    before.write(tmp_path / "out")
    assert read_listing(tmp_path / "out") == before
    assert list_folder(tmp_path, audio_only=False, without=tmp_path / "out").digest == before.digest
    (tmp_path / "a.wav").unlink()
    (tmp_path / "b.wav").write_text("xy")
    os.utime(tmp_path / "c.wav", ns=(1, 1))
    (tmp_path / "d.WAV").write_text("x")
    (tmp_path / "more.tsv").write_text("x")
    (tmp_path / ".hidden").write_text("x")
    (tmp_path / "Thumbs.db").write_text("x")
    (tmp_path / "lost.wav").symlink_to(tmp_path / "nowhere.wav")
    now = list_folder(tmp_path, audio_only=False, without=tmp_path / "out")
    assert now.news(before) == "1 new recording, 1 new file, 2 files changed, 1 file gone"
    assert list_folder(tmp_path, audio_only=True, without=tmp_path / "out").files.keys() == {"b.wav", "c.wav", "d.WAV"}
    assert now.news(now) == ""
    (tmp_path / "out/listing.json").write_text("[1")
    assert read_listing(tmp_path / "out") is None
    assert Listing({}).digest != now.digest
