import random
from itertools import pairwise

import numpy as np
import pytest
import soundfile

from wav2vec2.demo.speech import SHARES, phrase, speakers, synthesize

pytest.importorskip("espeakng_loader")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("speech")
    synthesize(folder, minutes=0.5, processes=1)
    return folder


def test_speakers_and_voices_are_of_one_split():
    cast = speakers()
    assert len({s.name for s in cast}) == len(cast)
    assert len({s.voice.split("+")[1] for s in cast}) == len(cast)
    assert {s.split for s in cast} | {"unlabelled"} == set(SHARES)


def test_phrases_follow_the_grammar():
    rng = random.Random(1)
    words = {word for _ in range(500) for word in phrase(rng).split()}
    assert all(word.isalpha() and word.islower() for word in words)
    assert 30 <= len(words) <= 60


def test_tree_is_librispeech_like(folder):
    for transcript in folder.glob("*/*/*/*.trans.txt"):
        split, speaker, chapter = transcript.parent.relative_to(folder).parts
        assert split in SHARES
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
    synthesize(tmp_path, minutes=0.5, processes=2)
    for path in folder.rglob("*.*"):
        assert path.read_bytes() == (tmp_path / path.relative_to(folder)).read_bytes()


def test_voices_differ(folder):
    first = [min(folder.glob(f"train/{name}/1/*.flac")) for name in ("1000", "1001", "1002")]
    lengths = [soundfile.info(path).frames for path in first]
    assert all(a != b for a, b in pairwise(lengths))
