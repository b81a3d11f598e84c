"""Input and output of decoders: log-probabilities of frames, and hypotheses.

Worker processes import this module, so it does not import torch.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from wav2vec2.errors import UserError
from wav2vec2.text.vocabulary import Vocabulary

Emissions = NDArray[np.float32]
"""(T, V) log-probabilities (nats) of one utterance's frames."""

WordSpan = tuple[str, int, int]
"""A word with the first and the last frame of its symbols."""


@dataclass(frozen=True)
class Hypothesis:
    """One candidate transcript of an utterance.

    ids: its symbols, with repeats merged and blanks removed, word separators included. frames, last_frames: the first
    and the last frame of each symbol. score: the number that ranks hypotheses, in nats: acoustic_score + LM weight *
    lm_score + what the decoder adds for words. acoustic_score: log-probability of the symbols. lm_score:
    log-probability (nats) of the words under the language model, 0 without one. word_confidences: for each word, the
    share of the n-best list's probability (0 to 1) of the hypotheses with this word at this place; empty if the decoder
    does not compute it. words: the written words, if a lexicon spells them in other symbols (phones); empty if the
    symbols spell the words.
    """

    ids: list[int]
    frames: list[int]
    score: float
    last_frames: list[int] = field(default_factory=list)
    acoustic_score: float = 0.0
    lm_score: float = 0.0
    word_confidences: tuple[float, ...] = ()
    words: tuple[str, ...] = ()

    def confidences(self, words: int) -> Sequence[float | None]:
        """Return the confidence of each of so many words; None for all of them if the decoder does not compute it."""
        return self.word_confidences if len(self.word_confidences) == words else [None] * words


def check_emissions(emissions: Emissions, width: int) -> Emissions:
    """Return (T, width) float32, contiguous. Raises UserError for another shape, NaN and +inf."""
    array = np.ascontiguousarray(emissions, dtype=np.float32)
    if array.ndim != 2 or array.shape[1] != width:
        raise UserError(f"emissions: have shape {array.shape}; give (frames, {width}), one column per symbol")
    if np.isnan(array).any() or (array.size and float(array.max()) == np.inf):
        raise UserError("emissions: contain NaN or +inf; check the model and its input")
    return array


def collapse(symbols: Sequence[int], blank: int, score: float = 0.0) -> Hypothesis:
    """Apply CTC's map from frames to symbols: merge runs of equal `symbols` (one a frame), then drop the blanks."""
    ids: list[int] = []
    frames: list[int] = []
    last_frames: list[int] = []
    previous = blank
    for frame, symbol in enumerate(symbols):
        if symbol != blank:
            if symbol == previous:
                last_frames[-1] = frame
            else:
                ids.append(symbol)
                frames.append(frame)
                last_frames.append(frame)
        previous = symbol
    return Hypothesis(ids, frames, score, last_frames, acoustic_score=score)


def word_frames(vocabulary: Vocabulary, hypothesis: Hypothesis) -> list[WordSpan]:
    """Split a hypothesis at its word separators: each word with the first and the last frame of its symbols.

    Without a separator in the vocabulary every symbol is a word. The words of a lexicon replace the spelled ones.
    """
    words: list[tuple[list[int], int, int]] = []
    joins = False
    for index, first, last in zip(hypothesis.ids, hypothesis.frames, hypothesis.last_frames, strict=True):
        if vocabulary.word_separator is not None and vocabulary.symbols[index] == vocabulary.word_separator:
            joins = False
        elif joins:
            words[-1] = ([*words[-1][0], index], words[-1][1], last)
        else:
            words.append(([index], first, last))
            joins = vocabulary.word_separator is not None
    if len(hypothesis.words) == len(words):
        return [(word, first, last) for word, (_, first, last) in zip(hypothesis.words, words, strict=True)]
    shown = [(vocabulary.decode(ids), first, last) for ids, first, last in words]
    return [word for word in shown if word[0]]


def hypothesis_text(vocabulary: Vocabulary, hypothesis: Hypothesis) -> str:
    """Return the text of a hypothesis: the words of a lexicon, or else the text that the symbols spell."""
    return " ".join(hypothesis.words) if hypothesis.words else vocabulary.decode(hypothesis.ids)


def hypothesis_words(vocabulary: Vocabulary, hypothesis: Hypothesis) -> list[str]:
    """Return the words of a hypothesis; without a word separator in the vocabulary every symbol is one."""
    if hypothesis.words:
        return list(hypothesis.words)
    if vocabulary.word_separator is None:
        return [word for index in hypothesis.ids if (word := vocabulary.decode([index]))]
    return vocabulary.decode(hypothesis.ids).split()


def with_confidences(vocabulary: Vocabulary, nbest: Sequence[Hypothesis], *, shown: int) -> list[Hypothesis]:
    """Return the first `shown` hypotheses of an n-best list with the confidences of their words.

    The confidence of a word is the share of the whole list's probability that belongs to hypotheses with the same word
    at an overlapping time. Hypotheses with score -inf, which come last, get none.
    """
    possible = [hypothesis for hypothesis in nbest if math.isfinite(hypothesis.score)]
    spans = [word_frames(vocabulary, hypothesis) for hypothesis in possible]
    shares = word_confidences(spans, [hypothesis.score for hypothesis in possible], shown=shown)
    scored = [replace(one, word_confidences=own) for one, own in zip(nbest, shares, strict=False)]
    return [*scored, *nbest[len(scored) : shown]]


def word_confidences(
    hypotheses: Sequence[Sequence[WordSpan]], scores: Sequence[float], *, shown: int
) -> list[tuple[float, ...]]:
    """Return the confidences of the words of the first `shown` hypotheses; see `with_confidences`.

    scores: log-probabilities (nats) of the hypotheses, up to a constant.
    """
    if not hypotheses:
        return []
    best = max(scores)
    weights = [math.exp(score - best) for score in scores]
    total = sum(weights)
    places: dict[str, list[tuple[int, int, int]]] = {}
    for row, spans in enumerate(hypotheses):
        for text, first, last in spans:
            places.setdefault(text, []).append((row, first, last))
    confidences = []
    for spans in hypotheses[:shown]:
        shares = []
        for text, first, last in spans:
            agreeing = {row for row, begin, end in places[text] if begin <= last and first <= end}
            shares.append(min(1.0, sum(weights[row] for row in sorted(agreeing)) / total))
        confidences.append(tuple(shares))
    return confidences
