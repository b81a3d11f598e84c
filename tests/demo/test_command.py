import numpy as np
import pytest
import soundfile

from wav2vec2.demo import command as demo
from wav2vec2.errors import UserError


@pytest.fixture
def tree(tmp_path):
    """A LibriSpeech-like tree of noise with three training speakers and one test speaker."""
    rng = np.random.default_rng(0)
    for split, speaker in (("train-a", 1), ("train-a", 2), ("train-b", 3), ("test-clean", 4)):
        chapter = tmp_path / "tree" / split / str(speaker) / "7"
        chapter.mkdir(parents=True)
        lines = []
        for number in range(6):
            name = f"{speaker}-7-{number:04d}"
            sound = rng.normal(0, 0.1, 16_000 + 1_000 * number)
            soundfile.write(chapter / f"{name}.flac", sound, 16_000)
            lines.append(f"{name} RED BOX {'AND ' * (number % 2)}LAMP\n")
        (chapter / f"{speaker}-7.trans.txt").write_text("".join(lines))
    return tmp_path / "tree"


def test_the_whole_way_on_a_folder(tree, tmp_path, capsys):
    out = tmp_path / "out"
    demo.run(demo.DemoOptions(speech=tree, out=out, pretrain_updates=2, finetune_updates=2))
    printed = capsys.readouterr().out
    assert "pre-train on train-a+train-b, without transcripts" in printed
    assert printed.count("reference     RED BOX") == 6
    assert printed.count("pre-trained   ") == 7
    assert printed.count("from scratch  ") == 7
    assert "tiny from scratch" in (out / "scratch.txt").read_text()
    assert "WER" in printed
    assert "Pre-training changed the word error rate by" in printed
    assert "same 0.3 minutes\nwith transcripts" in printed
    for model in ("pretrain", "finetune", "scratch"):
        assert (out / model / "model" / "model.safetensors").is_file()


def test_same_settings_from_scratch(tmp_path):
    options, splits = demo.DemoOptions(out=tmp_path), demo.Splits("a", "b", "c")
    one = demo.finetune_config(options, tmp_path, splits, "model")
    two = demo.finetune_config(options, tmp_path, splits, "scratch")
    assert one.train == two.train
    assert one.batch == two.batch
    assert one.regularization == two.regularization
    assert one.data == two.data


REFERENCES = {f"u{number}": "move two red boxes" for number in range(50)}


def test_a_clear_gain_is_called_one():
    wrong = dict.fromkeys(REFERENCES, "move you red")
    assert demo.verdict(REFERENCES, wrong, REFERENCES) == (
        "Pre-training lowered the word error rate by 50.0 points (95 % interval of the difference: 50.0 to 50.0)."
    )
    assert demo.verdict(REFERENCES, REFERENCES, wrong).startswith("Pre-training raised the word error rate by 50.0")


def test_a_difference_by_chance_is_called_one():
    scratch = {key: "move" if number % 2 else text for number, (key, text) in enumerate(REFERENCES.items())}
    pretrained = {key: text if number % 2 else "move" for number, (key, text) in enumerate(REFERENCES.items())}
    printed = demo.verdict(REFERENCES, scratch, pretrained)
    assert "by +0.0 points" in printed
    assert "includes zero: this may be chance" in printed


def test_an_utterance_that_only_one_model_could_read_is_not_compared():
    assert "+0.0 points" in demo.verdict(REFERENCES, {"u1": "move two red boxes"}, REFERENCES)


@pytest.mark.parametrize("transcribed", [0.0, 35.0, 40.0])
def test_transcripts_of_all_the_speech_or_none_are_refused(tmp_path, transcribed):
    with pytest.raises(UserError, match="--transcribed-minutes"):
        demo.run(demo.DemoOptions(out=tmp_path, transcribed_minutes=transcribed))


def test_a_stopped_run_is_not_finished(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text('{"kind": "stop", "reason": "done"}\n')
    assert demo._finished(tmp_path / "model") == tmp_path / "model"
    log.write_text('{"kind": "stop", "reason": "Ctrl-C"}\n')
    with pytest.raises(KeyboardInterrupt):
        demo._finished(tmp_path / "model")
