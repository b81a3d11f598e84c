"""What a prefix beam search does to the letter, slowly: a dictionary from prefixes to the scores of their paths."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from tests.decode.prefix.exhaustive import lm_tokens, words_of

from wav2vec2.decode.search import SearchOptions
from wav2vec2.lm.language_model import LanguageModel
from wav2vec2.text.vocabulary import Vocabulary

Prefix = tuple[int, ...]


@dataclass(frozen=True)
class Setting:
    """Everything but the emissions. unit: `word` or `symbol`, what the language model scores."""

    vocabulary: Vocabulary
    options: SearchOptions
    lm: LanguageModel | None = None
    unit: str = "word"
    hotwords: Mapping[str, float] | None = None
    look_ahead: bool = True

    @property
    def emitted(self) -> list[int]:
        return [i for i, symbol in enumerate(self.vocabulary.symbols) if symbol in ("|", "A", "B")]

    def is_known(self, token: str) -> bool:
        return self.lm is None or self.lm.index(token) != self.lm.unknown or token in (self.hotwords or {})

    def parts(self, prefix: Prefix) -> tuple[list[str], str]:
        """The words that have ended, and the letters of one that has not; phones are words that end at once."""
        if self.vocabulary.word_separator is None:
            return words_of(prefix, self.vocabulary), ""
        separator = self.vocabulary.symbols.index(self.vocabulary.word_separator)
        begin = max((place + 1 for place, symbol in enumerate(prefix) if symbol == separator), default=0)
        return words_of(prefix[:begin], self.vocabulary), "".join(self.vocabulary.symbols[i] for i in prefix[begin:])

    def ended(self, prefix: Prefix, words: list[str], *, last: bool) -> float:
        """What the ended words and the symbols of a prefix add; `last`: with the end of the sentence."""
        options = self.options
        total = options.word_score * len(words) + sum((self.hotwords or {}).get(word, 0.0) for word in words)
        total += options.silence_score * sum(self.vocabulary.symbols[i] == "|" for i in prefix)
        if self.lm is None:
            return total
        tokens = words if self.unit == "word" else lm_tokens(prefix, self.vocabulary, "symbol")
        history = np.array([self.lm.start()])
        for token in tokens:
            score, history = self.lm.score(history, np.array([self.lm.index(token)]))
            total += options.lm_weight * float(score[0])
            total += 0.0 if self.is_known(token) else options.unknown_score
        return total + (options.lm_weight * float(self.lm.finish(history)[0]) if last else 0.0)

    def promised(self, letters: str) -> float:
        """What an unfinished word is granted until it ends; -inf if no word that may be written begins so."""
        if not letters:
            return 0.0
        hotwords, options = self.hotwords or {}, self.options
        over_words = self.lm is not None and self.unit == "word"
        expected, unknown = {}, options.unknown_score if over_words else 0.0
        if self.lm is not None and over_words:
            marks = ("<unk>", "<s>", "</s>", "|")
            words = [word for word in {*self.lm.tokens, *hotwords} if word not in marks]
            indices = np.array([self.lm.index(word) for word in [*words, "<unk>"]])
            weight = options.lm_weight * self.look_ahead
            scores = (weight * self.lm.score(np.zeros(len(indices), np.int64), indices)[0]).tolist()
            expected, unknown = dict(zip(words, scores, strict=False)), unknown + scores[-1]
        begun = {word for word in {*expected, *hotwords} if word.startswith(letters)}
        if not begun:
            return unknown
        shares = [hotwords.get(word, 0.0) / len(word) for word in begun]
        best = max(expected[word] for word in begun) if expected and self.look_ahead else 0.0
        share = max(shares, key=abs) * len(letters)
        return share + (max(best, unknown) if expected and self.look_ahead else 0.0)


def plain_beam_search(emissions: np.ndarray, setting: Setting) -> list[tuple[Prefix, float]]:
    """The readings in the last beam, best first, of those with equal words the best one."""
    options, blank = setting.options, setting.vocabulary.blank
    add = np.logaddexp if options.merge == "logadd" else max

    @cache
    def bonus(prefix: Prefix) -> float:
        words, letters = setting.parts(prefix)
        return setting.ended(prefix, words, last=False) + setting.promised(letters)

    beam: dict[Prefix, tuple[float, float]] = {(): (0.0, -math.inf)}  # paths that end in a blank, in the last symbol
    for frame in emissions.astype(np.float64):
        ranked = sorted(setting.emitted, key=lambda symbol: -frame[symbol])[: options.beam_tokens or None]
        following = {
            prefix: (float(add(b, s)) + frame[blank], s + frame[prefix[-1]] if prefix else -math.inf)
            for prefix, (b, s) in beam.items()
        }
        for prefix, (b, s) in beam.items():
            for symbol in ranked:
                before = b if prefix and prefix[-1] == symbol else float(add(b, s))
                longer = (*prefix, symbol)
                quiet, spoken = following.get(longer, (-math.inf, -math.inf))
                following[longer] = quiet, float(add(spoken, before + frame[symbol]))
        scores = {prefix: float(add(*paths)) + bonus(prefix) for prefix, paths in following.items()}
        least = max(scores.values()) - options.threshold
        kept = sorted(scores, key=lambda prefix: -scores[prefix])[: options.beam]
        beam = {prefix: following[prefix] for prefix in kept if scores[prefix] >= least and scores[prefix] > -math.inf}
    found: dict[tuple[str, ...], tuple[Prefix, float]] = {}
    for prefix, paths in beam.items():
        words = words_of(prefix, setting.vocabulary)
        score = float(add(*paths)) + setting.ended(prefix, words, last=True)
        if score > found.get(tuple(words), (prefix, -math.inf))[1]:
            found[tuple(words)] = prefix, score
    return sorted(found.values(), key=lambda reading: -reading[1])
