from pathlib import Path

import numpy as np
import pytest
from tests.decode.lexicon.cases import VOCABULARY, WORDS

from wav2vec2.decode.words import (
    DEFAULT_WEIGHT,
    build_lexicon,
    parse_hotwords,
    read_lexicon,
    reads_symbols,
    spell_hotwords,
    symbol_indices,
    token_finder,
    word_scores,
)
from wav2vec2.errors import UserError
from wav2vec2.lm.language_model import Unit
from wav2vec2.text.normalize import TextNormalization
from wav2vec2.text.vocabulary import Vocabulary

LETTERS = Vocabulary(("<pad>", "<s>", "</s>", "<unk>", "|", "A", "B"))


def test_words_are_spelled_counted_and_named() -> None:
    lexicon = build_lexicon(["AB", "<s>", "A", "AB", "AX", "C7", "A|B"], VOCABULARY)
    assert lexicon.words == ("AB", "A")
    assert lexicon.spellings == ((2, 3), (2,))
    assert lexicon.unspellable == ("AX", "C7", "A|B")
    assert lexicon.left_out() == "3 of 5 words cannot be spelled with the vocabulary and are left out: AX, C7, A|B"
    assert build_lexicon(["A"], VOCABULARY).left_out() is None


def test_a_file_with_separators_reads_as_the_spelled_words(tmp_path: Path) -> None:
    path = tmp_path / "lexicon.txt"
    path.write_text("".join(f"{word}\t{' '.join(word)} |\n" for word in WORDS), encoding="utf-8")
    assert read_lexicon(path, VOCABULARY) == build_lexicon(WORDS, VOCABULARY)


def test_spellings_variants_and_word_lists(tmp_path: Path) -> None:
    path = tmp_path / "lexicon.txt"
    path.write_text("\ufeffsea A B |\nsea A C\n\nsee\tA B |\nodd X |\n<unk> A\n", encoding="utf-8")
    lexicon = read_lexicon(path, VOCABULARY)
    assert list(zip(lexicon.words, lexicon.spellings, strict=True)) == [
        ("sea", (2, 3)),
        ("sea", (2, 4)),
        ("see", (2, 3)),
    ]
    assert lexicon.unspellable == ("odd",)
    path.write_text("AB\nBA\n", encoding="utf-8")
    assert read_lexicon(path, VOCABULARY).spellings == ((2, 3), (3, 2))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"A A |\nAB\n", r"lexicon\.txt:2: a word without a spelling"),
        (b"\xff\xfe", "cannot be read"),
        (b"one X Y |\n", "none of its words can be spelled"),
        (b"one a b |\n", "--lm-case fold"),
        (b"ab\nba\n", "--lm-case fold"),
        (b"xy\n", "none of its 1 words"),
    ],
)
def test_bad_files_are_one_line(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "lexicon.txt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=reason) as caught:
        read_lexicon(path, VOCABULARY)
    assert str(path) in str(caught.value)
    with pytest.raises(UserError, match="absent"):
        read_lexicon(tmp_path / "absent", VOCABULARY)


def test_another_case_is_refused_and_folded_on_request() -> None:
    lower = [word.lower() for word in WORDS]
    with pytest.raises(UserError, match=r"words\.arpa: its words are not in upper case .* --lm-case fold"):
        build_lexicon(lower, VOCABULARY, source="words.arpa")
    folded = build_lexicon([*lower, "Ab"], VOCABULARY, "fold")
    assert folded.words == (*WORDS, "AB")
    assert folded.lm_words == (*lower, "Ab")
    given = build_lexicon(WORDS, VOCABULARY)
    with pytest.raises(UserError, match=r"lm: its words are not in the lexicon's case"):
        given.with_lm_words(lower, VOCABULARY, "keep", lm="lm")
    with pytest.raises(UserError, match=r"lm: has no word of the lexicon"):
        given.with_lm_words(["x"], VOCABULARY, "fold", lm="lm")
    matched = given.with_lm_words(["ab", "Ab", "a"], VOCABULARY, "fold", lm="lm")
    assert list(zip(matched.words, matched.lm_words, strict=True)) == [
        ("A", "a"),
        ("AB", "Ab"),
        ("AB", "ab"),
        ("BA", "BA"),
        ("CAB", "CAB"),
        ("BB", "BB"),
    ]
    assert given.with_lm_words(WORDS[:3], VOCABULARY, "keep", lm="lm") is given
    mixed = Vocabulary(("<pad>", "|", "A", "a"), unknown=None)
    assert build_lexicon(["Aa", "aA"], mixed, "fold").words == ("Aa", "aA")


def test_words_and_files_with_and_without_weights(tmp_path: Path) -> None:
    path = tmp_path / "hot.txt"
    path.write_text("\ufeffab\nA BA\t2.5\n\nb: -1\n", encoding="utf-8")
    hotwords = parse_hotwords([str(path), "aa:8", "bb", "EU:n:3", "ab:7"])
    assert hotwords == {"ab": 7.0, "A BA": 2.5, "b": -1.0, "aa": 8.0, "bb": DEFAULT_WEIGHT, "EU:n": 3.0}
    assert parse_hotwords([]) == {}


def test_hotwords_take_the_form_of_the_transcripts() -> None:
    hotwords = {"ab": 4.0, "A BA": 2.5, "b": -1.0, "AB": 6.0}
    assert spell_hotwords(hotwords, LETTERS) == {"AB": 6.0, "A": 2.5, "BA": 2.5, "B": -1.0}
    kept = Vocabulary(LETTERS.symbols, normalization=TextNormalization(case="keep"))
    assert spell_hotwords({"ab": 4.0}, kept) == {"AB": 4.0}  # transcripts with capitals alone, used as they were


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["hot.txt"], r"hot\.txt:2: 'much' is not a number"),
        (["AB:much"], "--hotwords: 'much' is not a number; write WORD:WEIGHT"),
        (["absent.txt"], r"--hotwords absent\.txt: no such file"),
        (["lists/absent"], "no such file"),
        (["latin.txt"], r"latin\.txt: cannot be read"),
    ],
)
def test_bad_hotwords_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("hot.txt").write_text("AB\nA\tmuch\n", encoding="utf-8")
    Path("latin.txt").write_bytes(b"\xc4B\n")
    with pytest.raises(UserError, match=reason):
        parse_hotwords(arguments)


