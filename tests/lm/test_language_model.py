"""N-gram models of every file kind beside KenLM, and what is said of files that are none."""

import contextlib
import json
import math
import random
import shutil
import subprocess

import numpy as np
import pytest
from tests.lm.transformer.tiny_lm import WORDS, language_model

from wav2vec2.errors import UserError
from wav2vec2.lm.load import InterpolatedLM, load_language_model
from wav2vec2.lm.ngram.kenlm_file import KenlmFile, try_kenlm
from wav2vec2.lm.ngram.model import NgramModel


@pytest.fixture(scope="module")
def arpa(reference_root):
    return reference_root / "ngram.o3.arpa"


@pytest.fixture(scope="module")
def ngram(arpa):
    return NgramModel.load(arpa)


def sentences(tokens, reference, count):
    """Real sentences with some words exchanged, and random ones; unknown words among them."""
    rng = random.Random(0)
    lines = [line.split() for line in (reference / "ngram.txt").read_text().splitlines()]
    words = [*(token for token in tokens if not token.startswith("<")), "ZYZZYVA", "QQQ"]
    for _ in range(count):
        sentence = list(rng.choice(lines)) if rng.random() < 0.7 else rng.choices(words, k=12)
        yield [rng.choice(["ZYZZYVA", rng.choice(words)]) if rng.random() < 0.15 else word for word in sentence]


def score(model, sentence):
    history, scores = np.array([model.start()]), []
    for word in sentence:
        found, history = model.score(history, np.array([model.index(word)]))
        scores.append(found[0])
    return [*scores, model.finish(history)[0]]


def test_scores_equal_kenlm_also_of_unknown_words(arpa, ngram, reference_root):
    kenlm_of = pytest.importorskip("flashlight.lib.text.decoder.kenlm").KenLM
    dictionary = pytest.importorskip("flashlight.lib.text.dictionary").Dictionary
    words = [*ngram.tokens, "ZYZZYVA", "QQQ"]
    index = {word: i for i, word in enumerate(words)}
    kenlm = kenlm_of(str(arpa), dictionary(words))
    for sentence in sentences(ngram.tokens, reference_root, 300):
        state, theirs = kenlm.start(False), []
        for word in sentence:
            state, found = kenlm.score(state, index[word])
            theirs.append(found)
        theirs.append(kenlm.finish(state)[1])
        np.testing.assert_allclose(score(ngram, sentence), np.array(theirs) * math.log(10), atol=2e-5)


def test_kenlm_file_scores_as_the_ngram_model(arpa, ngram, reference_root):
    pytest.importorskip("flashlight.lib.text.decoder.kenlm")
    model = KenlmFile(arpa)
    for sentence in sentences(ngram.tokens, reference_root, 100):
        np.testing.assert_allclose(score(model, sentence), score(ngram, sentence), atol=2e-5)
        model.retain(np.empty(0, np.int64))


def test_kenlm_file_keeps_what_is_retained_and_no_more(arpa):
    pytest.importorskip("flashlight.lib.text.decoder.kenlm")
    model = KenlmFile(arpa)
    word = model.index("THE")
    start, the = np.array([model.start()]), np.array([word])
    (first,), kept = model.score(start, the)
    (again,), same = model.score(start, the)
    assert (first, kept[0]) == (again, same[0])
    _, dropped = model.score(kept, the)
    expected = model.score(kept, the)[0]
    model.retain(kept)
    assert model.score(kept, the)[0] == expected
    with pytest.raises(ValueError, match="not of this model"):
        model.score(dropped, the)
    assert model.score(start, np.array([model.index("</s>")]))[0] == model.finish(start)


def test_a_binary_opens_by_its_magic(arpa, ngram, reference_root, tmp_path):
    program = shutil.which("build_binary")
    if program is None:
        pytest.skip("no KenLM build_binary on PATH to make a binary with")
    path = tmp_path / "lm.bin"
    subprocess.run([program, arpa, path], check=True, capture_output=True)
    model = load_language_model(path)
    assert isinstance(model, KenlmFile)
    assert set(model.tokens) == set(ngram.tokens)
    for sentence in sentences(ngram.tokens, reference_root, 30):
        np.testing.assert_allclose(score(model, sentence), score(ngram, sentence), atol=2e-5)


