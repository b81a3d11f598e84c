import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.lm.transformer.tiny_lm import WORDS, language_model

from wav2vec2.errors import UserError
from wav2vec2.lm.transformer.model import TransformerLM

SENTENCES = st.lists(st.lists(st.integers(0, len(WORDS) + 1), max_size=9), min_size=1, max_size=8)


def uncached(lm: TransformerLM, sentence: list[int]) -> float:
    """ln P of a sentence in one forward pass over the whole of it."""
    tokens = torch.tensor([[0, *sentence, 0]])
    with torch.no_grad():
        return -float(lm.network(tokens, torch.tensor([len(sentence) + 1])).double().sum())


@given(sentences=SENTENCES, seed=st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_cached_equals_uncached(sentences: list[list[int]], seed: int) -> None:
    """Sentences advance in random turns, so that batches mix depths; histories are forgotten on the way."""
    lm, random = language_model(), np.random.default_rng(seed)
    places, totals = [0] * len(sentences), np.zeros(len(sentences))
    histories = np.full(len(sentences), lm.start())
    while any(place < len(sentence) for place, sentence in zip(places, sentences, strict=True)):
        going = [i for i, s in enumerate(sentences) if places[i] < len(s) and random.random() < 0.6]
        scores, following = lm.score(histories[going], np.array([sentences[i][places[i]] for i in going], np.int64))
        totals[going] += scores
        histories[going] = following
        for i in going:
            places[i] += 1
        lm._collected = -4096  # collect at every call
        lm.retain(histories)
    totals += lm.finish(histories)
    expected = [uncached(lm, sentence) for sentence in sentences]
    assert totals == pytest.approx(expected, abs=1e-5 * max(1.0, *(abs(e) for e in expected)))


def test_probabilities_of_all_words_sum_to_one_after_any_history() -> None:
    lm = language_model()
    every = np.arange(len(lm.tokens))
    history = np.full(len(every), lm.start())
    for word in ("CAT", "nowhere", "SAT"):
        scores, following = lm.score(history, every)
        assert np.exp(scores.astype(float)).sum() == pytest.approx(1.0, abs=1e-5)
        history = np.full(len(every), following[lm.index(word)])
    assert lm.index("nowhere") == lm.unknown


def test_equal_histories_are_one_and_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    lm = language_model()
    _, one = lm.score(np.array([0, 0, 0]), np.array([3, 4, 3]))
    assert one[0] == one[2] != one[1]
    sizes = []
    extend = lm.network.extend
    monkeypatch.setattr(lm.network, "extend", lambda *a: (sizes.append(len(a[0])), extend(*a))[1])
    lm.score(one[[0, 0, 0, 1]], np.array([2, 3, 4, 5]))
    lm.score(one[[0, 1]], np.array([6, 7]))
    assert sizes == [2]


def test_memory_stays_bounded_over_a_long_search() -> None:
    lm, random = language_model(), np.random.default_rng(0)
    beam = np.full(1, lm.start())
    computed = states = nodes = 0
    for frame in range(250):
        histories, tokens = np.repeat(beam, 30), random.integers(0, 10, 30 * len(beam))
        scores, following = lm.score(histories, tokens)
        beam = np.unique(following[np.argsort(-scores)[:120:10]])
        computed += len(beam)
        if frame % 10 == 9:
            beam = np.full(1, lm.start())  # the next utterance
        lm.retain(beam)
        states, nodes = max(states, lm.states), max(nodes, len(lm._tree))
    assert computed > 2000
    assert states <= 1024
    assert nodes < 5000
    lm.forget()
    assert lm.states == 0


def test_no_pairs_give_no_scores() -> None:
    lm = language_model()
    scores, following = lm.score(np.zeros(0, np.int64), np.zeros(0, np.int64))
    assert len(scores) == len(following) == len(lm.finish(np.zeros(0, np.int64))) == 0


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    language_model().save(tmp_path / "lm")
    return tmp_path / "lm"


def test_a_saved_model_is_the_same(saved: Path) -> None:
    lm = TransformerLM.load(saved)
    assert (lm.tokens, lm.unit) == (language_model().tokens, "words")
    assert uncached(lm, [2, 5, 3]) == uncached(language_model(), [2, 5, 3])
    assert sorted(file.name for file in saved.iterdir()) == ["config.json", "model.safetensors", "tokens.txt"]


def test_broken_directories_are_one_line(saved: Path) -> None:
    def said(directory: Path) -> str:
        with pytest.raises(UserError) as caught:
            TransformerLM.load(directory)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "no such language model" in said(saved / "nowhere")
    config, tokens, weights = ((saved / n) for n in ("config.json", "tokens.txt", "model.safetensors"))
    whole = {file: file.read_bytes() for file in (config, tokens, weights)}
    weights.write_bytes(whole[weights][:-100])
    assert "cut short" in said(saved)
    weights.write_bytes(whole[weights])
    tokens.write_text("</s>\n<unk>\nTHE\n")
    assert "3 tokens, the model 10" in said(saved)
    tokens.write_text("</s>\n<unk>\nTHE\nTHE\n")
    assert "has 'THE' twice" in said(saved)
    tokens.unlink()
    assert "tokens.txt" in said(saved)
    tokens.write_bytes(whole[tokens])
    changed = json.loads(whole[config])
    changed["sizes"]["layers"] = 2
    config.write_text(json.dumps(changed))
    assert "does not fit" in said(saved)
    config.write_text(json.dumps({"model_type": "wav2vec2"}))
    assert "not a language model" in said(saved)
    config.write_text("{")
    assert "damaged" in said(saved)
    config.unlink()
    assert "has no config.json" in said(saved)
