import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wav2vec2.errors import UserError
from wav2vec2.text.normalize import TextNormalization
from wav2vec2.text.vocabulary import Vocabulary

TEXTS = ["HELLO WORLD", "IT'S A WORLD", "LOW TIDE"]


def english() -> Vocabulary:
    return Vocabulary.from_transcripts(TEXTS)


def test_specials_separator_then_symbols_by_frequency() -> None:
    vocabulary = english()
    assert vocabulary.symbols[:5] == ("<pad>", "<s>", "</s>", "<unk>", "|")
    assert vocabulary.symbols[5:9] == ("L", "O", "D", "W")  # 6, 5, 3, 3: ties by code point
    assert english() == Vocabulary.from_transcripts(reversed(TEXTS))
    assert len(vocabulary) == len(vocabulary.symbols)
    assert vocabulary.case == "upper"


def test_decomposed_text_gives_composed_symbols() -> None:
    vocabulary = Vocabulary.from_transcripts(["cafe\u0301 é"])
    assert "é" in vocabulary.symbols
    assert "\u0301" not in vocabulary.symbols
    assert vocabulary.encode("e\u0301") == vocabulary.encode("é") != [vocabulary.unknown]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(["HELLO", "IT'S", "TIDE", "WOOL"]), max_size=5))
def test_known_text_survives_a_round_trip(words: list[str]) -> None:
    vocabulary = english()
    assert vocabulary.decode(vocabulary.encode("  ".join(words))) == " ".join(words)


def test_unknown_characters_and_the_literal_separator_are_counted() -> None:
    vocabulary = english()
    assert vocabulary.encode("HELP|") == [*vocabulary.encode("HEL"), 3, 3]
    assert vocabulary.unknown_symbols("HELP P|  <s>") == {"P": 2, "|": 1, "<": 1, "s": 1, ">": 1}
    assert vocabulary.decode([3]) == "⁇"
    without = Vocabulary(("<pad>", "a"), unknown=None, word_separator=None)
    assert without.encode("aba") == [1, 1]


def test_control_symbols_vanish_and_spaces_collapse() -> None:
    vocabulary = english()
    ids = [4, 1, *vocabulary.encode("LOW"), 0, 4, 4, *vocabulary.encode("TIDE"), 2, 4]
    assert vocabulary.decode(ids) == "LOW TIDE"


def test_phones() -> None:
    vocabulary = Vocabulary.from_transcripts(["dh ax k ae t", "k ae"], unit="whitespace")
    assert vocabulary.symbols[4:6] == ("ae", "k")
    assert vocabulary.word_separator is None
    assert vocabulary.decode(vocabulary.encode("dh  ax k")) == "dh ax k"
    assert vocabulary.unknown_symbols("k zz <pad>") == {"zz": 1, "<pad>": 1}


def test_scripts_without_spaces_have_no_separator() -> None:
    vocabulary = Vocabulary.from_transcripts(["今天天气", "天气很好"])
    assert vocabulary.word_separator is None
    assert vocabulary.decode(vocabulary.encode("今天 很好")) == "今天很好"
    assert Vocabulary.from_transcripts(["今天 天气"]).word_separator == "|"
    assert Vocabulary.from_transcripts(["yes", "no"]).word_separator == "|"


def test_refusals() -> None:
    with pytest.raises(UserError, match="'a' occurs twice"):
        Vocabulary(("<pad>", "a", "a", "<unk>", "|"))
    with pytest.raises(UserError, match="no symbols"):
        Vocabulary.from_transcripts(["", " "])
    with pytest.raises(UserError, match="not one of its 1 ids"):
        Vocabulary(("a",), blank=1, unknown=None, word_separator=None)
    with pytest.raises(UserError, match="separator"):
        Vocabulary(("<pad>", "a"), unknown=None)


def test_saved_and_loaded_is_equal(tmp_path: Path) -> None:
    rules = TextNormalization("lower", "names", "remove")
    for number, vocabulary in enumerate(
        [
            english(),
            Vocabulary.from_transcripts(["Hello, 5 WORLD"], normalization=rules),
            Vocabulary.from_transcripts(["今天天气"]),
            Vocabulary.from_transcripts(["dh ax k"], unit="whitespace"),
        ]
    ):
        vocabulary.save(tmp_path / str(number))
        assert Vocabulary.load(tmp_path / str(number)) == vocabulary


def test_other_layouts_of_the_table(tmp_path: Path) -> None:
    table = {"a": 0, "b": 1, "|": 2, "[UNK]": 3, "[PAD]": 4}
    (tmp_path / "vocab.json").write_text(json.dumps(table))
    special = {"unk_token": {"content": "[UNK]"}, "pad_token": "[PAD]"}
    (tmp_path / "special_tokens_map.json").write_text(json.dumps(special))
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<s>": 5, "</s>": 6}))
    vocabulary = Vocabulary.load(tmp_path)
    assert (vocabulary.blank, vocabulary.unknown, len(vocabulary)) == (4, 3, 7)
    assert vocabulary.decode([0, 5, 2, 4, 1, 6]) == "a b"
    assert Vocabulary.from_symbols(vocabulary.symbols, blank=4) == vocabulary


def test_multilingual_table_needs_a_language(tmp_path: Path) -> None:
    nested = {"eng": {"<pad>": 0, "a": 1}, "deu": {"<pad>": 0, "ä": 1}}
    (tmp_path / "vocab.json").write_text(json.dumps(nested))
    assert Vocabulary.load(tmp_path, language="deu").symbols == ("<pad>", "ä")
    with pytest.raises(UserError, match="deu, eng"):
        Vocabulary.load(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not readable JSON"),
        ("[]", "object"),
        ('{"<pad>": 0, "a": 2}', "0 to 1"),
        ('{"<pad>": 0, "a": 0}', "blank"),
        ('{"<pad>": 0, "a": [1]}', "whole numbers"),
        ('{"a": 0}', "blank"),
        ('{"eng": {}, "deu": 1}', "no language None"),
    ],
)
def test_broken_tables_are_refused_by_name(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "vocab.json").write_text(content)
    with pytest.raises(UserError, match=rf"vocab\.json.*{message}"):
        Vocabulary.load(tmp_path)


def test_a_special_token_without_content_is_refused(tmp_path: Path) -> None:
    (tmp_path / "vocab.json").write_text('{"<pad>": 0}')
    (tmp_path / "special_tokens_map.json").write_text('{"pad_token": {}}')
    with pytest.raises(UserError, match="lacks None, the CTC blank"):
        Vocabulary.load(tmp_path)


def test_missing_table(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="fine-tune"):
        Vocabulary.load(tmp_path)


def test_recorded_normalization_is_applied() -> None:
    assert english().normalize("it’s") == "IT'S"
    rules = TextNormalization("lower", punctuation="remove")
    assert Vocabulary.from_transcripts(["ab"], normalization=rules).normalize("A, b!") == "a b"
