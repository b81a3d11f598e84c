import math
from collections.abc import Sequence

import numpy as np
import pytest
from tests.lm.transformer.tiny_lm import WORDS, language_model

from wav2vec2.lm import perplexity
from wav2vec2.lm.perplexity import Perplexity, measure_perplexity


def test_many_sentences_of_any_length_count_as_each_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perplexity, "_BATCH", 7)
    random = np.random.default_rng(0)
    model = language_model()
    words = [*WORDS, "nowhere", "never"]
    sentences = [random.choice(words, random.integers(0, 9)).tolist() for _ in range(40)]
    found = measure_perplexity(model, sentences)

    def alone(sentence: Sequence[str]) -> tuple[float, float]:
        total, lost, history = 0.0, 0.0, np.array([model.start()])
        for word in sentence:
            token = model.index(word)
            scores, history = model.score(history, np.array([token]))
            total += float(scores[0])
            lost += float(scores[0]) if token == model.unknown else 0.0
        return total + float(model.finish(history)[0]), lost

    totals = np.array([alone(sentence) for sentence in sentences]).sum(0)
    assert (found.sentences, found.words, found.tokens) == (40, sum(map(len, sentences)), sum(map(len, sentences)))
    assert found.unknown == sum(word in ("nowhere", "never") for sentence in sentences for word in sentence)
    assert found.log_probability == pytest.approx(totals[0], rel=1e-5)
    assert found.unknown_log_probability == pytest.approx(totals[1], rel=1e-5)


def test_perplexities_by_hand() -> None:
    found = Perplexity(2, 5, 8, 3, -30.0, -12.0)
    assert found.with_unknown == pytest.approx(math.exp(30 / 10))
    assert found.without_unknown == pytest.approx(math.exp(18 / 7))
    assert found.per_word == pytest.approx(math.exp(30 / 7))
    assert Perplexity(1, 1, 1, 0, -2e3, 0.0).with_unknown == math.inf
    assert Perplexity(1, 0, 0, 0, -699.0, 0.0).with_unknown == pytest.approx(math.exp(699))
