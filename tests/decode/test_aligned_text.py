import itertools

import numpy as np
import pytest

from wav2vec2.decode.aligned_text import AlignedText, align_text, spell, unknown_text
from wav2vec2.errors import UserError
from wav2vec2.text.normalize import TextNormalization
from wav2vec2.text.vocabulary import Vocabulary

ENGLISH = Vocabulary.from_transcripts(["THE QUICK BROWN FOX JUMPS OVER A LAZY DOG'S"])


def emissions_of(path: list[int], symbols: int, sure: float = 0.9) -> np.ndarray:
    return np.log(np.where(np.eye(symbols)[path] == 1, sure, (1 - sure) / (symbols - 1))).astype(np.float32)


def spoken(text: str, vocabulary: Vocabulary, hold: int = 2) -> np.ndarray:
    """Every symbol lasts `hold` frames, and a blank follows."""
    path = [symbol for index in vocabulary.encode(text) for symbol in (*[index] * hold, vocabulary.blank)]
    return emissions_of(path, len(vocabulary))


def spans(aligned: AlignedText) -> list[tuple[str, int, int] | tuple[str, None, None]]:
    return [(w.text, w.span.first, w.span.last) if w.span else (w.text, None, None) for w in aligned.words]


def test_words_keep_their_spelling_and_have_the_frames_of_their_symbols() -> None:
    aligned = align_text(spoken("A FOX", ENGLISH), "a\n “fox”", ENGLISH)
    assert spans(aligned) == [("a", 0, 1), ("“fox”", 6, 13)]
    assert [(s.text, s.span.first if s.span else None) for s in aligned.words[1].symbols] == [
        ("“", None), ("F", 6), ("O", 9), ("X", 12), ("”", None)
    ]  # fmt: skip
    assert aligned.unknown == {"“": 1, "”": 1}
    assert aligned.score == pytest.approx(0.9)
    assert [word.span.score for word in aligned.words if word.span] == pytest.approx([0.9, 0.9])


def test_case_is_the_vocabularys_also_where_the_transcripts_kept_theirs() -> None:
    kept = Vocabulary.from_transcripts(["A FOX"], normalization=TextNormalization("keep", "keep", "keep"))
    assert spans(align_text(spoken("A FOX", kept), "a Fox", kept)) == [("a", 0, 1), ("Fox", 6, 13)]
    mixed = Vocabulary.from_transcripts(["A Fox"], normalization=TextNormalization("keep", "keep", "keep"))
    assert align_text(spoken("A Fox", mixed), "a Fox", mixed).unknown == {"a": 1}


def test_word_score_is_the_mean_over_its_frames() -> None:
    a, f, separator = (ENGLISH.symbols.index(symbol) for symbol in "AF|")
    path = [a, a, a, f, separator, a]
    emissions = emissions_of(path, len(ENGLISH))
    emissions[3] = np.log(1 / len(ENGLISH))
    word = align_text(emissions, "AF A", ENGLISH).words[0]
    assert [s.span.score for s in word.symbols if s.span] == pytest.approx([0.9, 1 / len(ENGLISH)], rel=1e-5)
    assert word.span is not None
    assert word.span.score == pytest.approx((0.9**3 / len(ENGLISH)) ** 0.25, rel=1e-5)


def test_what_the_vocabulary_lacks_is_counted_and_gets_no_time() -> None:
    aligned = align_text(spoken("A FOX", ENGLISH), "A 42 4 FÖOX", ENGLISH)
    assert spans(aligned) == [("A", 0, 1), ("42", None, None), ("4", None, None), ("FÖOX", 6, 13)]
    assert aligned.unknown == {"4": 2, "2": 1, "Ö": 1}
    assert unknown_text(aligned.unknown) == "the vocabulary cannot spell 4 of its symbols: '4' x2, '2' x1, 'Ö' x1"
    assert "and 3 more" in unknown_text(dict.fromkeys("abcdefghijklm", 1))


def test_one_separator_stands_between_words_that_have_symbols() -> None:
    labels = spell("42 A 42 – 42 FOX 42", ENGLISH).labels
    assert labels == ENGLISH.encode("A FOX")
    assert spell("", ENGLISH).labels == []


def test_recorded_normalisation_may_make_several_words_or_none_of_one() -> None:
    rules = TextNormalization("upper", "names", "remove", ("A", "B", "C", "D", "E", "F", "G", "H", "I", "J"))
    vocabulary = Vocabulary.from_transcripts(["ABCDEFGHIJ X"], normalization=rules)
    aligned = align_text(spoken("X C D A", vocabulary), "x, 23! – a", vocabulary)
    assert spans(aligned) == [("x,", 0, 1), ("23!", 6, 13), ("–", None, None), ("a", 18, 19)]
    assert aligned.unknown == {}
    strict = Vocabulary.from_transcripts(["AB"], normalization=TextNormalization("upper", "error"))
    with pytest.raises(UserError, match=r"talk\.wav: digit '2'"):
        align_text(spoken("A", strict), "A 2", strict, name="talk.wav")


def test_without_separator_symbols_are_the_words() -> None:
    phones = Vocabulary.from_transcripts(["dh ax k ae t"], unit="whitespace")
    aligned = align_text(spoken("k ae t", phones), "k ae  zz t", phones)
    assert spans(aligned) == [("k", 0, 1), ("ae", 3, 4), ("zz", None, None), ("t", 6, 7)]
    chinese = Vocabulary.from_transcripts(["我们学习"])
    assert chinese.word_separator is None
    assert spans(align_text(spoken("学习", chinese), "学习", chinese)) == [("学", 0, 1), ("习", 3, 4)]


def test_any_script_and_composition() -> None:
    for text in ("नमस्ते दुनिया", "שלום עולם", "Ελλάδα ναι", "ĝis la revido", "e\u0301te\u0301 a\u0300"):
        vocabulary = Vocabulary.from_transcripts([text])
        aligned = align_text(spoken(text, vocabulary), text, vocabulary)
        assert [word.text for word in aligned.words] == text.split()
        found = [word.span for word in aligned.words if word.span]
        assert len(found) == len(aligned.words)
        assert all(a.last < b.first for a, b in itertools.pairwise(found))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the text is empty"),
        (" \n\t ", "the text is empty"),
        ("привет", "none of the text can be aligned .*cannot spell 6 of its symbols: 'П' x1"),
        ("A VERY LONG FOX", "the text does not fit: 15 labels and 0 repeats"),
        ("OOOO", "4 labels and 3 repeats .* need 7 frames, and there are 6"),
    ],
)
def test_impossible_texts_are_one_line(text: str, said: str) -> None:
    with pytest.raises(UserError, match=f"talk.wav: .*{said}") as caught:
        align_text(spoken("AF", ENGLISH), text, ENGLISH, name="talk.wav")
    assert "\n" not in str(caught.value)


def test_impossible_emissions_are_one_line() -> None:
    with pytest.raises(UserError, match=r"talk\.wav: is shorter than one frame"):
        align_text(np.zeros((0, len(ENGLISH)), np.float32), "A", ENGLISH, name="talk.wav")
    with pytest.raises(UserError, match=r"talk.wav: emissions of 5 symbols .* vocabulary of"):
        align_text(np.zeros((9, 5), np.float32), "A", ENGLISH, name="talk.wav")
    with pytest.raises(UserError, match=r"talk.wav: .*NaN"):
        align_text(np.full((9, len(ENGLISH)), np.nan, np.float32), "A", ENGLISH, name="talk.wav")
