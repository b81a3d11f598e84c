import itertools
from collections.abc import Sequence

import numpy as np
from tests.decode.lexicon.cases import VOCABULARY, emissions, lexicon

from wav2vec2.decode.hypothesis import Emissions, Hypothesis
from wav2vec2.decode.lexicon.decoder import LexiconDecoder
from wav2vec2.decode.search import SearchOptions, cut, decode_in_pieces, join


def said(path: Sequence[int]) -> Emissions:
    array = np.full((len(path), len(VOCABULARY)), -8.0, dtype=np.float32)
    array[np.arange(len(path)), path] = -0.01
    return array


def test_cuts_fall_into_silence_and_pieces_stay_short() -> None:
    speech, pause = [2, 3, 1] * 20, [0] * 24
    path = [*speech, *pause, *speech, *pause, *speech]
    edges = cut(said(path), 0, 1, longest=100)
    assert edges[0] == 0
    assert edges[-1] == len(path)
    assert all(0 < last - first <= 100 for first, last in itertools.pairwise(edges))
    assert 60 + 8 <= edges[1] <= 60 + 16
    assert cut(said(path), 0, None, longest=1000) == [0, len(path)]


def test_pieces_read_as_the_whole() -> None:
    word = [2, 3, 1, 3, 2, 1]  # AB | BA |
    path = (word + [0] * 30) * 12
    search = SearchOptions(lm_weight=0.0, word_score=0.0, nbest=3)
    decoder = LexiconDecoder(VOCABULARY, lexicon(), None, workers=0)
    whole = decoder.decode([said(path)], search)[0][0]
    array, short = said(path), emissions(9, 1)
    joined, alone = decode_in_pieces(decoder, VOCABULARY, [array, short], search, longest=90)
    assert alone == decoder.decode([short], search)[0]
    assert VOCABULARY.decode(joined[0].ids) == VOCABULARY.decode(whole.ids) == " ".join(["AB BA"] * 12)
    letters = [(i, f, last) for i, f, last in zip(whole.ids, whole.frames, whole.last_frames, strict=True) if i != 1]
    found = zip(joined[0].ids, joined[0].frames, joined[0].last_frames, strict=True)
    assert [entry for entry in found if entry[0] != 1] == letters
    assert len(joined) == 3
    assert len(joined[0].word_confidences) == 24


def test_joined_lists_are_the_best_combinations() -> None:
    left = [Hypothesis([2], [0], -1.0, [0]), Hypothesis([3], [0], -1.5, [0])]
    right = [Hypothesis([4], [1], -2.0, [1]), Hypothesis([2], [1], -2.2, [1])]
    joined = join([left, right], [0, 10, 20], 1)
    assert [found.score for found in joined] == [-3.0, -3.2]
    assert joined[0].ids == [2, 1, 4]
    assert joined[0].frames == [0, 10, 11]
    assert join([left, right], [0, 10, 20], None)[1].ids == [2, 2]
