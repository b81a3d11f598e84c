"""Turns a vocabulary, word lists, a language model and options into the arrays that guide a prefix beam search."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wav2vec2.decode.prefix.beam import Rules
from wav2vec2.decode.prefix.spelling_trie import SpellingTrie, build_trie
from wav2vec2.decode.search import SearchOptions
from wav2vec2.decode.words import LmCase, build_lexicon, symbol_indices, word_scores
from wav2vec2.errors import UserError
from wav2vec2.lm.language_model import LanguageModel
from wav2vec2.lm.ngram.model import NgramModel
from wav2vec2.text.vocabulary import Vocabulary

_LEAST = -1e3  # nats: words that the language model finds impossible must not lead to differences of infinities


@dataclass(frozen=True)
class Guidance:
    """Everything that guides a search besides acoustics and options. All words are in the vocabulary's written form.

    lm_symbols: (V,) each symbol's index in a language model over symbols; None for one over words. known: the words of
    a language model over words, with their indices. allowed: the only words that may be written; None for any.
    hotwords: words with the nats that each occurrence adds. expected: log-probability (nats) of each word of the
    language model, by its index, without a history; unfinished words are ranked by it. None: they are not.
    """

    vocabulary: Vocabulary
    lm: LanguageModel | None
    lm_symbols: NDArray[np.int64] | None
    known: Mapping[str, int]
    allowed: Sequence[str] | None
    hotwords: Mapping[str, float]
    expected: NDArray[np.float64] | None

    @property
    def scores_words(self) -> bool:
        """Whether there is a language model over words."""
        return self.lm is not None and self.lm_symbols is None

    def unknown_gain(self, options: SearchOptions) -> float:
        """Score that a word outside the trie adds when it ends; -inf forbids it."""
        if self.allowed is not None:
            return -math.inf
        return options.unknown_score if self.scores_words else 0.0

    def outside(self, options: SearchOptions) -> float:
        """Score that a word outside the trie is expected to add.

        A prefix pays it as soon as it leaves the trie; otherwise a search would prefer words that never end.
        """
        gain = self.unknown_gain(options)
        if self.expected is not None and self.lm is not None:
            gain += options.lm_weight * float(self.expected[self.lm.unknown])
        return gain


def known_words(lm: LanguageModel, vocabulary: Vocabulary, lm_case: LmCase, source: str) -> dict[str, int]:
    """Return the words of a language model that can be spelled, in written form, with the model's indices.

    Raises UserError, naming `source`, if none can be spelled.
    """
    lexicon = build_lexicon(lm.tokens, vocabulary, lm_case, source=source)
    words: dict[str, int] = {}
    for word, token in zip(lexicon.words, lexicon.lm_words, strict=True):
        if (index := lm.index(token)) != lm.unknown:
            words.setdefault(word, index)
    return words


def known_symbols(lm: LanguageModel, vocabulary: Vocabulary, lm_case: LmCase, source: str) -> NDArray[np.int64]:
    """Return each symbol's index in a language model over symbols, (V,).

    Raises UserError, naming `source`, if it knows none of them.
    """
    indices = symbol_indices(lm, vocabulary, lm_case, source)
    if np.all(indices[_emitted(vocabulary)] == lm.unknown):
        raise UserError(f"{source}: has none of the vocabulary's symbols; give a language model over these symbols")
    return indices


def expected_scores(lm: LanguageModel, known: Mapping[str, int]) -> NDArray[np.float64]:
    """Return `Guidance.expected` for the known words and the unknown one; 0 for other tokens."""
    words = np.unique([lm.unknown, *known.values()])
    history = 0  # of an n-gram: the empty one
    if not isinstance(lm, NgramModel):  # after an unknown word: it says next to nothing about the next one
        history = int(lm.score(np.array([lm.start()]), np.array([lm.unknown]))[1][0])
    expected = np.zeros(len(lm.tokens))
    expected[words] = np.maximum(word_scores(lm, history, words), _LEAST)
    return expected


def make_trie(guidance: Guidance, options: SearchOptions) -> SpellingTrie:
    """Build the trie of the words that matter: the allowed ones, or else the language model's, and the hotwords."""
    known, hotwords = guidance.known, guidance.hotwords
    lm = guidance.lm if guidance.scores_words else None
    entries = dict.fromkeys([*(known if guidance.allowed is None else guidance.allowed), *hotwords])
    forbidden = lm is not None and options.unknown_score == -math.inf
    words = [word for word in entries if not forbidden or word in known or word in hotwords]
    unknown = 0 if lm is None else lm.unknown
    indices = np.array([known.get(word, unknown) for word in words], np.int64)
    scores = [0.0 if lm is None or word in known or word in hotwords else options.unknown_score for word in words]
    expected = None
    if guidance.expected is not None and words:
        expected = scores + options.lm_weight * guidance.expected[indices]
    return build_trie(
        [guidance.vocabulary.encode(word) for word in words],
        indices.tolist(),
        scores,
        [hotwords.get(word, 0.0) for word in words],
        expected,
        guidance.outside(options),
    )


