"""Two languages of other scripts, from an encoder that a double of the hub serves in the layout of XLS-R 300M."""

import json
from pathlib import Path

import huggingface_hub
import pytest
from scripts.made_up_language import write_language
from tests.hub_double import repositories
from tests.hub_double.in_process import turn_to
from tests.hub_double.server import HubDouble
from tests.run_here import run_here

from wav2vec2.adapt import command
from wav2vec2.adapt.options import AdaptOptions
from wav2vec2.adapt.plan import make_plan

ENCODER = "facebook/wav2vec2-xls-r-300m"


@pytest.mark.slow
@pytest.mark.parametrize(("language", "letters"), [("el", "αάεικ"), ("hi", "\u0915\u093e\u0947\u0964"[:3])])
def test_from_the_hub_to_a_recogniser_of_another_script(language, letters, tmp_path, monkeypatch, capsys):
    write_language(tmp_path, language, minutes=0.8, transcribed=0.55, speakers=6)
    monkeypatch.setattr("wav2vec2.pipeline.engine.run_command", run_here)
    monkeypatch.chdir(tmp_path)
    options = AdaptOptions(
        recordings="recordings",
        transcripts=Path("transcripts.csv"),
        source=ENCODER,
        out=Path("mine"),
        text=(Path("text.txt"),),
        language=language,
        updates=2,
        trials=1,
        workers=1,
        threads=1,
        device="cpu",
        set=("*:batch.workers=0",),
    )
    with HubDouble() as hub:
        hub.add(ENCODER, repositories.xls_r_300m(tmp_path / "published"))
        turn_to(hub, tmp_path / "cache", monkeypatch)
        command.run(options)
    said = capsys.readouterr().out
    assert "continued pre-training: none (0." in said  # a minute is not an hour
    symbols = set(json.loads(Path("mine/model/vocab.json").read_text(encoding="utf-8")))
    assert set(letters) <= symbols
    assert not {".", "\u0964"} & symbols
    lexicon = Path("mine/lexicon.txt").read_text(encoding="utf-8")
    assert {"el": "κόκκινα", "hi": "किताबें"}[language] in lexicon
    card = huggingface_hub.ModelCard.load("mine/README.md").data
    assert (card.language, card.license, card.base_model) == (language, "apache-2.0", ENCODER)
    assert "finetune" in [stage.name for stage in make_plan(options).plan.stages]
