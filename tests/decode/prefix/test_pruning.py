"""Which prefixes a search drops: with narrow beams it finds what a search finds that computes every candidate."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.decode.prefix.exhaustive import ARPA, PHONES, VOCABULARY, random_emissions
from tests.decode.prefix.plain_beam import Setting, plain_beam_search

from wav2vec2.decode.hypothesis import Hypothesis
from wav2vec2.decode.prefix import scores
from wav2vec2.decode.prefix.decoder import PrefixDecoder
from wav2vec2.decode.search import SearchOptions
from wav2vec2.lm.ngram.model import NgramModel

seeds, frames = st.integers(0, 10_000), st.integers(1, 14)
bonuses = st.floats(-6, 6).map(lambda value: round(value, 2))
hotwords = st.none() | st.fixed_dictionaries({"AAB": bonuses, "BA": bonuses, "BBA": st.just(1.03)})


@pytest.fixture(scope="module")
def ngram(tmp_path_factory: pytest.TempPathFactory) -> NgramModel:
    path = tmp_path_factory.mktemp("lm") / "tiny.arpa"
    path.write_text(ARPA)
    return NgramModel.load(path)


@st.composite
def narrow_options(draw: st.DrawFn) -> SearchOptions:
    number = st.floats(-2, 2).map(lambda value: round(value, 2))
    return SearchOptions(
        beam=draw(st.integers(1, 12)),
        beam_tokens=draw(st.integers(0, 2)),
        threshold=draw(st.sampled_from([1.5, 4.0, 9.0, math.inf])),
        nbest=12,
        lm_weight=draw(number),
        word_score=draw(number),
        silence_score=draw(number),
        unknown_score=draw(st.sampled_from([-math.inf, -1.5, 0.7])),
        merge=draw(st.sampled_from(["max", "logadd"])),
    )


def found(emissions: np.ndarray, setting: Setting) -> list[Hypothesis]:
    with PrefixDecoder(
        setting.vocabulary,
        setting.lm,
        lm_over_symbols=setting.unit == "symbol",
        hotwords=setting.hotwords,
        look_ahead=setting.look_ahead,
        threads=1,
    ) as decoder:
        return decoder.decode([emissions], setting.options)[0]


def assert_equals_plain_search(emissions: np.ndarray, setting: Setting) -> None:
    expected = [reading for reading in plain_beam_search(emissions, setting) if reading[1] > -math.inf]
    readings = [reading for reading in found(emissions, setting) if reading.score > -math.inf]
    assert [tuple(reading.ids) for reading in readings] == [ids for ids, _ in expected]
    assert [reading.score for reading in readings] == pytest.approx([score for _, score in expected], abs=1e-4)


@settings(max_examples=60, deadline=None)
@given(narrow_options(), seeds, frames, hotwords)
def test_drops_what_a_plain_search_drops(
    options: SearchOptions, seed: int, length: int, hotwords: dict[str, float] | None
) -> None:
    emissions = random_emissions(seed, length, spread=1.5)
    assert_equals_plain_search(emissions, Setting(VOCABULARY, options, hotwords=hotwords))


@pytest.mark.parametrize(("unit", "look_ahead"), [("word", True), ("word", False), ("symbol", False)])
def test_drops_what_a_plain_search_with_a_language_model_drops(ngram: NgramModel, unit: str, look_ahead: bool) -> None:
    @settings(max_examples=70, deadline=None)
    @given(narrow_options(), seeds, frames, hotwords)
    def check(options: SearchOptions, seed: int, length: int, hotwords: dict[str, float] | None) -> None:
        emissions = random_emissions(seed, length, spread=1.5)
        assert_equals_plain_search(emissions, Setting(VOCABULARY, options, ngram, unit, hotwords, look_ahead))

    check()


@settings(max_examples=30, deadline=None)
@given(narrow_options(), seeds, frames)
def test_drops_what_a_plain_search_for_phones_drops(
    ngram: NgramModel, options: SearchOptions, seed: int, length: int
) -> None:
    emissions = random_emissions(seed, length, len(PHONES), spread=1.5)
    for lm in (None, ngram):
        assert_equals_plain_search(emissions, Setting(PHONES, options, lm, "symbol"))


@pytest.mark.parametrize("threshold", [3.0, math.inf])
def test_a_word_that_only_begins_like_a_disfavoured_one_is_not_dropped(threshold: float) -> None:
    """The part of the penalty that it has paid is taken back as soon as it leaves the hotword."""
    options = SearchOptions(beam=4, threshold=threshold, nbest=4, word_score=0.0)
    setting = Setting(VOCABULARY, options, hotwords={"ABB": -9.0, "BAA": -9.0})
    for seed in range(25):
        assert_equals_plain_search(random_emissions(seed, 8, spread=1.5), setting)


def test_hypotheses_below_the_threshold_are_dropped() -> None:
    emissions = np.full((2, len(VOCABULARY)), -30.0, np.float32)
    emissions[0, [0, 5, 6]] = -1.0, -4.0, -8.0  # nothing, A, B
    emissions[1, 0] = 0.0
    for threshold, expected in ((2.0, [""]), (5.0, ["", "A"]), (50.0, ["", "A", "B"])):
        options = SearchOptions(threshold=threshold, nbest=3, word_score=0.0)
        readings = found(emissions, Setting(VOCABULARY, options))
        assert [VOCABULARY.decode(reading.ids) for reading in readings] == expected


def test_a_small_table_of_prefixes_changes_nothing(ngram: NgramModel, monkeypatch: pytest.MonkeyPatch) -> None:
    options = SearchOptions(beam=6, nbest=6, lm_weight=0.7, unknown_score=-1.0, merge="logadd")
    settings = [Setting(VOCABULARY, options, lm, unit) for lm in (None, ngram) for unit in ("word", "symbol")]
    batch = [random_emissions(seed, 40, spread=1.0) for seed in range(4)]
    before = [[found(emissions, setting) for emissions in batch] for setting in settings]
    monkeypatch.setattr(scores, "first_rows", lambda rules: 2)
    assert [[found(emissions, setting) for emissions in batch] for setting in settings] == before
