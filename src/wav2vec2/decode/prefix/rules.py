"""From a vocabulary, options, language model and word lists to the arrays that a prefix beam search obeys."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from wav2vec2.decode.options import SearchOptions
from wav2vec2.decode.prefix.beam import Rules
from wav2vec2.decode.prefix.hotwords import spell_hotwords
from wav2vec2.decode.prefix.spelling_trie import SpellingTrie, build_trie
from wav2vec2.errors import UserError
from wav2vec2.lm.language_model import LanguageModel
from wav2vec2.lm.ngram.model import NgramModel
from wav2vec2.lm.words import SENTENCE_MARKS
from wav2vec2.text.vocabulary import Vocabulary

LmUnit = Literal["word", "symbol"]
LmCase = Literal["keep", "fold"]

_SPACES = ("|", " ", "<space>")


@dataclass(frozen=True)
class Guidance:
    """What a search knows besides the acoustics. words: the only ones to be written, None for any. lm_name: what
    messages call the language model.
    """

    language_model: LanguageModel | None = None
    lm_unit: LmUnit = "word"
    lm_case: LmCase = "keep"
    hotwords: Mapping[str, float] | None = None
    words: Sequence[str] | None = None
    look_ahead: bool = True
    lm_name: str = "language model"

    def scores_words(self, vocabulary: Vocabulary) -> bool:
        """Whether the language model is one of words in a vocabulary that spells them."""
        return self.language_model is not None and self.lm_unit == "word" and vocabulary.word_separator is not None

    def looks_ahead(self, vocabulary: Vocabulary) -> bool:
        """Whether unfinished words are ranked by what an n-gram expects of them."""
        return self.look_ahead and self.scores_words(vocabulary) and isinstance(self.language_model, NgramModel)


def unit_of(lm: LanguageModel, vocabulary: Vocabulary) -> LmUnit:
    """What a model's tokens are: symbols if it says so, if each of them is one, or if symbols are all that there is."""
    marks = {*SENTENCE_MARKS, vocabulary.word_separator}
    if vocabulary.word_separator is None or lm.unit == "characters":
        return "symbol"
    return "symbol" if all(token in vocabulary.symbol_ids or token in marks for token in lm.tokens) else "word"


def _unknown_gain(vocabulary: Vocabulary, options: SearchOptions, guidance: Guidance) -> float:
    """What a word outside the trie adds when it ends."""
    if guidance.words is not None:
        return -math.inf
    return options.unknown_score if guidance.scores_words(vocabulary) else 0.0


def _outside(vocabulary: Vocabulary, options: SearchOptions, guidance: Guidance) -> float:
    """What such a word is expected to bring: a prefix pays as soon as it leaves the trie, or else a search prefers
    words that never end.
    """
    gain, lm = _unknown_gain(vocabulary, options, guidance), guidance.language_model
    if guidance.looks_ahead(vocabulary) and lm is not None:
        gain += options.lm_weight * float(_unigram(lm, np.array([lm.unknown]))[0])
    return gain


def _unigram(lm: LanguageModel | None, words: NDArray[np.int64]) -> NDArray[np.float64]:
    """Log-probability of words without a history, which only an n-gram has."""
    assert isinstance(lm, NgramModel)
    return lm.score(np.zeros_like(words), words)[0].astype(np.float64)


def make_trie(vocabulary: Vocabulary, options: SearchOptions, guidance: Guidance) -> SpellingTrie:
    """Spell the words that matter: the allowed ones or else the language model's, and the hotwords.

    Raises UserError for words or hotwords without a separator in the vocabulary, and if no word can be spelled.
    """
    if vocabulary.word_separator is None and (guidance.hotwords or guidance.words is not None):
        raise UserError("hotwords and word lists need a word separator in the vocabulary, which has none")
    hotwords = spell_hotwords(guidance.hotwords or {}, vocabulary)
    lm = guidance.language_model if guidance.scores_words(vocabulary) else None
    known = {} if lm is None else _known_words(guidance, lm, vocabulary)
    if guidance.words is not None:
        allowed = _spellable([_written(word, vocabulary, guidance.lm_case) for word in guidance.words], vocabulary)
        if not allowed:
            raise UserError(f"word list: {_not_one(guidance.words, vocabulary)}")
    else:
        allowed = list(known)
    entries = dict.fromkeys([*allowed, *hotwords])
    forbidden = lm is not None and options.unknown_score == -math.inf
    words = [word for word in entries if not forbidden or word in known or word in hotwords]
    unknown = 0 if lm is None else lm.unknown
    indices = np.array([known.get(word, unknown) for word in words], np.int64)
    scores = [0.0 if lm is None or word in known or word in hotwords else options.unknown_score for word in words]
    expected = None
    if guidance.looks_ahead(vocabulary) and words:
        expected = scores + options.lm_weight * _unigram(lm, indices)
    return build_trie(
        [vocabulary.encode(word) for word in words],
        indices.tolist(),
        scores,
        [hotwords.get(word, 0.0) for word in words],
        expected,
        _outside(vocabulary, options, guidance),
    )


