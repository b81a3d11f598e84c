from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.lm.transformer.tiny_lm import WORDS, language_model

from wav2vec2.decode.hypothesis import Hypothesis
from wav2vec2.decode.prefix.decoder import PrefixDecoder
from wav2vec2.decode.rescore import rescore, sentence_log_probabilities
from wav2vec2.decode.search import SearchOptions
from wav2vec2.errors import UserError
from wav2vec2.lm.language_model import LanguageModel
from wav2vec2.lm.load import InterpolatedLM
from wav2vec2.text.vocabulary import Vocabulary

LETTERS = Vocabulary(("<pad>", "<s>", "</s>", "<unk>", "|", *sorted({letter for word in WORDS for letter in word})))
SEPARATOR = LETTERS.symbols.index("|")
CHARACTERS = tuple("|ABCDEGHMNOST")


@dataclass
class Prefix:
    """What the fusing search below keeps of one prefix: ends in blank, ends in its symbol, the model's part."""

    blank: float
    symbol: float
    history: int
    lm_score: float
    words: int

    @property
    def acoustic(self) -> float:
        return float(np.logaddexp(self.blank, self.symbol))


def fused_search(
    emissions: np.ndarray, lm: LanguageModel, weight: float, word_score: float, beam: int, *, characters: bool
) -> list[Hypothesis]:
    """Prefix beam search with the model in the ranking: words are scored as they end, symbols as they come."""
    prefixes = {(): Prefix(0.0, -np.inf, lm.start(), 0.0, 0)}

    def advance(old: Prefix, ids: tuple[int, ...], end: int) -> tuple[int, float, int]:
        token = LETTERS.symbols[ids[-1]] if ids else ""
        if characters:
            if end:
                return old.history, old.lm_score + float(lm.finish(np.array([old.history]))[0]), old.words
            score, following = lm.score(np.array([old.history]), np.array([lm.index(token)]))
            return int(following[0]), old.lm_score + float(score[0]), old.words
        word = "".join(LETTERS.symbols[i] for i in ids).split("|")
        word = word[-1] if end else (word[-2] if ids[-1] == SEPARATOR else "")
        history, lm_score, words = old.history, old.lm_score, old.words
        if word:
            score, following = lm.score(np.array([history]), np.array([lm.index(word)]))
            history, lm_score, words = int(following[0]), lm_score + float(score[0]), words + 1
        if end:
            lm_score += float(lm.finish(np.array([history]))[0])
        return history, lm_score, words

    for frame in emissions:
        new: dict[tuple[int, ...], Prefix] = {}
        for ids, old in prefixes.items():
            for symbol, score in enumerate(frame):
                stays = symbol == LETTERS.blank or (ids and symbol == ids[-1])
                if stays:
                    state = new.setdefault(ids, Prefix(-np.inf, -np.inf, old.history, old.lm_score, old.words))
                    if symbol == LETTERS.blank:
                        state.blank = np.logaddexp(state.blank, old.acoustic + score)
                    else:
                        state.symbol = np.logaddexp(state.symbol, old.symbol + score)
                before = old.blank if ids and symbol == ids[-1] else old.acoustic
                if symbol != LETTERS.blank and before > -np.inf and score > -8:
                    longer = (*ids, symbol)
                    if longer not in new:
                        new[longer] = Prefix(-np.inf, -np.inf, *advance(old, longer, 0))
                    new[longer].symbol = np.logaddexp(new[longer].symbol, before + score)
        ranked = sorted(new, key=lambda i: -(new[i].acoustic + weight * new[i].lm_score + word_score * new[i].words))
        prefixes = {ids: new[ids] for ids in ranked[:beam]}
        lm.retain(np.array([state.history for state in prefixes.values()]))
    found = []
    for ids, state in prefixes.items():
        _, lm_score, _ = advance(state, ids, 1)
        words = len(LETTERS.decode(ids).split())
        score = state.acoustic + weight * lm_score + word_score * words
        found.append(Hypothesis(list(ids), [], score, [], state.acoustic, lm_score))
    return sorted(found, key=lambda one: -one.score)


