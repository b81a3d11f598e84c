"""From the symbols of frames to words, while they come: greedy decoding that can stop at any frame and go on.

A word is complete when the model has put a separator after it, or when a pause follows. Where the vocabulary has no
separator, every symbol is a word.
"""

import math
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.model.architecture import Architecture
from wav2vec2.output.transcript import Word
from wav2vec2.text.vocabulary import Vocabulary


@dataclass
class _Open:
    """A word that is being spelled: its symbols, first and last frame, and log-probabilities of its frames."""

    ids: list[int] = field(default_factory=list)
    first: int = 0
    last: int = 0
    score: float = 0.0
    frames: int = 0


class GreedyWriter:
    """Writes the words of one stream by the best symbol of every frame."""

    def __init__(self, vocabulary: Vocabulary, architecture: Architecture) -> None:
        self._vocabulary, self._architecture = vocabulary, architecture
        separator = vocabulary.word_separator
        self._separator = -1 if separator is None else vocabulary.symbols.index(separator)
        self._previous = vocabulary.blank
        self._word = _Open()

    @property
    def spelling(self) -> bool:
        """Whether a word has begun and is not complete."""
        return bool(self._word.ids)

    def feed(self, numbers: np.ndarray, log_probs: Tensor) -> list[Word]:
        """Take frames (N,) with their log-probabilities (N, V); return the words that are complete now."""
        words: list[Word] = []
        scores, symbols = log_probs.max(-1)
        for number, symbol, score in zip(numbers.tolist(), symbols.tolist(), scores.tolist(), strict=True):
            self._step(number, symbol, score, words)
        return words

    def pause(self) -> list[Word]:
        """End the word that is being spelled, because a pause follows; return it, or nothing."""
        words: list[Word] = []
        self._end_word(words)
        self._previous = self._vocabulary.blank
        return words

    def tail(self, parts: Sequence[tuple[np.ndarray, Tensor]]) -> list[Word]:
        """Return the words that would follow if the stream ended after frames that are not fed yet.

        A pause lies between two of the parts.
        """
        other = copy(self)
        other._word = copy(self._word)
        other._word.ids = list(self._word.ids)
        words: list[Word] = []
        for numbers, log_probs in parts:
            words += other.feed(numbers, log_probs)
            words += other.pause()
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
            if self._word.ids:
                self._word.last = number
                self._word.score += score
                self._word.frames += 1
        self._previous = symbol

    def _end_word(self, words: list[Word]) -> None:
        word, self._word = self._word, _Open()
        text = self._vocabulary.decode(word.ids)
        if text:
            confidence = math.exp(word.score / word.frames)
            center, half = self._architecture.frame_center, self._architecture.stride / 2 / SAMPLE_RATE
            words.append(Word(text, center(word.first) - half, center(word.last) + half, confidence))