def make_rules(vocabulary: Vocabulary, options: SearchOptions, guidance: Guidance, trie: SpellingTrie) -> Rules:
    """Put the options into the form that the compiled search reads.

    Raises UserError for a language model over symbols that knows none of the vocabulary's.
    """
    separator = -1 if vocabulary.word_separator is None else vocabulary.symbols.index(vocabulary.word_separator)
    symbols = np.array(
        [
            index
            for index in range(len(vocabulary))
            if index == separator
            or (index not in (vocabulary.blank, vocabulary.unknown) and vocabulary.decode([index]))
        ],
        np.int32,
    )
    lm = guidance.language_model
    by_symbol = guidance.lm_unit == "symbol" or separator < 0
    gain, lm_index = np.zeros(len(vocabulary)), np.zeros(len(vocabulary), np.int64)
    if separator < 0:
        gain += options.word_score
    else:
        gain[separator] = options.silence_score
    if lm is not None and by_symbol:
        lm_index = _symbol_indices(lm, vocabulary, separator)
        if np.all(lm_index[symbols] == lm.unknown):
            raise UserError(
                f"{guidance.lm_name}: knows none of the vocabulary's symbols; give one over symbols, not words"
            )
        gain[lm_index == lm.unknown] += options.unknown_score
    unknown_gain, outside = _unknown_gain(vocabulary, options, guidance), _outside(vocabulary, options, guidance)
    outside = 0.0 if outside == -math.inf else outside  # nothing gets there
    hopeful = options.lm_weight >= 0 or lm is None or not by_symbol
    steps = trie.potential[1:] - trie.potential[_parents(trie)[1:]]
    leaving = outside - float(trie.potential.min()) if unknown_gain > -math.inf else 0.0
    most = max(0.0, float(steps.max(initial=0.0)), leaving)
    plain = symbols[symbols != separator]
    return Rules(
        symbols=symbols,
        gain=gain,
        lm_index=lm_index,
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


def _parents(trie: SpellingTrie) -> NDArray[np.int64]:
    parents = np.zeros(len(trie.symbol), np.int64)
    parents[1:] = np.repeat(np.arange(len(trie.symbol)), np.diff(trie.first_child))
    return parents


def _symbol_indices(lm: LanguageModel, vocabulary: Vocabulary, separator: int) -> NDArray[np.int64]:
    indices = np.array([lm.index(symbol) for symbol in vocabulary.symbols], np.int64)
    if separator >= 0:
        found = [lm.index(name) for name in (vocabulary.symbols[separator], *_SPACES)]
        indices[separator] = next((index for index in found if index != lm.unknown), lm.unknown)
    return indices


def _known_words(guidance: Guidance, lm: LanguageModel, vocabulary: Vocabulary) -> dict[str, int]:
    """The language model's words that can be spelled, as they are written, with its indices."""
    words: dict[str, int] = {}
    for index, token in enumerate(lm.tokens):
        if token not in SENTENCE_MARKS and index != lm.unknown:
            words.setdefault(_written(token, vocabulary, guidance.lm_case), index)
    spelled = {word: words[word] for word in _spellable(list(words), vocabulary)}
    if not spelled:
        raise UserError(f"{guidance.lm_name}: {_not_one(list(words), vocabulary)}")
    return spelled


def _written(word: str, vocabulary: Vocabulary, case: LmCase) -> str:
    if case == "keep" or vocabulary.case == "keep":
        return word
    return word.upper() if vocabulary.case == "upper" else word.lower()


def _spellable(words: Sequence[str], vocabulary: Vocabulary) -> list[str]:
    """The words that the vocabulary has all symbols of, in their order."""
    unknown = {letter for letter in set().union(*words) if vocabulary.unknown_symbols(letter)} if words else set()
    return [
        word
        for word in words
        if word and not any(letter.isspace() for letter in word)
        if unknown.isdisjoint(word) or not vocabulary.unknown_symbols(word)
    ]


def _not_one(words: Sequence[str], vocabulary: Vocabulary) -> str:
    case = vocabulary.case
    folded = [_written(word, vocabulary, "fold") for word in words]
    if case != "keep" and len(_spellable(folded, vocabulary)) > 0:
        return f"its words are not in {case} case as the vocabulary's symbols are; --lm-case fold matches them"
    return "not one of its words can be spelled in the vocabulary; give the one that belongs to this model"
