import pytest
from tests.decode.lexicon.cases import VOCABULARY

from wav2vec2.decode.context import MOST_SYMBOLS, MOST_WORDS, WHOLE, Context, contexts_of
from wav2vec2.decode.hypothesis import Hypothesis
from wav2vec2.text.vocabulary import Vocabulary


def said(text: str, vocabulary: Vocabulary = VOCABULARY) -> Hypothesis:
    ids = vocabulary.encode(text)
    return Hypothesis(ids, list(range(len(ids))), 0.0)


def test_what_was_said_is_remembered_in_words_and_symbols() -> None:
    later = WHOLE.then(said("A BA"), VOCABULARY).then(Hypothesis([1, 2, 3, 1], [0, 1, 2, 3], 0.0), VOCABULARY)
    assert later == Context(("A", "BA", "AB"), tuple(VOCABULARY.encode("A BA AB")))
    assert later.then(Hypothesis([], [], 0.0), VOCABULARY) == later
    assert later.going_on() == Context(later.words, later.ids, goes_on=True)
    assert later.going_on().going_on(False) == later
    assert later.going_on().then(said("A"), VOCABULARY).goes_on is False


def test_phones_stand_side_by_side() -> None:
    phones = Vocabulary.from_transcripts(["dh ax k"], unit="whitespace")
    later = WHOLE.then(said("k ax", phones), phones).then(said("dh", phones), phones)
    assert later == Context(("k", "ax", "dh"), tuple(phones.encode("k ax dh")))


def test_only_so_much_is_remembered() -> None:
    context = WHOLE
    for _ in range(300):
        context = context.then(said("AB BA"), VOCABULARY)
    assert (len(context.words), len(context.ids)) == (MOST_WORDS, MOST_SYMBOLS)


def test_there_is_a_context_for_every_piece() -> None:
    assert contexts_of(2, None) == [WHOLE, WHOLE]
    with pytest.raises(ValueError, match="2 pieces have 1 contexts"):
        contexts_of(2, [WHOLE])