def test_an_arpa_opens_as_an_ngram_model(arpa):
    assert isinstance(load_language_model(str(arpa)), NgramModel)


def test_what_is_no_language_model_is_one_line(tmp_path):
    cut = tmp_path / "cut.bin"
    cut.write_bytes(b"mmap lm http://kheafield.com/code format version 5\n\0" + b"\0" * 100)
    text = tmp_path / "text.txt"
    text.write_text("A TEXT\n")
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text(json.dumps({"model_type": "wav2vec2"}))
    (tmp_path / "empty").mkdir()
    for path in (cut, text, tmp_path / "empty", tmp_path / "none.arpa"):
        with pytest.raises(UserError) as raised:
            load_language_model(path)
        assert str(path) in str(raised.value)
        assert "\n" not in str(raised.value)


def test_the_mixture_is_linear_in_probability() -> None:
    first, second = language_model(WORDS), language_model(WORDS[::-1][:5])
    lm = InterpolatedLM(first, second, 0.3)
    every = np.arange(len(lm.tokens))
    missing = [token for token in first.tokens if second.index(token) == second.unknown]
    ones, twos, both = np.zeros((len(every), 3), np.int64).T
    for word in ("ABBA", "THE", "DOG"):
        p_one, ones = first.score(ones, every)
        p_two, twos = second.score(twos, np.array([second.index(token) for token in lm.tokens]))
        mixed, both = lm.score(both + 0, every)
        shared = np.where([token in missing for token in lm.tokens], 1 / len(missing), 1.0)
        assert np.exp(mixed) == pytest.approx(0.7 * np.exp(p_one) + 0.3 * np.exp(p_two) * shared, rel=1e-4)
        assert np.exp(mixed.astype(float)).sum() == pytest.approx(1.0, abs=1e-4)
        here = lm.index(word)
        ones, twos, both = (np.full(len(every), handles[here]) for handles in (ones, twos, both))
    ends = np.logaddexp(np.log(0.7) + first.finish(ones[:1]), np.log(0.3) + second.finish(twos[:1]))
    assert lm.finish(both[:1]) == pytest.approx(ends, rel=1e-4)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_share_of_nothing_is_the_other_model(share: float) -> None:
    first, second = language_model(), language_model(WORDS[::-1])
    lm, chosen = InterpolatedLM(first, second, share), (second if share else first)
    tokens = np.array([lm.index(word) for word in WORDS])
    theirs = np.array([chosen.index(word) for word in WORDS])
    start = np.full(len(tokens), lm.start())
    assert lm.score(start, tokens)[0] == pytest.approx(chosen.score(start * 0, theirs)[0], rel=1e-4)


def test_handles_are_used_again() -> None:
    lm = InterpolatedLM(language_model(), language_model(), 0.5)
    random = np.random.default_rng(1)
    beam = np.full(1, lm.start())
    for _ in range(60):
        _, following = lm.score(np.repeat(beam, 40), random.integers(0, 10, 40 * len(beam)))
        beam = np.unique(following)[:6]
        lm.retain(beam)
        assert len(lm._handles) <= 7
    assert len(lm._pairs) == 1024


def test_models_that_do_not_go_together_are_one_line() -> None:
    with pytest.raises(UserError, match="must be between 0 and 1"):
        InterpolatedLM(language_model(), language_model(), 1.5)
    lower = language_model(tuple(f"word{n}" for n in range(30)))
    with pytest.raises(UserError, match="knows only 0 of the first one's 30 tokens"):
        InterpolatedLM(lower, language_model(), 0.5)


def test_a_share_outside_0_to_1_and_too_few_common_words_are_refused() -> None:
    for share in (-0.01, 1.01):
        with pytest.raises(UserError, match="must be between 0 and 1"):
            InterpolatedLM(language_model(), language_model(), share)
    first = tuple(f"w{n}" for n in range(20))
    InterpolatedLM(language_model(first), language_model((*first[:2], "x")), 0.5)  # a tenth is enough
    with pytest.raises(UserError, match="knows only 1 of the first one's 20 tokens"):
        InterpolatedLM(language_model(first), language_model((first[0], "x")), 0.5)


