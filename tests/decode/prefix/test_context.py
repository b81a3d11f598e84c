"""A search that begins in the middle of a recording, against the definition with a model that begins there."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.decode.prefix.exhaustive import ARPA, PHONES, VOCABULARY, random_emissions, ranked_readings
from tests.decode.prefix.test_decoder import Plain, assert_equals_definition, frames, seeds, wide_options

from wav2vec2.decode.context import Context
from wav2vec2.decode.prefix.decoder import PrefixDecoder
from wav2vec2.decode.search import SearchOptions
from wav2vec2.lm.language_model import LanguageModel, Unit, histories_after
from wav2vec2.lm.ngram.model import NgramModel


class After:
    """A model that begins where `tokens` leave another one, and has no end if the recording goes on."""

    unit: Unit = "words"

    def __init__(self, model: LanguageModel, tokens: Sequence[str], goes_on: bool) -> None:
        self.tokens, self.unknown, self.index, self.score = model.tokens, model.unknown, model.index, model.score
        self._model, self._goes_on = model, goes_on
        self._start = int(histories_after(model, [[model.index(token) for token in tokens]])[0])

    def start(self) -> int:
        return self._start

    def finish(self, histories: np.ndarray) -> np.ndarray:
        ends = self._model.finish(histories)
        return 0 * ends if self._goes_on else ends

    def retain(self, histories: np.ndarray) -> None:
        self._model.retain(histories)


@pytest.fixture(scope="module")
def ngram(tmp_path_factory: pytest.TempPathFactory) -> NgramModel:
    path = tmp_path_factory.mktemp("lm") / "tiny.arpa"
    path.write_text(ARPA)
    return NgramModel.load(path)


@pytest.mark.parametrize("unit", ["word", "symbol"])
@pytest.mark.parametrize("plain", [False, True])
def test_begins_where_the_piece_before_left_the_language_model(ngram: NgramModel, unit: str, plain: bool) -> None:
    @settings(max_examples=15, deadline=None)
    @given(wide_options(), seeds, frames, st.sampled_from(["", "A", "AB A", "BB A"]), st.booleans())
    def check(options: SearchOptions, seed: int, length: int, text: str, goes_on: bool) -> None:
        emissions = random_emissions(seed, length)
        context = Context(tuple(text.split()), tuple(VOCABULARY.encode(text)), goes_on)
        tokens = text.split() if unit == "word" else [*text.replace(" ", "|"), *("|" if text else "")]
        lm = Plain(ngram) if plain else ngram
        with PrefixDecoder(VOCABULARY, lm, lm_over_symbols=unit == "symbol", threads=1) as decoder:
            (found,) = decoder.decode([emissions], options, [context])
        expected = ranked_readings(emissions, options, After(ngram, tokens, goes_on), unit)
        assert_equals_definition(found, expected)

    check()


def test_phones_begin_after_phones(ngram: NgramModel) -> None:
    emissions, options = random_emissions(3, 4, len(PHONES)), SearchOptions(beam=500, threshold=1e9, nbest=30)
    with PrefixDecoder(PHONES, ngram, threads=1) as decoder:
        (found,) = decoder.decode([emissions], options, [Context(("A", "B"), tuple(PHONES.encode("A B")), True)])
    expected = ranked_readings(emissions, options, After(ngram, ["A", "B"], True), "word", PHONES)
    assert [reading.score for reading in found[:5]] == pytest.approx([score for _, score in expected[:5]], abs=1e-4)


def test_pieces_searched_together_have_their_own_contexts(ngram: NgramModel) -> None:
    arrays = [random_emissions(seed, 12) for seed in range(4)]
    contexts = [Context(), Context(("AB",), (), True), Context(("AB", "A")), Context((), (), True)]
    options = SearchOptions(beam=20, lm_weight=1.5, unknown_score=-2.0)
    for lm in (ngram, Plain(ngram)):
        with PrefixDecoder(VOCABULARY, lm, lm_over_symbols=False, threads=2) as decoder:
            together = decoder.decode(arrays, options, contexts)
            alone = [decoder.decode([a], options, [c])[0] for a, c in zip(arrays, contexts, strict=True)]
        assert together == alone
