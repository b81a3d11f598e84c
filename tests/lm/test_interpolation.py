import numpy as np
import pytest
from tests.lm.transformer.tiny_lm import WORDS, language_model

from wav2vec2.errors import UserError
from wav2vec2.lm.interpolation import InterpolatedLM


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
    with pytest.raises(UserError, match="not between 0 and 1"):
        InterpolatedLM(language_model(), language_model(), 1.5)
    lower = language_model(tuple(f"word{n}" for n in range(30)))
    with pytest.raises(UserError, match="knows 0 of the first one's 30 tokens"):
        InterpolatedLM(lower, language_model(), 0.5)
