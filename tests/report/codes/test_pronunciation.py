import sys
from pathlib import Path

import pytest

from wav2vec2.errors import UserError
from wav2vec2.report.codes.pronunciation import espeak_pronunciations, read_phone_lexicon


def lexicon(tmp_path: Path, content: str):
    (tmp_path / "words.txt").write_text(content, encoding="utf-8")
    return read_phone_lexicon(tmp_path / "words.txt")


def test_cmudict_form(tmp_path: Path) -> None:
    content = ";;; comment\nHELLO  HH AH0 L OW1\nHELLO(2)  HH EH0 L OW1\nO'CLOCK\tAH0 K L AA1 K # said so\n"
    known = lexicon(tmp_path, content)
    assert known("Hello,") == ("HH", "AH", "L", "OW")
    assert known("“o’clock”") == ("AH", "K", "L", "AA", "K")
    assert known("goodbye") is None
    assert len(known) == 2


def test_ipa_keeps_length_and_loses_stress(tmp_path: Path) -> None:
    assert lexicon(tmp_path, "father ˈf ɑː ð ɚ\n")("FATHER") == ("f", "ɑː", "ð", "ɚ")


@pytest.mark.parametrize(
    ("content", "message"), [("", "holds no word"), ("# x\n", "holds no word"), ("a AH\nb\n", "line 2 has no phones")]
)
def test_bad_lexicons_are_named(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        lexicon(tmp_path, content)
    (tmp_path / "latin.txt").write_bytes(b"\xe9t\xe9 e t e\n")
    with pytest.raises(UserError, match="is not UTF-8"):
        read_phone_lexicon(tmp_path / "latin.txt")
    with pytest.raises(UserError, match="cannot be read"):
        read_phone_lexicon(tmp_path / "none.txt")


def test_a_missing_phonemizer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "phonemizer.backend", None)
    with pytest.raises(UserError, match=r"pip install 'wav2vec2\[phones\]'"):
        espeak_pronunciations(["a"], "en-us")


def test_espeak_gives_the_phones_of_words() -> None:
    pytest.importorskip("phonemizer", reason="the extra wav2vec2[phones] is not installed")
    known = espeak_pronunciations(["Hello,", "21", "—"], "en-us")
    assert known("HELLO") == ("h", "ə", "l", "oʊ")
    assert known("21") == ("t", "w", "ɛ", "n", "t", "i", "w", "ʌ", "n")
    assert known("—") is None
    with pytest.raises(UserError, match="klingon"):
        espeak_pronunciations(["a"], "klingon")
