from collections import Counter

import pytest

from wav2vec2.text.normalize import TextNormalization
from wav2vec2.text.vocabulary import Vocabulary
from wav2vec2.train.finetune.symbols import seen_symbols, symbol_lines

GERMAN = ["Guten Morgen, Anna!", "Am 3. Mai gehen wir.", "guten Abend, anna", "Wie geht es dir?"]


def lines(texts: list[str], repeat: int = 1, **rules: str) -> list[str]:
    normalization = TextNormalization(**rules)
    vocabulary = Vocabulary.from_transcripts(texts, normalization=normalization)
    counts = Counter(label for text in texts * repeat for label in vocabulary.encode(normalization(text)))
    return symbol_lines(vocabulary, seen_symbols(vocabulary, counts))


def test_capitals_punctuation_and_digits_are_named_with_the_options_that_fold_them() -> None:
    first, proposal, digits, rare = lines(GERMAN)
    symbols = sorted(set("".join(GERMAN)) - {" "})
    assert first.startswith(f"vocabulary: {len(symbols) + 5} symbols: <pad> <s> </s> <unk> | ")
    capitals = [symbol for symbol in symbols if symbol.isupper() and symbol.lower() in symbols]
    marks = [symbol for symbol in symbols if symbol in ",.!?"]
    left = len(symbols) - len(capitals) - len(marks)
    assert proposal == (
        f"of these, {len(capitals)} capitals of other symbols and 4 marks of punctuation: --text.case lower "
        f"--text.punctuation remove leaves {left} to be learned; --text.auto chooses such options by script"
    )
    assert "(3)" in digits
    assert "--text.digits words --text.language LANGUAGE spells them" in digits
    assert rare.startswith("seen fewer than 5 times, too rarely to be learned: ")


def test_a_folded_vocabulary_leaves_as_many_symbols_as_was_said() -> None:
    (folded,) = lines(GERMAN[:1] + GERMAN[2:], repeat=9, case="lower", punctuation="remove")
    promised = lines(GERMAN[:1] + GERMAN[2:], repeat=9)[1]
    assert f"leaves {int(folded.split()[1]) - 5} to be learned" in promised


def test_rare_symbols_are_named_once_and_in_order() -> None:
    *_, rare = lines(["ab", "bb", "bbb", "ca"] * 2)
    assert rare == "seen fewer than 5 times, too rarely to be learned: a c"
    assert lines(["ab ba"] * 3, case="lower")[1:] == []


@pytest.mark.parametrize("texts", [["AH B AH", "B T"], ["b1 b2 b1"]])
def test_phones_are_not_letters(texts: list[str]) -> None:
    vocabulary = Vocabulary.from_transcripts(texts, unit="whitespace")
    counts = Counter(label for text in texts * 5 for label in vocabulary.encode(text))
    assert len(symbol_lines(vocabulary, seen_symbols(vocabulary, counts))) == 1


def test_scripts_without_case_get_no_proposal() -> None:
    assert len(lines(["नमस्ते दुनिया", "你好"] * 9)) == 1
