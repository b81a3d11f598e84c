"""From the log-probabilities of frames to words, while they come: by the best symbols, or by a search.

A writer is given the frames that are not committed yet, in parts between which a pause lies, and the border below which
they are committed now. A word is complete when a separator follows it, or a pause. Where the vocabulary has no
separator, every symbol is a word. What a writer has committed never changes.

Legend: N frames of a part, V symbols.
"""

import math
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from wav2vec2.decode.context import WHOLE, Context
from wav2vec2.decode.hypothesis import Hypothesis
from wav2vec2.decode.search import Decoder, SearchOptions
from wav2vec2.model.architecture import Architecture
from wav2vec2.output.transcript import Word
from wav2vec2.text.vocabulary import Vocabulary

Part = tuple[np.ndarray, Tensor]
"""Numbers (N,) of frames in the stream, rising, and their log-probabilities (N, V) in nats on the CPU."""


class Writer(Protocol):
    """Writes the words of one stream."""

    def advance(self, parts: Sequence[Part], until: int) -> tuple[list[Word], list[Word]]:
        """Commit the frames below number `until`.

        Return the words that are complete now, and those that would follow if the stream ended with the parts.
        """

    def finish(self, parts: Sequence[Part], *, goes_on: bool = False) -> list[Word]:
        """Commit all frames and end the last word; return the words.

        Another utterance begins, unless this one `goes_on`.
        """


@dataclass
class _Open:
    """A word that is being spelled: its symbols, first and last frame, and log-probabilities of its frames."""

    ids: list[int] = field(default_factory=list)
    first: int = 0
    last: int = 0
    scores: list[list[float]] = field(default_factory=list)
    """Those of the frames of each symbol."""


class GreedyWriter:
    """`Writer` by the best symbol of every frame. Confidences are those of `decode.greedy.confident_words`."""

    def __init__(self, vocabulary: Vocabulary, architecture: Architecture) -> None:
        self._vocabulary, self._architecture = vocabulary, architecture
        separator = vocabulary.word_separator
        self._separator = -1 if separator is None else vocabulary.symbols.index(separator)
        self._previous = vocabulary.blank
        self._word = _Open()

    def advance(self, parts: Sequence[Part], until: int) -> tuple[list[Word], list[Word]]:
        """See `Writer`."""
        words: list[Word] = []
        rest: list[Part] = []
        for place, (numbers, log_probs) in enumerate(parts):
            count = int(np.searchsorted(numbers, until))
            words += self._feed(numbers[:count], log_probs[:count])
            if count < len(numbers):
                rest.append((numbers[count:], log_probs[count:]))
            elif place + 1 < len(parts):
                words += self._pause()
        ahead = copy(self)
        ahead._word = replace(self._word, ids=list(self._word.ids), scores=[list(s) for s in self._word.scores])
        return words, ahead.finish(rest)

    def finish(self, parts: Sequence[Part], *, goes_on: bool = False) -> list[Word]:
        """See `Writer`."""
        words = [word for numbers, log_probs in parts for word in (*self._feed(numbers, log_probs), *self._pause())]
        return [*words, *self._pause()]

    def _feed(self, numbers: np.ndarray, log_probs: Tensor) -> list[Word]:
        words: list[Word] = []
        scores, symbols = log_probs.max(-1)
        for number, symbol, score in zip(numbers.tolist(), symbols.tolist(), scores.tolist(), strict=True):
            self._step(number, symbol, score, words)
        return words

    def _pause(self) -> list[Word]:
        words: list[Word] = []
        self._end_word(words)
        self._previous = self._vocabulary.blank
        return words

    def _step(self, number: int, symbol: int, score: float, words: list[Word]) -> None:
        if symbol == self._separator:
            self._end_word(words)
        elif symbol != self._vocabulary.blank:
            if symbol != self._previous:
                if self._separator < 0:
                    self._end_word(words)
                if not self._word.ids:
                    self._word = _Open(first=number)
                self._word.ids.append(symbol)
                self._word.scores.append([])
            if self._word.ids:
                self._word.last = number
                self._word.scores[-1].append(score)
        self._previous = symbol

    def _end_word(self, words: list[Word]) -> None:
        word, self._word = self._word, _Open()
        text = self._vocabulary.decode(word.ids)
        if text:
            confidence = math.exp(min(0.0, sum(sum(scores) / len(scores) for scores in word.scores)))
            words.append(timed_word(text, word.first, word.last, confidence, self._architecture))


@dataclass(frozen=True)
class _Found:
    """A word of a hypothesis: its symbols end before index `end`, and what follows it begins at frame `follows`."""

    text: str
    first: int
    last: int
    end: int
    follows: float


