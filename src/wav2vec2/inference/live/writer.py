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


_States = list[tuple[Context, float]]
"""States that what comes may follow from, with what each has cost so far, in nats."""


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
    which the committed words leave the language model. So the search looks ahead as far as the model does. A pause may
    end a sentence or not: what follows it is searched from both states, and the likelier one counts.
    """

    def __init__(
        self, decoder: Decoder, options: SearchOptions, vocabulary: Vocabulary, architecture: Architecture
    ) -> None:
        self._decoder, self._options = decoder, replace(options, nbest=1)
        self._vocabulary, self._architecture = vocabulary, architecture
        separator = vocabulary.word_separator
        self._separator = -1 if separator is None else vocabulary.symbols.index(separator)
        self._pending: list[Part] = []  # committed frames after the last committed word
        self._states: _States = [(WHOLE, 0.0)]

    def advance(self, parts: Sequence[Part], until: int) -> tuple[list[Word], list[Word]]:
        """See `Writer`."""
        committed: list[Word] = []
        tentative: list[Word] = []
        states, going = self._states, True
        for place, part in enumerate(parts):
            whole = _joined([*self._pending, part]) if going else part
            before_pause = place + 1 < len(parts)
            hypothesis, found, context = self._search(whole, states, ends=before_pause)
            words = self._words(whole[0], hypothesis, found)
            if before_pause:
                states = self._after_pause(whole, hypothesis, context)
            if going and before_pause and not (whole[0] >= until).any():
                committed += words
                self._states, self._pending = states, []
            elif going:
                border = int(np.searchsorted(whole[0], until))
                count = sum(one.follows < border for one in found)
                committed, tentative, going = [*committed, *words[:count]], words[count:], False
                self._keep(whole, hypothesis, found[:count], border, context)
            else:
                tentative += words
        return committed, tentative

    def finish(self, parts: Sequence[Part], *, goes_on: bool = False) -> list[Word]:
        """See `Writer`."""
        words: list[Word] = []
        for place, part in enumerate(parts):
            whole = _joined([*self._pending, part])
            hypothesis, found, context = self._search(whole, self._states, ends=True)
            words += self._words(whole[0], hypothesis, found)
            last = place + 1 == len(parts) and not goes_on
            self._states = [(WHOLE, 0.0)] if last else self._after_pause(whole, hypothesis, context)
            self._pending = []
        if not goes_on:
            self._states = [(WHOLE, 0.0)]
        return words

    def _keep(
        self, whole: Part, hypothesis: Hypothesis, found: Sequence[_Found], border: int, context: Context
    ) -> None:
        """Move the context past committed words, and keep the frames between them and the border."""
        begin = 0
        if found:
            end = found[-1].end
            said = replace(hypothesis, ids=hypothesis.ids[:end], words=hypothesis.words[: len(found)])
            self._states = [(context.then(said, self._vocabulary), 0.0)]
            separated = end < len(hypothesis.ids) and hypothesis.ids[end] == self._separator
            begin = min(border, hypothesis.last_frames[end if separated else end - 1] + 1)
        self._pending = [(whole[0][begin:border], whole[1][begin:border])]

    def _after_pause(self, whole: Part, hypothesis: Hypothesis, context: Context) -> _States:
        """Return the states that a pause leaves: a sentence that goes on, and one that begins, with what ending cost.

        hypothesis: what was said before the pause, found as if the sentence ended there.
        """
        going = self._decoder.decode([whole[1].numpy()], self._options, [context.going_on()])[0][0]
        cost = hypothesis.score - going.score
        after = context.then(hypothesis, self._vocabulary)
        return [(after, 0.0), (WHOLE, cost)] if after.words and math.isfinite(cost) else [(WHOLE, 0.0)]

    def _search(self, part: Part, states: _States, *, ends: bool) -> tuple[Hypothesis, list[_Found], Context]:
        """Return the best hypothesis of a part, its words, and the state that it follows from.

        The frames are counted from the begin of the part. ends: whether the sentence is taken to end with it.
        """
        found = [
            (self._decoder.decode([part[1].numpy()], self._options, [context.going_on(not ends)])[0][0], context, cost)
            for context, cost in states
        ]
        hypothesis, context, _ = max(found, key=lambda one: one[0].score + one[2])
        if not math.isfinite(hypothesis.score):  # every word is forbidden
            empty = replace(hypothesis, ids=[], frames=[], last_frames=[], words=(), word_confidences=())
            return empty, [], context
        return hypothesis, self._spelled(hypothesis), context

    def _spelled(self, hypothesis: Hypothesis) -> list[_Found]:
        """Return the words of a hypothesis."""
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
        return found

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