def test_words_without_a_spelling_are_one_line() -> None:
    names = Vocabulary(LETTERS.symbols, normalization=TextNormalization(case="upper", digits="error"))
    for phrase, vocabulary, reason in (
        ("route 66", names, "hotword 'route 66': .*digits"),
        ("axb", LETTERS, "hotword 'axb': the model's vocabulary has no 'X'"),
        (" ", LETTERS, "has no letter"),
    ):
        with pytest.raises(UserError, match=reason):
            spell_hotwords({phrase: 1.0}, vocabulary)
    with pytest.raises(UserError, match="finite"):
        spell_hotwords({"A": float("nan")}, LETTERS)


class Listed:
    """A language model that only knows its tokens; the first one is the unknown one."""

    unknown = 0

    def __init__(self, *tokens: str, unit: Unit = "words") -> None:
        self.tokens, self.unit = ("<unk>", *tokens), unit

    def index(self, token: str) -> int:
        return self.tokens.index(token) if token in self.tokens else 0

    def start(self) -> int:
        return 7

    def score(self, histories: np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return (-histories - tokens / 10).astype(np.float32), histories

    def finish(self, histories: np.ndarray) -> np.ndarray:
        return np.zeros(len(histories), np.float32)

    def retain(self, histories: np.ndarray) -> None:
        assert len(histories) == 0


def test_a_model_reads_symbols_if_it_says_so_or_has_no_others_or_there_are_no_words() -> None:
    phones = Vocabulary(("<pad>", "A", "B"), unknown=None, word_separator=None)
    assert reads_symbols(Listed("AB", unit="characters"), LETTERS)
    assert reads_symbols(Listed("<s>", "</s>", "A", "B", "|"), LETTERS)
    assert reads_symbols(Listed("AB"), phones)
    assert not reads_symbols(Listed("A", "AB"), LETTERS)


def test_symbols_and_words_are_found_in_any_case_if_asked() -> None:
    lm = Listed("a", "<space>", "b", "ab")
    assert symbol_indices(lm, LETTERS, "fold", "lm").tolist() == [0, 0, 0, 0, 2, 1, 3]
    find = token_finder(lm, LETTERS, "fold", "lm")
    assert [find(word) for word in ("AB", "A", "BA")] == [4, 1, 0]
    for refused in (symbol_indices, token_finder):
        with pytest.raises(UserError, match=r"lm: its words are not in upper case .* --lm-case fold"):
            refused(lm, LETTERS, "keep", "lm")
    mixed = Vocabulary(("<pad>", "|", "A", "a", "b"), unknown=None)
    assert token_finder(lm, mixed, "fold", "lm")("ab") == 4
    assert symbol_indices(Listed("A", " "), LETTERS, "keep", "lm").tolist() == [0, 0, 0, 0, 2, 1, 0]


def test_scores_of_many_words_are_those_of_each() -> None:
    words = np.arange(10_000) % 50
    assert word_scores(Listed(), 3, words) == pytest.approx(-3 - words / 10)
