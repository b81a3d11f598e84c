import random
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from wav2vec2.data.prepare.examine import speaker_fraction
from wav2vec2.demo.speech import PHRASES, Splits, choose_splits, phrase, speakers, synthesize, tree_and_held_out
from wav2vec2.errors import UserError

pytest.importorskip("espeakng_loader")

MINUTES = {"unlabelled": 0.2, "train": 0.2, "test": 0.1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("speech")
    synthesize(folder, MINUTES, processes=1)
    return folder


def test_speakers_and_voices_are_of_one_split():
    cast = speakers()
    assert len({s.name for s in cast}) == len(cast)
    assert len({s.voice.split("+")[1] for s in cast}) == len(cast)
    assert {s.split for s in cast} | {"unlabelled"} == set(PHRASES)


def test_phrases_follow_the_grammar():
    rng = random.Random(1)
    words = {word for _ in range(500) for word in phrase(rng).split()}
    assert all(word.isalpha() and word.islower() for word in words)
    assert 30 <= len(words) <= 60


def test_tree_is_librispeech_like(folder):
    for transcript in folder.glob("*/*/*/*.trans.txt"):
        split, speaker, chapter = transcript.parent.relative_to(folder).parts
        assert split in PHRASES
        assert transcript.name == f"{speaker}-{chapter}.trans.txt"
        names = [line.split()[0] for line in transcript.read_text().splitlines()]
        assert names == sorted(path.stem for path in transcript.parent.glob("*.flac"))
        assert names
    assert len({path.name for path in folder.glob("*/*")}) == len(speakers())


def test_speech_is_audible(folder):
    for path in folder.glob("*/*/*/*.flac"):
        samples, rate = soundfile.read(path)
        assert rate == 16_000
        assert 0.2 < len(samples) / rate < 16.0
        assert 0.65 < np.abs(samples).max() <= 0.71
        assert np.sqrt(np.mean(samples**2)) > 0.02


def test_the_same_files_again(folder, tmp_path):
    synthesize(tmp_path, MINUTES, processes=2)
    for path in folder.rglob("*.*"):
        assert path.read_bytes() == (tmp_path / path.relative_to(folder)).read_bytes()


def test_voices_differ(folder):
    first = [min(folder.glob(f"train/{name}/1/*.flac")) for name in ("1000", "1001", "1002")]
    lengths = [soundfile.info(path).frames for path in first]
    assert all(a != b for a, b in pairwise(lengths))


def empty_recordings(folder, splits):
    """A LibriSpeech-like tree with one silent utterance of each speaker of each split."""
    for split, speakers_of_split in splits.items():
        for speaker in speakers_of_split:
            chapter = folder / split / speaker / "7"
            chapter.mkdir(parents=True)
            soundfile.write(chapter / f"{speaker}-7-0000.flac", np.zeros(1_600), 16_000)
            (chapter / f"{speaker}-7.trans.txt").write_text(f"{speaker}-7-0000 RED BOX\n")
    return folder


def test_a_tree_without_a_test_split_is_divided_by_speakers(tmp_path):
    tree = empty_recordings(tmp_path, {"train-a": "12", "train-b": "3", "test-clean": "4"})
    root, percent = tree_and_held_out(tree)
    assert root == tree
    shutil.rmtree(tree / "test-clean")
    shutil.rmtree(tree / "train-b")
    root, percent = tree_and_held_out(tree)
    assert root == tree / "train-a"
    assert sum(100 * speaker_fraction(speaker) < percent for speaker in ("1", "2")) == 1


def test_one_speaker_cannot_be_divided(tmp_path):
    tree = empty_recordings(tmp_path, {"train-a": "1"})
    _, percent = tree_and_held_out(tree / "train-a" / "1")
    assert percent == 0.0


def test_splits_by_name():
    chosen = choose_splits({"train", "unlabelled", "dev", "test"}, Path("m"))
    assert chosen == Splits(raw="train+unlabelled", transcribed="train", test="test")
    chosen = choose_splits({"train-a", "train-b", "dev-clean"}, Path("m"))
    assert chosen == Splits(raw="train-a+train-b", transcribed="train-a+train-b", test="dev-clean")
    assert choose_splits({"train", "valid"}, Path("m")).test == "valid"


@pytest.mark.parametrize("present", [{"train"}, {"test"}, {"a", "b"}])
def test_splits_that_do_not_suffice(present):
    with pytest.raises(UserError, match="needs folders train"):
        choose_splits(present, Path("m"))
