import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from wav2vec2.data.prepare.examine import speaker_fraction
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
    assert "sound of train-a+train-b" in printed
    assert printed.count("reference     RED BOX") == 6
    assert printed.count("pre-trained   ") == 7
    assert printed.count("from scratch  ") == 7
    assert "from scratch, everything trained" in (out / "scratch.txt").read_text()
    assert "WER" in printed
    for model in ("pretrain", "finetune", "scratch"):
        assert (out / model / "model" / "model.safetensors").is_file()


def test_a_tree_without_a_test_split_is_divided_by_speakers(tree):
    root, percent = demo.tree_and_held_out(tree)
    assert root == tree
    shutil.rmtree(tree / "test-clean")
    shutil.rmtree(tree / "train-b")
    root, percent = demo.tree_and_held_out(tree)
    assert root == tree / "train-a"
    assert sum(100 * speaker_fraction(speaker) < percent for speaker in ("1", "2")) == 1


def test_one_speaker_cannot_be_divided(tree):
    _, percent = demo.tree_and_held_out(tree / "train-a" / "1")
    assert percent == 0.0


def test_splits_by_name():
    chosen = demo.choose_splits({"train", "unlabelled", "dev", "test"}, Path("m"))
    assert chosen == demo.Splits(raw="train+unlabelled", transcribed="train", test="test")
    chosen = demo.choose_splits({"train-a", "train-b", "dev-clean"}, Path("m"))
    assert chosen == demo.Splits(raw="train-a+train-b", transcribed="train-a+train-b", test="dev-clean")
    assert demo.choose_splits({"train", "valid"}, Path("m")).test == "valid"


@pytest.mark.parametrize("present", [{"train"}, {"test"}, {"a", "b"}])
def test_splits_that_do_not_suffice(present):
    with pytest.raises(UserError, match="needs folders train"):
        demo.choose_splits(present, Path("m"))


def test_same_settings_from_scratch(tmp_path):
    options, splits = demo.DemoOptions(out=tmp_path), demo.Splits("a", "b", "c")
    one = demo.finetune_config(options, tmp_path, splits, "model")
    two = demo.finetune_config(options, tmp_path, splits, "scratch")
    assert one.train == two.train
    assert one.batch == two.batch
    assert one.regularization == two.regularization
    assert one.data == two.data


def test_a_stopped_run_is_not_finished(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text('{"kind": "stop", "reason": "done"}\n')
    assert demo._finished(tmp_path / "model") == tmp_path / "model"
    log.write_text('{"kind": "stop", "reason": "Ctrl-C"}\n')
    with pytest.raises(KeyboardInterrupt):
        demo._finished(tmp_path / "model")
