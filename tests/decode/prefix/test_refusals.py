"""What the prefix decoder refuses, in one line each."""

import math
from pathlib import Path

import numpy as np
import pytest
from tests.decode.prefix.exhaustive import ARPA, PHONES, VOCABULARY, random_emissions

from wav2vec2.decode.prefix.decoder import PrefixDecoder
from wav2vec2.decode.search import SearchOptions
from wav2vec2.errors import UserError
from wav2vec2.lm.ngram.model import NgramModel
from wav2vec2.text.vocabulary import Vocabulary


def test_bad_emissions_are_one_line() -> None:
    emissions = random_emissions(0, 4)
    emissions[2, 3] = np.nan
    with pytest.raises(UserError, match="NaN"):
        PrefixDecoder(VOCABULARY).decode([emissions], SearchOptions())
    with pytest.raises(UserError, match="one column per symbol"):
        PrefixDecoder(VOCABULARY).decode([emissions[:, :5]], SearchOptions())


def test_closed_decoder_says_so() -> None:
    decoder = PrefixDecoder(VOCABULARY)
    decoder.close()
    with pytest.raises(UserError, match="closed"):
        decoder.decode([], SearchOptions())


def test_words_that_cannot_be_spelled_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'XA'"):
        PrefixDecoder(VOCABULARY, hotwords={"XA": 3.0})
    with pytest.raises(UserError, match="finite"):
        PrefixDecoder(VOCABULARY, hotwords={"A": math.nan})
    with pytest.raises(UserError, match="word list"):
        PrefixDecoder(VOCABULARY, words=["XYZ"])
    with pytest.raises(UserError, match="word separator"):
        PrefixDecoder(PHONES, words=["A"])
    path = tmp_path / "lm.arpa"
    path.write_text(ARPA)
    strange = Vocabulary(("<pad>", "C", "D"), unknown=None, word_separator=None)
    with pytest.raises(UserError, match="none of the vocabulary's symbols"):
        PrefixDecoder(strange, NgramModel.load(path))
