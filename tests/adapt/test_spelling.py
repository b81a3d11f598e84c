"""What cannot be written is told before the first training, which may take a night."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.adapt.made_up_recordings import smallest, write_recordings
from tests.run_here import run_here

from wav2vec2.adapt import command
from wav2vec2.adapt.divide import TRANSCRIBED_FILE
from wav2vec2.adapt.options import AdaptOptions
from wav2vec2.adapt.plan import make_plan
from wav2vec2.adapt.spelling import spelling
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.utterance import write_manifest
from wav2vec2.errors import UserError


class Trained(Exception):
    """A training was started."""


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AdaptOptions:
    """Transcripts with numbers in digits, and the first stages done."""

    def until_training(words: list[str], **more: object) -> None:
        if words[0] in ("pretrain", "finetune"):
            raise Trained
        run_here(words, **more)

    monkeypatch.setattr("wav2vec2.pipeline.engine.run_command", until_training)
    recordings, table = write_recordings(tmp_path)
    table.write_text(table.read_text(encoding="utf-8").replace("box", "box 6"), encoding="utf-8")
    return smallest(tmp_path / "mine", recordings, table)


def test_numbers_that_cannot_be_spelled_stop_before_training(options: AdaptOptions) -> None:
    with pytest.raises(UserError, match="Greek"):
        command.run(replace(options, language="el"))


def test_what_can_be_spelled_is_said_and_what_is_set_by_hand_is_not_looked_at(
    options: AdaptOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Trained):
        command.run(replace(options, language="en"))
    said = capsys.readouterr().out
    assert "text: " in said
    assert said.index("text: ") < said.index("stages to do")
    by_hand = replace(
        options, language="el", set=(*options.set, "finetune:text.digits=keep", "finetune:text.auto=false")
    )
    assert spelling(by_hand, make_plan(by_hand)) == []


def test_numbers_of_held_out_speakers_alone_are_told(options: AdaptOptions) -> None:
    table = options.transcripts
    table.write_text(table.read_text(encoding="utf-8").replace("box 6", "box"), encoding="utf-8")
    named = replace(options, language="el")
    with pytest.raises(Trained):
        command.run(named)
    folder = make_plan(named).plan.folder("divide")
    assert not any("count as errors" in line for line in spelling(named, make_plan(named)))
    rows = [
        replace(row, text="box 6") if row.split == "test" else row for row in Manifest.open(folder / TRANSCRIBED_FILE)
    ]
    write_manifest(rows, folder / TRANSCRIBED_FILE)
    (line,) = (line for line in spelling(named, make_plan(named)) if "count as errors" in line)
    assert "num2words has no Greek" in line
