"""The words of a hypothesis with their frames."""

from wav2vec2.decode.hypothesis import Hypothesis
from wav2vec2.text.vocabulary import Vocabulary


def word_frames(vocabulary: Vocabulary, hypothesis: Hypothesis) -> list[tuple[str, int, int]]:
    """Cut a hypothesis at the word separator: each word with the first and last frame of its symbols.

    Without a separator every symbol is a word of its own. A lexicon's own words stand in place of their symbols.
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
    """The text of a hypothesis: a lexicon's words, or else what its symbols spell."""
    return " ".join(hypothesis.words) if hypothesis.words else vocabulary.decode(hypothesis.ids)
