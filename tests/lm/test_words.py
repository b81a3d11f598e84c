from pathlib import Path

import pytest
from tests.decode.lexicon.cases import ARPA, WORDS, write_arpa

from wav2vec2.errors import UserError
from wav2vec2.lm.words import ngram_words


def test_words_of_language_model_files(tmp_path: Path) -> None:
    assert ngram_words(write_arpa(tmp_path)) == list(WORDS)
    binary = tmp_path / "lm.bin"
    tail = b"<unk>\0" + b"".join(word.encode() + b"\0" for word in ("<s>", *WORDS, "\u00c4"))
    binary.write_bytes(b"mmap lm http://kheafield.com/code format version 5\n\0" + bytes(64) + tail)
    assert ngram_words(binary) == [*WORDS, "\u00c4"]
    binary.write_bytes(binary.read_bytes()[:70])
    with pytest.raises(UserError, match="without its words"):
        ngram_words(binary)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (ARPA[:98], "cut short or malformed at word 6 of 8"),
        (ARPA[:20], "no section"),
        ("", "no section"),
        (ARPA.replace("ngram 1=8", "ngram 1=x"), "lacks its number of words"),
        ("\\data\\\nngram 1=2\n\n\\1-grams:\n-1\t<s>\n-1\t</s>\n", "no words besides the sentence marks"),
    ],
)
def test_bad_language_model_files_are_one_line(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "lm.arpa"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=reason) as caught:
        ngram_words(path)
    assert str(path) in str(caught.value)
