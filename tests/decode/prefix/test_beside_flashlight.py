"""Our search against flashlight's lexicon-free one: the best hypothesis is the same.

Tie rule: flashlight leaves the order of equal scores open, ours is documented in `PrefixDecoder`; random emissions have
no equal scores. Three differences are documented rather than matched: flashlight counts a silence score for every frame
that enters the separator's state, so it is 0 here; it scores no words in a lexicon-free search, so `word_score` is 0;
and it begins as if after a separator, so that one in the first frame is not shown to its language model: with a
language model none is offered there.
"""

import math
from pathlib import Path

import numpy as np
import pytest
from tests.decode.prefix.exhaustive import ARPA, VOCABULARY, random_emissions

from wav2vec2.decode.hypothesis import collapse
from wav2vec2.decode.prefix.decoder import PrefixDecoder
from wav2vec2.decode.search import SearchOptions
from wav2vec2.lm.ngram.model import NgramModel

flashlight = pytest.importorskip("flashlight.lib.text.decoder")
BEAM, THRESHOLD = 200, 1000.0


def flashlight_best(lm: object, emissions: np.ndarray, lm_weight: float) -> tuple[list[int], float]:
    options = flashlight.LexiconFreeDecoderOptions(
        BEAM, len(VOCABULARY), THRESHOLD, lm_weight, 0.0, False, flashlight.CriterionType.CTC
    )
    decoder = flashlight.LexiconFreeDecoder(options, lm, VOCABULARY.symbols.index("|"), VOCABULARY.blank, [])
    emissions = np.ascontiguousarray(emissions)
    best = decoder.decode(emissions.ctypes.data, *emissions.shape)[0]
    tokens = list(best.tokens)[1:-1] if len(best.tokens) == len(emissions) + 2 else list(best.tokens)
    return collapse(tokens, VOCABULARY.blank).ids, best.score


def without_marks(seed: int, frames: int) -> np.ndarray:
    """Emissions that give marks, which flashlight would write, no chance."""
    emissions = random_emissions(seed, frames)
    emissions[:, 1:4] = -400.0
    return emissions


@pytest.mark.parametrize("frames", [1, 2, 7, 40, 120])
def test_same_best_hypothesis_without_language_model(frames: int) -> None:
    options = SearchOptions(beam=BEAM, threshold=THRESHOLD, word_score=0.0)
    emissions = [without_marks(seed, frames) for seed in range(20)]
    with PrefixDecoder(VOCABULARY) as decoder:
        ours = decoder.decode(emissions, options)
    for array, readings in zip(emissions, ours, strict=True):
        ids, score = flashlight_best(flashlight.ZeroLM(), array, 0.0)
        assert readings[0].ids == ids
        assert readings[0].score == pytest.approx(score, abs=1e-2)


def test_same_best_hypothesis_with_kenlm_over_characters(tmp_path: Path) -> None:
    kenlm = pytest.importorskip("flashlight.lib.text.decoder.kenlm")
    dictionary = pytest.importorskip("flashlight.lib.text.dictionary")
    path = tmp_path / "characters.arpa"
    path.write_text(ARPA)
    # Characters under the LM have the vocabulary's places; KenLM's logarithms are decimal, ours natural.
    theirs = kenlm.KenLM(str(path), dictionary.Dictionary(list(VOCABULARY.symbols)))
    weight = 0.9
    options = SearchOptions(beam=BEAM, threshold=THRESHOLD, word_score=0.0, lm_weight=weight, unknown_score=0.0)
    emissions = [without_marks(seed, frames) for seed in range(20) for frames in (3, 40)]
    for array in emissions:
        array[0, VOCABULARY.symbols.index("|")] = -400.0
    with PrefixDecoder(VOCABULARY, NgramModel.load(path), lm_over_symbols=True) as decoder:
        ours = decoder.decode(emissions, options)
    for array, readings in zip(emissions, ours, strict=True):
        ids, score = flashlight_best(theirs, array, weight * math.log(10.0))
        assert readings[0].ids == ids
        assert readings[0].score == pytest.approx(score, abs=1e-2)
