import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from tests.decode.lexicon.cases import VOCABULARY, emissions, write_arpa
from tests.lm.transformer.tiny_lm import language_model

from wav2vec2.decode.context import WHOLE, Context
from wav2vec2.decode.hypothesis import Emissions, Hypothesis
from wav2vec2.decode.pieces import Piece, search_pieces
from wav2vec2.decode.prefix.decoder import PrefixDecoder
from wav2vec2.decode.rescore import Rescorer
from wav2vec2.decode.search import GREEDY, Search, SearchOptions, run_searches
from wav2vec2.errors import UserError
from wav2vec2.lm.ngram.model import NgramModel
from wav2vec2.text.vocabulary import Vocabulary

OPTIONS = SearchOptions(beam=30, lm_weight=1.4, word_score=0.2, nbest=5)


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefixDecoder]:
    with PrefixDecoder(VOCABULARY, NgramModel.load(write_arpa(tmp_path_factory.mktemp("lm"))), threads=2) as made:
        yield made


def pieces_of(lengths: Sequence[Sequence[int]]) -> list[Piece]:
    """Recordings whose pieces have these numbers of frames, one piece of each in turn."""
    rows = itertools.zip_longest(*lengths)
    turns = [(step, number, frames) for step, row in enumerate(rows) for number, frames in enumerate(row)]
    return [
        Piece(number, emissions(frames, 100 * number + step), step < len(lengths[number]) - 1)
        for step, number, frames in turns
        if frames is not None
    ]


LENGTHS = [[20, 7, 30, 12], [9], [0, 14], [25, 25, 25]]


@pytest.mark.parametrize("most_bytes", [1, 700, 1 << 20])
def test_each_piece_begins_where_the_one_before_it_ended(decoder: PrefixDecoder, most_bytes: int) -> None:
    pieces = pieces_of(LENGTHS)
    found = list(search_pieces([Search("", decoder, OPTIONS, None, 2)], VOCABULARY, pieces, most_bytes=most_bytes))
    states: dict[int, Context] = {}
    changed = 0
    for piece, (nbest,) in zip(pieces, found, strict=True):
        context = states.get(piece.recording, WHOLE).going_on(piece.goes_on)
        (expected,) = decoder.decode([piece.emissions], OPTIONS, [context])
        assert nbest == expected[:2]
        states[piece.recording] = context.then(expected[0], VOCABULARY)
        changed += nbest[0].lm_score != decoder.decode([piece.emissions], OPTIONS)[0][0].lm_score
    assert changed >= 4


@pytest.mark.parametrize("most_bytes", [1, 1 << 20])
def test_without_carry_each_piece_is_an_utterance(decoder: PrefixDecoder, most_bytes: int) -> None:
    searches = [Search("", decoder, OPTIONS), Search("", decoder, replace(OPTIONS, beam=3))]
    pieces = pieces_of(LENGTHS)
    found = list(search_pieces(searches, VOCABULARY, pieces, carry=False, most_bytes=most_bytes))
    expected = run_searches(searches, VOCABULARY, [piece.emissions for piece in pieces])
    assert [list(lists) for lists in zip(*expected, strict=True)] == found


def test_no_more_emissions_are_taken_than_allowed() -> None:
    sizes: list[int] = []
    most = 10 * emissions(10, 0).nbytes

    class Slow:
        """Counts the bytes that were taken and not yet searched whenever it is asked."""

        held = 0

        def decode(
            self, arrays: Sequence[Emissions], options: SearchOptions, contexts: Sequence[Context] | None = None
        ) -> list[list[Hypothesis]]:
            sizes.append(self.held)
            self.held -= sum(array.nbytes for array in arrays)
            return [[Hypothesis([], [], 0.0)] for _ in arrays]

        def close(self) -> None:
            pass

    slow = Slow()

    def coming() -> Iterator[Piece]:
        for number in range(200):
            piece = Piece(number % 3, emissions(10, number), True)
            slow.held += piece.emissions.nbytes
            yield piece

    found = list(search_pieces([Search("", slow)], VOCABULARY, coming(), most_bytes=most))
    assert len(found) == 200
    assert max(sizes) <= most + emissions(10, 0).nbytes  # the piece in the caller's hand
    assert slow.held == 0


def test_a_rescoring_model_goes_on_from_its_own_best_hypothesis() -> None:
    words = ("the", "cat", "sat")
    vocabulary = Vocabulary.from_transcripts([" ".join(words)])
    model = language_model(words=words)
    rng = np.random.default_rng(0)
    arrays = [np.log(rng.dirichlet(np.full(len(vocabulary), 0.3), 30) + 1e-6).astype(np.float32) for _ in range(3)]
    options = SearchOptions(beam=20, nbest=10)
    with PrefixDecoder(vocabulary, words=words, threads=1) as decoder:
        rescorer = Rescorer(model, 2.0, 0.5)
        searches = [Search("first", decoder, options, None, 10), Search("second", decoder, options, rescorer, 1)]
        pieces = [Piece(0, array, place < 2) for place, array in enumerate(arrays)]
        found = list(search_pieces(searches, vocabulary, pieces))
        context = WHOLE
        for piece, (first, second) in zip(pieces, found, strict=True):
            context = context.going_on(piece.goes_on)
            (ranked,) = rescorer([first], vocabulary, [context])
            assert second == ranked[:1]
            context = context.then(ranked[0], vocabulary)
    assert len(context.words) > 3


def test_what_a_decoder_refuses_reaches_the_caller(decoder: PrefixDecoder) -> None:
    bad = Piece(0, np.full((3, len(VOCABULARY)), np.nan, np.float32))
    with pytest.raises(UserError, match="NaN"):
        list(search_pieces([Search("", decoder, OPTIONS)], VOCABULARY, [bad]))
    with pytest.raises(UserError, match="greedy"):
        list(search_pieces([GREEDY], VOCABULARY, []))
    assert list(search_pieces([Search("", decoder, OPTIONS)], VOCABULARY, [])) == []


def test_a_caller_may_stop_early(decoder: PrefixDecoder) -> None:
    stream = search_pieces([Search("", decoder, OPTIONS)], VOCABULARY, pieces_of(LENGTHS), most_bytes=1)
    next(stream)
    stream.close()
    assert decoder.decode([emissions(5, 1)], OPTIONS)[0]
