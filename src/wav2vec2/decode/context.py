"""Where a piece of a recording stands: what was said before it, and whether something follows.

A search that is given a context begins with the language model in the state that these words leave it in, instead of at
the beginning of a sentence. Worker processes import this module, so it does not import torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from wav2vec2.decode.hypothesis import Hypothesis, hypothesis_words
from wav2vec2.text.vocabulary import Vocabulary

MOST_WORDS, MOST_SYMBOLS = 64, 512
"""What is remembered: more than any n-gram looks back, and a bound on what a Transformer reads again at each piece."""


@dataclass(frozen=True)
class Context:
    """What was said before a piece, latest last, and whether the recording goes on after it.

    words: as they are written. ids: the symbols that spell them, word separators included. goes_on: then the language
    model does not score the end of the sentence.
    """

    words: tuple[str, ...] = ()
    ids: tuple[int, ...] = ()
    goes_on: bool = False

    def then(self, hypothesis: Hypothesis, vocabulary: Vocabulary) -> "Context":
        """Return the context of what follows `hypothesis`, for a recording that ends there; see `going_on`."""
        separator = None if vocabulary.word_separator is None else vocabulary.symbols.index(vocabulary.word_separator)
        words = (*self.words, *hypothesis_words(vocabulary, hypothesis))[-MOST_WORDS:]
        between = () if separator is None or not self.ids or not hypothesis.ids else (separator,)
        ids = (*_trimmed(self.ids, separator), *between, *_trimmed(hypothesis.ids, separator))
        return Context(words, ids[-MOST_SYMBOLS:])

    def going_on(self, goes_on: bool = True) -> "Context":
        """Return the same context before a piece after which the recording goes on, or does not."""
        return self if self.goes_on == goes_on else replace(self, goes_on=goes_on)


WHOLE = Context()
"""The context of a whole utterance: nothing before it and nothing after it."""


def _trimmed(ids: Sequence[int], separator: int | None) -> Sequence[int]:
    first, last = 0, len(ids)
    while first < last and ids[first] == separator:
        first += 1
    while last > first and ids[last - 1] == separator:
        last -= 1
    return ids[first:last]


def contexts_of(count: int, contexts: Sequence[Context] | None) -> Sequence[Context]:
    """Return one context for each of `count` pieces: `contexts`, or those of whole utterances.

    Raises ValueError if their number is another one.
    """
    if contexts is None:
        return [WHOLE] * count
    if len(contexts) != count:
        raise ValueError(f"{count} pieces have {len(contexts)} contexts; give one for each")
    return contexts