class SearchWriter:
    """`Writer` by a search, with its language model.

    What follows the last committed word is searched anew each time, the frames to come included, from the state in
    which the committed words leave the language model. So the search looks ahead as far as the model does.
    """

    def __init__(
        self, decoder: Decoder, options: SearchOptions, vocabulary: Vocabulary, architecture: Architecture
    ) -> None:
        self._decoder, self._options = decoder, replace(options, nbest=1)
        self._vocabulary, self._architecture = vocabulary, architecture
        separator = vocabulary.word_separator
        self._separator = -1 if separator is None else vocabulary.symbols.index(separator)
        self._pending: list[Part] = []  # committed frames after the last committed word
        self._context = WHOLE.going_on()

    def advance(self, parts: Sequence[Part], until: int) -> tuple[list[Word], list[Word]]:
        """See `Writer`."""
        committed: list[Word] = []
        tentative: list[Word] = []
        context, going = self._context, True
        for place, part in enumerate(parts):
            whole = _joined([*self._pending, part]) if going else part
            hypothesis, found = self._search(whole, context)
            words = self._words(whole[0], hypothesis, found)
            passed = going and place + 1 < len(parts) and not (whole[0] >= until).any()
            if passed:
                committed += words
                self._context, self._pending = context.then(hypothesis, self._vocabulary).going_on(), []
            elif going:
                border = int(np.searchsorted(whole[0], until))
                count = sum(one.follows < border for one in found)
                committed, tentative, going = [*committed, *words[:count]], words[count:], False
                self._keep(whole, hypothesis, found[:count], border)
            else:
                tentative += words
            context = context.then(hypothesis, self._vocabulary).going_on()
        return committed, tentative

    def finish(self, parts: Sequence[Part], *, goes_on: bool = False) -> list[Word]:
        """See `Writer`."""
        words: list[Word] = []
        for place, part in enumerate(parts):
            whole = _joined([*self._pending, part])
            last = place + 1 == len(parts) and not goes_on
            hypothesis, found = self._search(whole, self._context.going_on(not last))
            words += self._words(whole[0], hypothesis, found)
            self._context, self._pending = self._context.then(hypothesis, self._vocabulary).going_on(), []
        if not goes_on:
            self._context = WHOLE.going_on()
        return words

    def _keep(self, whole: Part, hypothesis: Hypothesis, found: Sequence[_Found], border: int) -> None:
        """Move the context past committed words, and keep the frames between them and the border."""
        begin = 0
        if found:
            end = found[-1].end
            said = replace(hypothesis, ids=hypothesis.ids[:end], words=hypothesis.words[: len(found)])
            self._context = self._context.then(said, self._vocabulary).going_on()
            separated = end < len(hypothesis.ids) and hypothesis.ids[end] == self._separator
            begin = min(border, hypothesis.last_frames[end if separated else end - 1] + 1)
        self._pending = [(whole[0][begin:border], whole[1][begin:border])]

    def _search(self, part: Part, context: Context) -> tuple[Hypothesis, list[_Found]]:
        """Return the best hypothesis of a part and its words; the frames are counted from the begin of the part."""
        hypothesis = self._decoder.decode([part[1].numpy()], self._options, [context])[0][0]
        if not math.isfinite(hypothesis.score):  # every word is forbidden
            return replace(hypothesis, ids=[], frames=[], last_frames=[], words=(), word_confidences=()), []
        ids = hypothesis.ids
        starts = [
            i
            for i, symbol in enumerate(ids)
            if symbol != self._separator and (self._separator < 0 or not i or ids[i - 1] == self._separator)
        ]
        found = []
        for begin in starts:
            end = begin + 1
            while self._separator >= 0 and end < len(ids) and ids[end] != self._separator:
                end += 1
            follows = hypothesis.frames[end] if end < len(ids) else math.inf
            text = self._vocabulary.decode(ids[begin:end])
            found.append(_Found(text, hypothesis.frames[begin], hypothesis.last_frames[end - 1], end, follows))
        if len(hypothesis.words) == len(found):  # a lexicon's
            found = [replace(one, text=text) for one, text in zip(found, hypothesis.words, strict=True)]
        return hypothesis, found

    def _words(self, numbers: np.ndarray, hypothesis: Hypothesis, found: Sequence[_Found]) -> list[Word]:
        return [
            timed_word(one.text, int(numbers[one.first]), int(numbers[one.last]), confidence, self._architecture)
            for one, confidence in zip(found, hypothesis.confidences(len(found)), strict=True)
        ]


def timed_word(text: str, first: int, last: int, confidence: float | None, architecture: Architecture) -> Word:
    """Return a word of the frames `first` to `last` of a stream."""
    return Word(text, *architecture.frame_span(first, last), confidence)


def _joined(parts: Sequence[Part]) -> Part:
    return np.concatenate([numbers for numbers, _ in parts]), torch.cat([log_probs for _, log_probs in parts])
