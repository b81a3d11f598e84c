"""A language model that lies beside a model, in pyctcdecode's layout: its weights, its alphabet, and its texts."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from tests.decode.pyctcdecode_facts import ALPHABET, SYMBOLS, TEXTS, beside, emissions

from wav2vec2.decode.beside_model import build_model_searches, check_alphabet, with_model_lm
from wav2vec2.decode.build import DecodingOptions
from wav2vec2.decode.hypothesis import hypothesis_text
from wav2vec2.decode.search import GREEDY, run_searches
from wav2vec2.errors import UserError
from wav2vec2.text.vocabulary import Vocabulary

VOCABULARY = Vocabulary(SYMBOLS)


def test_texts_are_pyctcdecodes(tmp_path: Path) -> None:
    lines: list[str] = []
    folder = beside(tmp_path)
    (search,) = build_model_searches(DecodingOptions(workers=1), VOCABULARY, lambda: folder, notice=lines.append)
    (lists,) = run_searches([search], VOCABULARY, [emissions(seed) for seed in TEXTS])
    found = [(hypothesis_text(VOCABULARY, best), best.score) for (best,) in lists]
    assert [text for text, _ in found] == [text for text, _ in TEXTS.values()]
    # it adds up the paths with one and with several separators in a row, which are hypotheses of their own here
    assert all(
        score == pytest.approx(theirs, abs=1.0) for (_, score), (_, theirs) in zip(found, TEXTS.values(), strict=True)
    )
    assert lines == [f"{folder / 'lm.arpa'}: used, because it lies beside the model; --lm none turns it off"]
    search.close()


def test_weights_are_those_of_the_file_unless_given(tmp_path: Path) -> None:
    folder = beside(tmp_path, alpha=0.5, beta=1.5, unk_score_offset=-10.0)
    own = with_model_lm(DecodingOptions(), folder, VOCABULARY)
    assert (own.decoder, own.lm, own.beam, own.merge) == ("beam", folder / "lm.arpa", 100, "logadd")
    assert (own.lm_weight, own.word_score) == (0.5, 1.5)
    assert own.unknown_score == pytest.approx(-5 * math.log(10))
    own = with_model_lm(DecodingOptions(lm_weight=2.0, beam=7, nbest=3), folder, VOCABULARY)
    assert (own.lm_weight, own.word_score, own.beam, own.nbest) == (2.0, 1.5, 7, 3)


LEFT_OPEN = [{}, {"decoder": "beam"}, {"hotwords": {"cab": 5.0}}, {"nbest": 3}]
CHOSEN = [{"decoder": "greedy"}, {"lm": Path("none")}, {"lm": Path("none"), "decoder": "beam"}]


@pytest.mark.parametrize("options", LEFT_OPEN)
def test_it_is_used_where_nothing_else_is_asked_for(options: dict, tmp_path: Path) -> None:
    lines: list[str] = []
    decoding = DecodingOptions(**options, workers=1)
    search = build_model_searches(decoding, VOCABULARY, lambda: beside(tmp_path), notice=lines.append)[-1]
    assert search.title.startswith("2-gram")
    assert len(lines) == 1
    search.close()


@pytest.mark.parametrize("options", CHOSEN)
def test_it_is_left_where_the_options_choose(options: dict) -> None:
    def folder() -> Path:
        raise AssertionError("asked for")

    search = build_model_searches(DecodingOptions(**options, workers=1), VOCABULARY, folder)[-1]
    assert "gram" not in search.title
    search.close()


def test_a_model_without_one(tmp_path: Path) -> None:
    lines: list[str] = []
    assert build_model_searches(DecodingOptions(), VOCABULARY, lambda: None, notice=lines.append) == [GREEDY]
    assert lines == []


ALPHABETS = {
    "as it is saved": (ALPHABET, SYMBOLS),
    "symbols as they are": ({"labels": list(SYMBOLS)}, SYMBOLS),
    "more labels than classes": ({"labels": [*ALPHABET["labels"], "<x>"]}, SYMBOLS),
    "a blank at the end": ({"labels": [" ", "a", "\u2047", ""]}, ("|", "a", "[UNK]", "[PAD]")),
    # of word pieces that are letters: the mark is the separator
    "pieces": (
        {"labels": ["", "\u2581\u2047\u2581", "\u2581", "a"], "is_bpe": True},
        ("<pad>", "<unk>", "\u2581", "a"),
    ),
}


@pytest.mark.parametrize("name", ALPHABETS)
def test_alphabets_that_agree(name: str, tmp_path: Path) -> None:
    alphabet, symbols = ALPHABETS[name]
    (tmp_path / "alphabet.json").write_text(json.dumps(alphabet))
    blank = next(index for index, symbol in enumerate(symbols) if symbol in ("<pad>", "[PAD]"))
    check_alphabet(tmp_path / "alphabet.json", Vocabulary.from_symbols(symbols, blank=blank))


OTHERS = {
    "another order": ({"labels": ["", "<s>", "</s>", "\u2047", " ", *"bacdehst"]}, r'has "b" where the model has .a.'),
    "capitals": ({"labels": ["", "<s>", "</s>", "\u2047", " ", *"ABCDEHST"]}, r'has "A" where the model has .a.'),
    "blank elsewhere": ({"labels": ["<s>", "", "</s>", "\u2047", " ", *"abcdehst"]}, r'has "<s>" where .* .<pad>.'),
    "fewer": ({"labels": ["", "a"]}, "has 2 labels, the model 13 symbols"),
    "pieces": ({"labels": ["", "<s>", "</s>", "\u2581\u2047\u2581", "\u2581", *["\u2581a"] * 8]}, 'has "\u2581a"'),
    "no list": ({"labels": "abc"}, "its labels are not a list of strings"),
    "numbers": ({"labels": [0, 1]}, "its labels are not a list of strings"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_an_alphabet_of_another_model_is_named_and_greedy_decoding_remains(name: str, tmp_path: Path) -> None:
    folder = beside(tmp_path)
    (tmp_path / "alphabet.json").write_text(json.dumps(OTHERS[name][0]))
    with pytest.raises(UserError, match=OTHERS[name][1]):
        check_alphabet(tmp_path / "alphabet.json", VOCABULARY)
    lines: list[str] = []
    assert build_model_searches(DecodingOptions(), VOCABULARY, lambda: folder, notice=lines.append) == [GREEDY]
    (line,) = lines
    assert line.startswith(f"the language model beside the model is not used: {tmp_path / 'alphabet.json'}: ")
    assert "\n" not in line


def spoil(folder: Path, what: str) -> None:
    if what == "two models":
        (folder / "lm.bin").write_bytes(b"")
    elif what == "no model":
        (folder / "lm.arpa").unlink()
    elif what == "a cut model":
        (folder / "lm.arpa").write_text((folder / "lm.arpa").read_text()[:150])
    elif what == "no weights":
        (folder / "attrs.json").unlink()
    else:
        weights = {"a weight in words": '{"alpha": "much"}', "a weight without end": '{"beta": Infinity}'}
        (folder / "attrs.json").write_text(weights.get(what, "{"))


DAMAGE = {
    "two models": "has 2 files ending in .arpa, .bin, .binary; name the language model with --lm",
    "no model": "has no file ending in .arpa",
    "a cut model": "lm.arpa",
    "no weights": "attrs.json: missing",
    "a weight in words": "alpha is 'much', not a number",
    "a weight without end": "beta is inf, not a number",
    "broken weights": "not readable JSON",
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_one_is_named_in_one_line(what: str, tmp_path: Path) -> None:
    folder = beside(tmp_path)
    spoil(folder, what)
    lines: list[str] = []
    assert build_model_searches(DecodingOptions(), VOCABULARY, lambda: folder, notice=lines.append) == [GREEDY]
    (line,) = lines
    assert DAMAGE[what] in line
    assert "\n" not in line


def test_words_in_another_case_are_named(tmp_path: Path) -> None:
    folder = beside(tmp_path)
    capitals = Vocabulary(tuple(symbol.upper() if len(symbol) == 1 else symbol for symbol in SYMBOLS))
    labels = [label.upper() if len(label) == 1 else label for label in ALPHABET["labels"]]
    (tmp_path / "alphabet.json").write_text(json.dumps({"labels": labels}))
    lines: list[str] = []
    assert build_model_searches(DecodingOptions(), capitals, lambda: folder, notice=lines.append) == [GREEDY]
    assert "--lm-case fold" in lines[0]
    folded = replace(DecodingOptions(workers=1), lm_case="fold")
    search = build_model_searches(folded, capitals, lambda: folder, notice=lines.append)[-1]
    assert search.title == "2-gram"
    search.close()
