"""Forced alignment of ordinary text: words and characters with their frames and scores.

The text is normalised word by word to the form that the model was trained on, so that every word of the result keeps
its own spelling ("Hello," is aligned as HELLO). Characters that the vocabulary lacks are counted and get no times.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wav2vec2.decode.align import LabelAlignment, align_labels
from wav2vec2.errors import UserError, quoted
from wav2vec2.text.vocabulary import Vocabulary

_SHOWN = 10


@dataclass(frozen=True)
class Span:
    """Frames `first` to `last`, both included, and a score in [0, 1]."""

    first: int
    last: int
    score: float


@dataclass(frozen=True)
class AlignedSymbol:
    """A character (or phone) in the vocabulary's form. span: None if the vocabulary lacks it.

    The score is the geometric mean of the symbol's posterior over its frames.
    """

    text: str
    span: Span | None


@dataclass(frozen=True)
class AlignedWord:
    """A word in the form of the given text; without a word separator in the vocabulary, a symbol.

    span: from the first frame of the first symbol to the last frame of the last one; None if no symbol has frames. The
    score is the geometric mean of the posterior over the frames of the symbols (blanks between them not counted).
    """

    text: str
    symbols: tuple[AlignedSymbol, ...]
    span: Span | None


@dataclass(frozen=True)
class AlignedText:
    """An aligned text. unknown: counts of the symbols that the vocabulary lacks.

    score: computed as for a word, over all words. log_probability: that of the best path, in nats, blanks and
    separators included.
    """

    words: tuple[AlignedWord, ...]
    unknown: dict[str, int] = field(default_factory=dict)
    score: float = 0.0
    log_probability: float = 0.0


@dataclass(frozen=True)
class Spelling:
    """A text and its labels. words: each word with its symbols and their places in `labels` (None: unknown)."""

    labels: list[int]
    words: list[tuple[str, list[tuple[str, int | None]]]]
    unknown: Counter[str]


def spell(text: str, vocabulary: Vocabulary) -> Spelling:
    """Spell `text` with the symbols of `vocabulary`, with one separator between words that have known symbols.

    Raises UserError if the vocabulary's text normalisation refuses the text (digits).
    """
    spelling = Spelling([], [], Counter())
    joins = vocabulary.word_separator is not None and vocabulary.unit == "characters"
    separator = vocabulary.symbols.index(vocabulary.word_separator) if joins and vocabulary.word_separator else None
    for written in text.split():
        parts = vocabulary.fit(written).split()
        symbols: list[tuple[str, int | None]] = []
        for part in parts:
            unknown = vocabulary.unknown_symbols(part)
            spelling.unknown.update(unknown)
            known = [symbol for symbol in vocabulary.split(part) if symbol not in unknown]
            if known and spelling.labels and separator is not None:
                spelling.labels.append(separator)
            for symbol in vocabulary.split(part):
                place = None
                if symbol not in unknown:
                    place = len(spelling.labels)
                    spelling.labels.extend(vocabulary.encode(symbol))
                symbols.append((symbol, place))
        if joins:
            spelling.words.append((written, symbols))
        else:
            spelling.words.extend((symbol, [(symbol, place)]) for symbol, place in symbols)
    return spelling


def align_text(emissions: NDArray[Any], text: str, vocabulary: Vocabulary, *, name: str = "emissions") -> AlignedText:
    """Align `text` to `emissions` (T, V), log-probabilities in nats of one recording; `name` is its name in messages.

    Raises:
        UserError: a text without any symbol of the vocabulary, a text that needs more frames than there are, no frames,
            NaN, or emissions that do not have the vocabulary's width.
    """
    if emissions.ndim == 2 and emissions.shape[1] != len(vocabulary):
        width = f"emissions of {emissions.shape[1]} symbols do not belong to a vocabulary of {len(vocabulary)}"
        raise UserError(f"{name}: {width}; use the model's own")
    try:
        spelling = spell(text, vocabulary)
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    if not text.strip():
        raise UserError(f"{name}: the text is empty; give the words that are spoken")
    if not spelling.labels:
        why = unknown_text(spelling.unknown) if spelling.unknown else "it is punctuation only"
        raise UserError(f"{name}: none of the text can be aligned ({why}); use a model of this language and case")
    if not len(emissions):
        raise UserError(
            f"{name}: is shorter than one frame of the model, so that nothing can be aligned to it; remove it"
        )
    alignment = align_labels(emissions, spelling.labels, blank=vocabulary.blank, name=name)
    words = tuple(_word(written, symbols, alignment) for written, symbols in spelling.words)
    places = [place for _, symbols in spelling.words for _, place in symbols if place is not None]
    score = _span(places, alignment).score
    return AlignedText(words, dict(spelling.unknown.most_common()), score, alignment.log_probability)


def unknown_text(unknown: Counter[str] | dict[str, int]) -> str:
    """Name the characters that a vocabulary lacks, most frequent first: "... 3 of its symbols: '$' x2, ..."."""
    counts = Counter(unknown)
    named = ", ".join(f"{quoted(symbol)} x{count}" for symbol, count in counts.most_common(_SHOWN))
    rest = "" if len(counts) <= _SHOWN else f" and {len(counts) - _SHOWN} more"
    return f"the vocabulary cannot spell {counts.total()} of its symbols: {named}{rest}"


def _word(written: str, symbols: Sequence[tuple[str, int | None]], alignment: LabelAlignment) -> AlignedWord:
    aligned = tuple(
        AlignedSymbol(text, None if place is None else _span([place], alignment)) for text, place in symbols
    )
    places = [place for _, place in symbols if place is not None]
    return AlignedWord(written, aligned, _span(places, alignment) if places else None)


def _span(places: Sequence[int], alignment: LabelAlignment) -> Span:
    first, last = alignment.first[list(places)], alignment.last[list(places)]
    mean = float(alignment.log_probabilities[list(places)].sum() / np.sum(last - first + 1))
    return Span(int(first[0]), int(last[-1]), math.exp(min(mean, 0.0)))
