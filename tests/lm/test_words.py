import gzip
from pathlib import Path

import pytest

from wav2vec2.errors import UserError
from wav2vec2.lm.words import check_case, is_kenlm_binary, ngram_order, ngram_words, write_lexicon
from wav2vec2.text.vocabulary import Vocabulary

ARPA = (
    "\\data\\\nngram 1=5\nngram 2=1\n\n\\1-grams:\n-1\t<unk>\n0\t<s>\t-0.5\n-0.9\t</s>\n-0.7\tb\t-0.3\n-0.6\ta\n\n"
    "\\2-grams:\n-0.3\ta b\n\n\\end\\\n"
)
MAGIC = b"mmap lm http://kheafield.com/code format version 5\n\0"


def binary(words: bytes = b"<unk>\0<s>\0B\0</s>\0A\0", order: int = 4) -> bytes:
    return MAGIC + bytes(88 - len(MAGIC)) + bytes([order]) + bytes(200) + words


def test_words_of_an_arpa_file_in_its_order(tmp_path: Path) -> None:
    path = tmp_path / "lm.arpa"
    path.write_text(ARPA)
    assert ngram_words(path) == ["b", "a"]
    assert ngram_order(path) == 2
    assert not is_kenlm_binary(path)
    packed = tmp_path / "lm.arpa.gz"
    packed.write_bytes(gzip.compress(ARPA.encode()))
    assert ngram_words(packed) == ["b", "a"]
    assert ngram_order(packed) == 2


def test_words_of_a_binary(tmp_path: Path) -> None:
    path = tmp_path / "lm.bin"
    path.write_bytes(binary("<unk>\0<s>\0B\0</s>\0Ä\0".encode()))
    assert is_kenlm_binary(path)
    assert ngram_words(path) == ["B", "Ä"]
    for order, expected in ((1, 1), (4, 4), (20, 20), (0, None), (21, None)):
        path.write_bytes(binary(order=order))
        assert ngram_order(path) == expected
    path.write_bytes(MAGIC)
    assert ngram_order(path) is None


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"hello\n", "has no section"),
        (b"", "has no section"),
        (ARPA.replace("b\t-0.3", "<UNK>").replace("-0.6\ta", "-0.6\t<s>").encode(), "has no words besides"),
        (ARPA.replace("ngram 1=5\n", "").encode(), "lacks its number of words"),
        (ARPA.replace("ngram 1=5", "ngram 1=x").encode(), "lacks its number of words"),
        (ARPA.replace("-0.6\ta\n", "").encode(), "malformed at word 5 of 5"),
        (ARPA.replace("-0.7\tb\t-0.3", "-0.7\tb\t-0.3\t1").encode(), "malformed at word 4 of 5"),
        (ARPA.replace("a\n", "\\xff\n").encode("latin-1", "replace").replace(b"\\xff", b"\xff"), "cannot be read"),
        (gzip.compress(ARPA.encode())[:40], "cannot be read"),
        (binary(b"A\0B\0"), "without its words"),
        (binary(b"<unk>\0<s>\0A"), "without its words"),
    ],
    ids=range(11),
)
def test_what_has_no_words_is_one_line(tmp_path: Path, content: bytes, part: str) -> None:
    path = tmp_path / "lm"
    path.write_bytes(content)
    with pytest.raises(UserError, match=part) as caught:
        ngram_words(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_files_have_no_order(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("ngram one=2\n")
    (tmp_path / "none").write_text("hello\n")
    for path in (tmp_path / "text", tmp_path / "none", tmp_path / "missing", tmp_path):
        assert ngram_order(path) is None


def test_another_case_is_refused_only_where_it_explains_most_unknown_words() -> None:
    known = {"THE", "CAT", "SAT", "of"}.__contains__
    check_case(["THE", "CAT", "xyz"], known, "text", "lm")
    check_case(["x", "y"], known, "text", "lm")
    check_case(["THE", "cat", "y"], known, "text", "lm")  # twice as many are not enough
    with pytest.raises(UserError, match=r"^text: its words differ in case from those of lm; add --case upper"):
        check_case(["THE", "cat", "sat"], known, "text", "lm")
    with pytest.raises(UserError, match=r"--case lower"):
        check_case(["OF"], known, "text", "lm")


def test_a_lexicon_in_letters_and_in_a_models_symbols(tmp_path: Path) -> None:
    path = tmp_path / "lexicon.txt"
    done = write_lexicon(iter(["né", "a"]), path)
    assert path.read_text(encoding="utf-8") == "né\tn é |\na\ta |\n"
    assert (done.words, done.left_out, str(done)) == (2, (), "2 words")
    vocabulary = Vocabulary(("<pad>", "<s>", "</s>", "<unk>", "|", "a", "b"))
    done = write_lexicon(["ab", "c", "b", *"defgh"], path, vocabulary)
    assert path.read_text(encoding="utf-8") == "ab\ta b |\nb\tb |\n"
    assert done.left_out == ("c", *"defgh")
    assert str(done) == "2 words; left out 6 that the symbols cannot spell: c, d, e, f, g, ..."
    assert str(write_lexicon(["a", *"cdefg"], path, vocabulary)).endswith(": c, d, e, f, g")
    with pytest.raises(UserError, match=r"none of the 2 words can be spelled"):
        write_lexicon(["x", "y"], path, vocabulary)
    assert path.read_text(encoding="utf-8") == "a\ta |\n"