def make_rules(guidance: Guidance, options: SearchOptions, trie: SpellingTrie) -> Rules:
    """Bring options and guidance to the form that the compiled search reads."""
    vocabulary, lm, lm_symbols = guidance.vocabulary, guidance.lm, guidance.lm_symbols
    separator = -1 if vocabulary.word_separator is None else vocabulary.symbols.index(vocabulary.word_separator)
    symbols = _emitted(vocabulary)
    by_symbol = lm_symbols is not None or separator < 0
    gain = np.zeros(len(vocabulary))
    if separator < 0:
        gain += options.word_score
    else:
        gain[separator] = options.silence_score
    if lm is not None and lm_symbols is not None:
        gain[lm_symbols == lm.unknown] += options.unknown_score
    unknown_gain, outside = guidance.unknown_gain(options), guidance.outside(options)
    outside = 0.0 if outside == -math.inf else outside  # no prefix gets outside the trie
    hopeful = options.lm_weight >= 0 or lm is None or not by_symbol
    steps = trie.potential[1:] - trie.potential[_parents(trie)[1:]]
    leaving = outside - float(trie.potential.min()) if unknown_gain > -math.inf else 0.0
    most = max(0.0, float(steps.max(initial=0.0)), leaving)
    plain = symbols[symbols != separator]
    return Rules(
        symbols=symbols,
        gain=gain,
        lm_index=np.zeros(len(vocabulary), np.int64) if lm_symbols is None else lm_symbols,
        blank=vocabulary.blank,
        separator=separator,
        beam=options.beam,
        beam_symbols=min(options.beam_tokens or len(symbols), len(symbols)),
        threshold=float(options.threshold),
        add_paths=options.merge == "logadd",
        scored=lm is not None,
        by_symbol=by_symbol,
        lm_weight=float(options.lm_weight),
        word_gain=float(options.word_score) if separator >= 0 else 0.0,
        unknown=0 if lm is None else int(lm.unknown),
        unknown_gain=float(unknown_gain),
        outside=outside,
        guided=unknown_gain == -math.inf or outside != 0 or bool(np.any(trie.potential != 0)),
        most_gain=most + float(gain[plain].max(initial=-math.inf)) if hopeful else math.inf,
    )


def _emitted(vocabulary: Vocabulary) -> NDArray[np.int32]:
    """Return the symbols that a search may write besides the blank: the separator and all that are visible in text."""
    separator = vocabulary.word_separator
    hidden = (vocabulary.blank, vocabulary.unknown)
    return np.array(
        [
            index
            for index, symbol in enumerate(vocabulary.symbols)
            if symbol == separator or (index not in hidden and vocabulary.decode([index]))
        ],
        np.int32,
    )


def _parents(trie: SpellingTrie) -> NDArray[np.int64]:
    parents = np.zeros(len(trie.symbol), np.int64)
    parents[1:] = np.repeat(np.arange(len(trie.symbol)), np.diff(trie.first_child))
    return parents