def emissions(seed: int, frames: int, text: str = "") -> np.ndarray:
    """Random log-probabilities, with the symbols of a text standing out one after another."""
    logits = np.random.default_rng(seed).normal(0, 1.5, (frames, len(LETTERS)))
    logits[:, 1:4] = -20
    for frame, symbol in enumerate(LETTERS.encode(text)[: (frames + 1) // 2]):
        logits[2 * frame, symbol] += 6
        logits[2 * frame + 1 : 2 * frame + 2, LETTERS.blank] += 6
    return logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)


@pytest.mark.parametrize("characters", [False, True])
@pytest.mark.parametrize("mixed", [False, True])
def test_fused_scores_are_those_of_rescoring(characters: bool, mixed: bool) -> None:
    def model() -> LanguageModel:
        words, unit = (CHARACTERS, "characters") if characters else (WORDS, "words")
        one = language_model(words, unit)
        return InterpolatedLM(one, language_model(words[::-1], unit), 0.4) if mixed else one

    texts = ("THE CAT", "A DOG")
    fused = [
        fused_search(emissions(n, 14, t), model(), 0.7, -0.4, 10, characters=characters) for n, t in enumerate(texts)
    ]
    assert len({LETTERS.decode(h.ids) for h in fused[0]}) > 4
    shuffled = [[*hypotheses[::2], *hypotheses[1::2]] for hypotheses in fused]
    again = rescore(shuffled, model(), LETTERS, 0.7, -0.4)
    for before, after in zip(fused, again, strict=True):
        assert [h.score for h in after] == pytest.approx([h.score for h in before], abs=1e-4)
        assert [h.lm_score for h in after] == pytest.approx([h.lm_score for h in before], abs=1e-4)
        assert after[0].ids == before[0].ids


@pytest.mark.parametrize("unit", ["word", "symbol"])
def test_the_beam_search_fuses_what_rescoring_scores(unit: str) -> None:
    words = CHARACTERS if unit == "symbol" else WORDS
    lm = language_model(words, "characters" if unit == "symbol" else "words")
    options = SearchOptions(beam=12, nbest=8, lm_weight=0.7, word_score=-0.4, unknown_score=0.0, merge="logadd")
    arrays = [emissions(n, 14, text).astype(np.float32) for n, text in enumerate(("THE CAT", "A DOG"))]
    with PrefixDecoder(LETTERS, lm, look_ahead=False, threads=1) as decoder:
        fused = decoder.decode(arrays, options)
    again = rescore(fused, lm, LETTERS, 0.7, -0.4)
    for before, after in zip(fused, again, strict=True):
        assert len(before) == 8
        assert [h.score for h in after] == pytest.approx([h.score for h in before], abs=1e-4)
        assert [h.lm_score for h in after] == pytest.approx([h.lm_score for h in before], abs=1e-4)


@given(lengths=st.lists(st.integers(0, 6), min_size=1, max_size=9), seed=st.integers(0, 99))
@settings(max_examples=10, deadline=None)
def test_sentences_are_scored_alike_alone_and_together(lengths: list[int], seed: int) -> None:
    random, lm = np.random.default_rng(seed), language_model()
    sentences = [[str(random.choice([*WORDS, "OTHER"])) for _ in range(length)] for length in lengths]
    indices = [[lm.index(word) for word in sentence] for sentence in sentences]
    together = sentence_log_probabilities(lm, indices)
    alone = [float(sentence_log_probabilities(language_model(), [sentence])[0]) for sentence in indices]
    assert together == pytest.approx(alone, abs=1e-4)


def test_old_confidences_are_dropped_and_empty_lists_stay() -> None:
    ids = LETTERS.encode("THE SAME CAT")
    one = Hypothesis(ids, [], 0.0, [], acoustic_score=-3.0, word_confidences=(1.0, 1.0, 1.0))
    ((found,),) = rescore([[one]], language_model(), LETTERS, 1.0, 0.5)
    assert found.score == pytest.approx(-3.0 + found.lm_score + 1.5)
    assert found.word_confidences == ()
    assert rescore([[], [Hypothesis([], [], 0.0)]], language_model(), LETTERS, 1.0, 0.0)[0] == []


def test_the_wrong_case_is_refused_or_folded() -> None:
    one = Hypothesis(LETTERS.encode("THE SAME CAT"), [], 0.0, [], acoustic_score=-3.0)
    lower = language_model(tuple(word.lower() for word in WORDS))
    with pytest.raises(UserError, match=r"lm: its words are not in upper case .* --lm-case fold"):
        rescore([[one]], lower, LETTERS, 1.0, 0.0, source="lm")
    (folded,), (expected,) = (
        rescore([[one]], lower, LETTERS, 1.0, 0.0, lm_case="fold")[0],
        rescore([[one]], language_model(), LETTERS, 1.0, 0.0)[0],
    )
    assert folded.lm_score == pytest.approx(expected.lm_score, abs=1e-5)


def test_scores_that_are_no_numbers_are_one_line() -> None:
    with pytest.raises(UserError, match="finite"):
        rescore([], language_model(), LETTERS, float("nan"), 0.0)


def test_symbols_are_words_where_there_is_no_separator() -> None:
    vocabulary = Vocabulary(("<pad>", "A", "B"), unknown=None, word_separator=None)
    lm = language_model(("A", "B"))
    one = Hypothesis([1, 2, 2], [], 0.0, [], acoustic_score=-3.0)
    ((found,),) = rescore([[one]], lm, vocabulary, 1.0, 0.5)
    expected = sentence_log_probabilities(lm, [[lm.index(token) for token in "ABB"]])[0]
    assert found.lm_score == pytest.approx(expected, abs=1e-5)
    assert found.score == pytest.approx(-3.0 + expected + 1.5, abs=1e-5)
