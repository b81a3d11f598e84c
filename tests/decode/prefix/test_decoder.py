"""Our prefix beam search against the definition: every path of small random emissions."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.decode.prefix.exhaustive import (
    ARPA,
    PHONES,
    VOCABULARY,
    lm_score,
    lm_tokens,
    random_emissions,
    ranked_readings,
    words_of,
)

from wav2vec2.decode.hypothesis import Hypothesis, collapse
from wav2vec2.decode.prefix.decoder import PrefixDecoder
from wav2vec2.decode.search import SearchOptions
from wav2vec2.errors import UserError
from wav2vec2.lm.language_model import LanguageModel, Unit
from wav2vec2.lm.ngram.model import NgramModel
from wav2vec2.text.vocabulary import Vocabulary

BEAM = 500  # more than the prefixes of five frames


class Plain:
    """An n-gram that hides what it is and forgets every history that it is not asked to keep."""

    unit: Unit = "words"

    def __init__(self, model: NgramModel) -> None:
        self.tokens, self.unknown, self._model = model.tokens, model.unknown, model
        self._handles: dict[int, int] = {0: model.start()}
        self._next = 1

    def index(self, token: str) -> int:
        return self._model.index(token)

    def start(self) -> int:
        return 0

    def _states(self, histories: np.ndarray) -> np.ndarray:
        return np.array([self._handles[int(history)] for history in histories], np.int64)

    def score(self, histories: np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        scores, following = self._model.score(self._states(histories), tokens)
        handles = np.arange(self._next, self._next + len(tokens))
        self._next += len(tokens)
        self._handles.update(zip(handles.tolist(), following.tolist(), strict=True))
        return scores, handles

    def finish(self, histories: np.ndarray) -> np.ndarray:
        return self._model.finish(self._states(histories))

    def retain(self, histories: np.ndarray) -> None:
        kept = {0, *histories.tolist()}
        self._handles = {handle: state for handle, state in self._handles.items() if handle in kept}


@pytest.fixture(scope="module")
def ngram(tmp_path_factory: pytest.TempPathFactory) -> NgramModel:
    path = tmp_path_factory.mktemp("lm") / "tiny.arpa"
    path.write_text(ARPA)
    return NgramModel.load(path)


def search(
    emissions: Sequence[np.ndarray],
    options: SearchOptions,
    lm: LanguageModel | None = None,
    vocabulary: Vocabulary = VOCABULARY,
    **others: object,
) -> list[list[Hypothesis]]:
    with PrefixDecoder(vocabulary, lm, threads=2, **others) as decoder:  # type: ignore[arg-type]
        return decoder.decode(emissions, options)


def assert_equals_definition(found: list[Hypothesis], expected: list[tuple[tuple[int, ...], float]]) -> None:
    found = [reading for reading in found if reading.score > -math.inf]
    assert len(found) == min(len(expected), 30)
    assert [tuple(reading.ids) for reading in found] == [ids for ids, _ in expected[:30]]
    assert [r.score for r in found] == pytest.approx([score for _, score in expected[:30]], abs=1e-4)


@st.composite
def wide_options(draw: st.DrawFn) -> SearchOptions:
    number = st.floats(-2, 2).map(lambda value: round(value, 2))
    return SearchOptions(
        beam=BEAM,
        threshold=math.inf,
        nbest=30,
        lm_weight=abs(draw(number)),
        word_score=draw(number),
        silence_score=draw(number),
        unknown_score=draw(st.sampled_from([-math.inf, -1.5, 0.7])),
        merge=draw(st.sampled_from(["max", "logadd"])),
    )


frames = st.integers(0, 5)
seeds = st.integers(0, 10_000)


@settings(max_examples=25, deadline=None)
@given(wide_options(), seeds, frames)
def test_equals_exhaustive_search(options: SearchOptions, seed: int, length: int) -> None:
    emissions = random_emissions(seed, length)
    assert_equals_definition(search([emissions], options)[0], ranked_readings(emissions, options))


@pytest.mark.parametrize("unit", ["word", "symbol"])
@pytest.mark.parametrize("plain", [False, True])
def test_equals_exhaustive_search_with_language_model(ngram: NgramModel, unit: str, plain: bool) -> None:
    @settings(max_examples=20, deadline=None)
    @given(wide_options(), seeds, frames)
    def check(options: SearchOptions, seed: int, length: int) -> None:
        emissions = random_emissions(seed, length)
        lm = Plain(ngram) if plain else ngram
        (found,) = search([emissions], options, lm, lm_over_symbols=unit == "symbol")
        assert_equals_definition(found, ranked_readings(emissions, options, ngram, unit))
        for reading in found[:5]:
            if reading.score > -math.inf:
                tokens = lm_tokens(tuple(reading.ids), VOCABULARY, unit)
                assert reading.lm_score == pytest.approx(lm_score(ngram, tokens), abs=1e-4)

    check()


@settings(max_examples=15, deadline=None)
@given(wide_options(), seeds, frames)
def test_phones_are_words(ngram: NgramModel, options: SearchOptions, seed: int, length: int) -> None:
    emissions = random_emissions(seed, length, len(PHONES))
    for lm in (None, ngram):
        (found,) = search([emissions], options, lm, PHONES)
        assert_equals_definition(found, ranked_readings(emissions, options, lm, vocabulary=PHONES))


@pytest.mark.parametrize("look_ahead", [True, False])
def test_word_list_and_hotwords_equal_exhaustive_search(ngram: NgramModel, look_ahead: bool) -> None:
    @settings(max_examples=20, deadline=None)
    @given(wide_options(), seeds, frames, st.floats(-3, 3))
    def check(options: SearchOptions, seed: int, length: int, bonus: float) -> None:
        emissions = random_emissions(seed, length)
        hotwords = {"BA": bonus, "AB": 0.5}
        for lm in (None, ngram):
            found = search([emissions], options, lm, hotwords=hotwords, look_ahead=look_ahead)[0]
            assert_equals_definition(found, ranked_readings(emissions, options, lm, hotwords=hotwords))
        allowed = {"A", "AB", "BAB"}
        found = search([emissions], options, ngram, words=sorted(allowed), look_ahead=look_ahead)[0]
        assert_equals_definition(found, ranked_readings(emissions, options, ngram, allowed=allowed))

    check()


def test_ngram_in_compiled_code_equals_the_same_model_asked_from_python(ngram: NgramModel) -> None:
    batch = [random_emissions(seed, length) for seed, length in enumerate([60, 1, 0, 33, 60, 80])]
    for options in (
        SearchOptions(beam=7, nbest=4, lm_weight=1.3, unknown_score=-2.0),
        SearchOptions(beam=40, nbest=4, lm_weight=0.7, merge="logadd", threshold=12.0, beam_tokens=2),
    ):
        for unit in ("word", "symbol"):
            for look_ahead in (True, False):
                others = {"lm_over_symbols": unit == "symbol", "look_ahead": look_ahead}
                compiled = search(batch, options, ngram, **others)
                assert search(batch, options, Plain(ngram), batch=4, **others) == compiled


def test_look_ahead_finds_better_hypotheses_of_known_words(ngram: NgramModel) -> None:
    batch = [random_emissions(seed, 40) for seed in range(20)]
    options = SearchOptions(beam=5, lm_weight=3.0)
    for lm in (ngram, Plain(ngram)):
        with_it, without = (
            [nbest[0].score for nbest in search(batch, options, lm, look_ahead=look_ahead)]
            for look_ahead in (True, False)
        )
        assert sum(with_it) > sum(without) + 100


@pytest.mark.parametrize("merge", ["max", "logadd"])
def test_output_does_not_depend_on_threads_and_batches(ngram: NgramModel, merge: str) -> None:
    batch = [random_emissions(seed, 20 + seed, spread=1.0) for seed in range(8)]
    options = SearchOptions(beam=30, nbest=5, unknown_score=-1.0, merge=merge)  # type: ignore[arg-type]
    for look_ahead in (True, False):
        together = search(batch, options, ngram, look_ahead=look_ahead)
        assert [search([emissions], options, ngram, look_ahead=look_ahead)[0] for emissions in batch] == together
        assert search(batch[::-1], options, Plain(ngram), batch=3, look_ahead=look_ahead)[::-1] == together


@settings(max_examples=30, deadline=None)
@given(seeds, st.integers(1, 40))
def test_beam_one_without_words_is_greedy(seed: int, length: int) -> None:
    emissions = random_emissions(seed, length, spread=6.0)
    emissions[:, 1:4] = -30.0  # marks, which a search never emits
    emissions -= np.log(np.exp(emissions).sum(-1, keepdims=True))
    options = SearchOptions(beam=BEAM, word_score=0.0)
    greedy = collapse(emissions.argmax(-1).tolist(), 0, float(emissions.max(-1).sum()))
    found = search([emissions], options)[0][0]
    assert (found.ids, found.frames, found.last_frames) == (greedy.ids, greedy.frames, greedy.last_frames)
    assert found.score == pytest.approx(greedy.score, abs=1e-3)


def test_beam_of_one_follows_clear_symbols() -> None:
    path = [0, 5, 5, 0, 5, 6, 4, 4, 6, 0]
    emissions = np.full((len(path), len(VOCABULARY)), -12.0, np.float32)
    emissions[np.arange(len(path)), path] = 0.0
    found = search([emissions], SearchOptions(beam=1))[0][0]
    assert VOCABULARY.decode(found.ids) == "AAB B"
    assert (found.frames, found.last_frames) == ([1, 4, 5, 6, 8], [2, 4, 5, 7, 8])


@settings(max_examples=20, deadline=None)
@given(seeds, st.integers(1, 60), st.sampled_from(["max", "logadd"]))
def test_nbest_is_sorted_unique_and_timed(seed: int, length: int, merge: str) -> None:
    emissions = random_emissions(seed, length, spread=1.0)
    found = search([emissions], SearchOptions(beam=20, nbest=10, merge=merge))[0]  # type: ignore[arg-type]
    assert [r.score for r in found] == sorted((r.score for r in found), reverse=True)
    assert len({tuple(words_of(tuple(r.ids), VOCABULARY)) for r in found}) == len(found)
    for reading in found:
        path = [0] * length
        for symbol, first, last in zip(reading.ids, reading.frames, reading.last_frames, strict=True):
            path[first : last + 1] = [symbol] * (last + 1 - first)
        assert collapse(path, 0).ids == reading.ids
        assert len(reading.word_confidences) == len(words_of(tuple(reading.ids), VOCABULARY))
        assert all(0 < share <= 1 for share in reading.word_confidences)
        score = sum(float(emissions[t, s]) for t, s in enumerate(path))
        if merge == "logadd":
            assert score <= reading.acoustic_score + 1e-3
        else:  # a prefix that left the beam and came back may have been reached at less cost before
            assert score >= reading.acoustic_score - 1e-3


@settings(max_examples=10, deadline=None)
@given(seeds, st.integers(1, 4))
def test_times_are_those_of_the_best_path_where_nothing_leaves_the_beam(seed: int, length: int) -> None:
    emissions = random_emissions(seed, length, spread=1.0)
    for reading in search([emissions], SearchOptions(beam=3000, nbest=50, threshold=1e9))[0]:
        path = [0] * length
        for symbol, first, last in zip(reading.ids, reading.frames, reading.last_frames, strict=True):
            path[first : last + 1] = [symbol] * (last + 1 - first)
        score = sum(float(emissions[t, s]) for t, s in enumerate(path))
        assert score == pytest.approx(reading.acoustic_score, abs=1e-3)


def test_long_utterances_outgrow_the_first_tree() -> None:
    emissions = random_emissions(3, 6000, spread=0.5)
    options = SearchOptions(beam=60, nbest=1, merge="logadd")
    whole = search([emissions], options)[0][0]
    assert whole.last_frames[-1] < 6000
    assert len(whole.ids) > 1000
    assert sorted(whole.frames) == whole.frames


def test_hotword_raises_its_word(ngram: NgramModel) -> None:
    emissions = np.log(np.array([[0.1, 0, 0, 0, 0, 0.8, 0.1], [0.25, 0, 0, 0, 0, 0.4, 0.35]]) + 1e-9).astype(np.float32)
    for lm in (None, ngram):
        options = SearchOptions(beam=50, lm_weight=0.1, unknown_score=-1.0)
        assert VOCABULARY.decode(search([emissions], options, lm)[0][0].ids) == "A"
        assert VOCABULARY.decode(search([emissions], options, lm, hotwords={"ab": 2.0})[0][0].ids) == "AB"
    forbidding = SearchOptions(beam=50, lm_weight=0.1)
    assert VOCABULARY.decode(search([emissions], forbidding, ngram, hotwords={"AA": 30.0})[0][0].ids) != "AA"
    long = np.concatenate([emissions[:1], emissions[:1] * 0 + math.log(1e-9), emissions[:1]])
    long[1, 0] = 0.0
    assert VOCABULARY.decode(search([long], forbidding, ngram, hotwords={"AA": 5.0})[0][0].ids) == "AA"


def test_forbidden_readings_still_give_one(ngram: NgramModel) -> None:
    emissions = np.full((3, len(VOCABULARY)), -np.inf, np.float32)
    emissions[[0, 1, 2], [6, 5, 6]] = 0.0
    reading = search([emissions], SearchOptions(beam=3), ngram)[0][0]
    assert reading.score == -math.inf
    nothing = np.full((2, len(VOCABULARY)), -np.inf, np.float32)
    assert search([nothing], SearchOptions(beam=3))[0][0].ids == []


def test_no_frames_and_one_frame(ngram: NgramModel) -> None:
    for lm in (None, ngram, Plain(ngram)):
        nothing, one = search([random_emissions(0, 0), random_emissions(1, 1)], SearchOptions(nbest=2), lm)
        assert [(r.ids, r.frames, r.word_confidences) for r in nothing] == [([], [], ())]
        assert len(one) == 2
        assert search([], SearchOptions(), lm) == []


def test_language_model_in_the_wrong_case_says_so(tmp_path: Path, ngram: NgramModel) -> None:
    lower = tmp_path / "lower.arpa"
    lower.write_text(ARPA.replace("A", "a").replace("B", "b"))
    model = NgramModel.load(lower)
    with pytest.raises(UserError, match="upper case"):
        PrefixDecoder(VOCABULARY, model)
    emissions = [random_emissions(5, 30)]
    assert search(emissions, SearchOptions(), model, lm_case="fold") == search(emissions, SearchOptions(), ngram)
