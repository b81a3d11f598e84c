import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from tests.decode.lexicon.cases import VOCABULARY, emissions, lexicon, write_arpa

from wav2vec2.decode.context import Context
from wav2vec2.decode.hypothesis import Emissions, Hypothesis
from wav2vec2.decode.lexicon.decoder import LexiconDecoder
from wav2vec2.decode.search import Search, SearchOptions, cut, decode_in_pieces, join, run_searches
from wav2vec2.errors import UserError


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
    pytest.importorskip("flashlight.lib.text.decoder")
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


@pytest.mark.parametrize("seed", range(3))
def test_a_cut_is_nothing_to_the_language_model(tmp_path: Path, seed: int) -> None:
    pytest.importorskip("flashlight.lib.text.decoder")
    rng = np.random.default_rng(seed)
    path = [0]
    for word in rng.choice(["A", "AB", "BA", "CAB"], 12):
        path += [*VOCABULARY.encode(str(word)), 1] + [0] * 12
    search = SearchOptions(lm_weight=1.3, word_score=0.4)
    decoder = LexiconDecoder(VOCABULARY, lexicon(), write_arpa(tmp_path), workers=0)
    whole = decoder.decode([said(path)], search)[0][0]
    joined = decode_in_pieces(decoder, VOCABULARY, [said(path)], search, longest=60)[0][0]
    assert VOCABULARY.decode(joined.ids) == VOCABULARY.decode(whole.ids)
    assert joined.lm_score == pytest.approx(whole.lm_score, abs=1e-4)
    assert joined.score == pytest.approx(whole.score, abs=1e-2)


def test_joined_lists_are_the_best_combinations() -> None:
    left = [Hypothesis([2], [0], -1.0, [0]), Hypothesis([3], [0], -1.5, [0])]
    right = [Hypothesis([4], [1], -2.0, [1]), Hypothesis([2], [1], -2.2, [1])]
    joined = join([left, right], [0, 10, 20], 1)
    assert [found.score for found in joined] == [-3.0, -3.2]
    assert joined[0].ids == [2, 1, 4]
    assert joined[0].frames == [0, 10, 11]
    assert join([left, right], [0, 10, 20], None)[1].ids == [2, 2]


class CountingDecoder:
    """Returns two hypotheses an utterance and counts its calls."""

    calls = 0

    def decode(
        self, emissions: Sequence[Emissions], options: SearchOptions, contexts: Sequence[Context] | None = None
    ) -> list[list[Hypothesis]]:
        self.calls += 1
        return [[Hypothesis([2], [0], -options.beam, [0]), Hypothesis([3], [0], -99.0, [0])] for _ in emissions]

    def close(self) -> None:
        self.calls = -1


def test_searches_share_what_they_decode_and_show_what_was_asked() -> None:
    decoder, other = CountingDecoder(), SearchOptions(beam=7)
    searches = [Search("one", decoder), Search("same", decoder, nbest=2), Search("other", decoder, other)]
    one, same, third = run_searches(searches, VOCABULARY, [emissions(3, 0), emissions(4, 1)])
    assert decoder.calls == 2
    assert [len(nbest) for nbest in (*one, *same, *third)] == [1, 1, 2, 2, 1, 1]
    assert (one[0][0].score, third[1][0].score) == (-50, -7)
    with pytest.raises(UserError, match="greedy"):
        run_searches([Search("no LM")], VOCABULARY, [])
    searches[0].close()
    assert decoder.calls == -1


@pytest.mark.parametrize(
    "wrong",
    [
        {"beam": 0},
        {"nbest": 0},
        {"beam_tokens": -1},
        {"threshold": 0.0},
        {"threshold": math.nan},
        {"lm_weight": math.inf},
        {"word_score": math.nan},
        {"silence_score": -math.inf},
        {"unknown_score": math.inf},
        {"unknown_score": math.nan},
    ],
)
def test_impossible_options_are_one_line(wrong: dict[str, float]) -> None:
    with pytest.raises(UserError, match=r"^search: ") as caught:
        SearchOptions(**wrong)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_the_least_options_are_possible() -> None:
    SearchOptions(beam=1, nbest=1, beam_tokens=0, threshold=1e-9, unknown_score=-math.inf)