def test_a_search_of_any_size_mixes_the_right_histories() -> None:
    """More histories than the first thousand, in two models with different tokens, some of them forgotten."""
    first, second = language_model(WORDS), language_model(WORDS[::-1][:5])
    lm, random = InterpolatedLM(first, second, 0.25), np.random.default_rng(3)
    translate = np.array([second.index(token) for token in first.tokens])
    missing = [token for token in first.tokens if second.index(token) == second.unknown]
    penalty = np.where([token in missing for token in first.tokens], -np.log(len(missing)), 0.0)
    sentences = random.integers(2, len(lm.tokens), (600, 4))
    beam, ones, twos = np.full(600, lm.start()), np.full(600, first.start()), np.full(600, second.start())
    for place in range(4):
        words = sentences[:, place]
        found, beam = lm.score(beam, words)
        one, ones = first.score(ones, words)
        two, twos = second.score(twos, translate[words])
        expected = np.logaddexp(np.log(0.75) + one, np.log(0.25) + two + penalty[words])
        np.testing.assert_allclose(found, expected, rtol=1e-4)
        assert len(np.unique(beam)) == len(np.unique(sentences[:, : place + 1], axis=0))
        if place == 2:
            kept = np.arange(0, 600, 3)
            sentences, beam, ones, twos = sentences[kept], beam[kept], ones[kept], twos[kept]
            lm.retain(beam)
            assert len(lm._handles) == len(np.unique(beam)) + 1
    ends = np.logaddexp(np.log(0.75) + first.finish(ones), np.log(0.25) + second.finish(twos))
    np.testing.assert_allclose(lm.finish(beam), ends, rtol=1e-4)
    assert lm.unit == "words"
    assert lm.start() == lm._handle(first.start(), second.start())


def test_each_model_is_told_which_of_its_own_histories_to_keep(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = language_model(WORDS), language_model(WORDS[::-1])
    second.score(np.zeros(5, np.int64), np.arange(5))  # so that its handles are other numbers than the first one's
    lm = InterpolatedLM(first, second, 0.5)
    _, beam = lm.score(np.full(3, lm.start()), np.array([2, 8, 9]))
    told: list[tuple[str, list[int]]] = []
    for name, model in (("first", first), ("second", second)):
        monkeypatch.setattr(model, "retain", lambda kept, name=name: told.append((name, sorted(kept.tolist()))))
    lm.retain(beam[1:])
    pairs = lm._pairs[[*beam[1:].tolist(), lm.start()]]
    assert set(pairs[:, 0].tolist()) != set(pairs[:, 1].tolist())
    assert told == [("first", sorted(pairs[:, 0].tolist())), ("second", sorted(pairs[:, 1].tolist()))]


def test_a_damaged_kenlm_binary_ends_no_process_but_its_trial(arpa, tmp_path):
    program = shutil.which("build_binary")
    if program is None:
        pytest.skip("no KenLM build_binary on PATH to make a binary with")
    subprocess.run([program, arpa, tmp_path / "lm.bin"], check=True, capture_output=True)
    content = (tmp_path / "lm.bin").read_bytes()
    refused = 0
    for place in (96, 104, 112, 120, 300):  # the counts and sizes of the header
        damaged = tmp_path / f"{place}.bin"
        damaged.write_bytes(content[:place] + b"\x55" * 8 + content[place + 8 :])
        with contextlib.suppress(UserError):
            KenlmFile(damaged).score(np.array([0]), np.array([1]))
            continue
        refused += 1
    assert refused


def test_a_file_whose_trial_dies_is_refused(monkeypatch, tmp_path):
    path = tmp_path / "lm.bin"
    path.write_bytes(b"mmap lm http://kheafield.com/code format version 5\n\0" + bytes(1000))
    real = subprocess.run

    def dying(command, **options):
        return real([command[0], "-c", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"], **options)

    monkeypatch.setattr(subprocess, "run", dying)
    with pytest.raises(UserError, match="ends the process that opens it"):
        try_kenlm(str(path))
