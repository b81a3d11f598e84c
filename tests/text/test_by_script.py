import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripts.text_page import EXAMPLES, PAGE, page

from wav2vec2.errors import UserError
from wav2vec2.text.by_script import choose_normalization, language_of, script_of
from wav2vec2.text.normalize import TextNormalization
from wav2vec2.text.vocabulary import Vocabulary


def said(texts: list[str], language: str = "", given: tuple[str, ...] = ()) -> str:
    return "\n".join(choose_normalization(texts, language, given=given).lines)


def test_the_page_shows_what_the_program_does() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(PAGE.read_text(encoding="utf-8"))
    assert len(EXAMPLES) >= 10


@pytest.mark.parametrize(("language", "text"), [(code, text) for code, _, text in EXAMPLES])
def test_a_chosen_normalisation_is_a_fixed_point_kept_by_the_model(language: str, text: str, tmp_path: Path) -> None:
    rules = choose_normalization([text], language).normalization
    normal = rules(text)
    assert rules(normal) == normal == unicodedata.normalize("NFC", normal)
    assert not re.search(r"\d", normal)
    vocabulary = Vocabulary.from_transcripts([text], normalization=rules)
    vocabulary.save(tmp_path / "run" / "model")
    again = Vocabulary.load(tmp_path / "run")
    assert again == vocabulary
    assert again.normalize(text) == normal
    assert again.decode(again.encode(normal)) == normal


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=24), st.sampled_from(["tr", "", "de", "he"]), st.sampled_from(["upper", "lower"]))
def test_every_rule_together_is_a_fixed_point(text: str, language: str, case: str) -> None:
    rules = TextNormalization(
        case=case, digits="ascii", punctuation="remove", language=language, hyphens="keep", marks="remove",
        letters="plain", spaces="join",
    )  # fmt: skip
    assert rules(rules(text)) == rules(text)


def test_turkish_capitals() -> None:
    rules = TextNormalization("lower", language="tur")
    assert rules("IŞIK İLE") == "ışık ile"
    assert TextNormalization("upper", language="az-AZ")("ışık ile") == "IŞIK İLE"
    assert TextNormalization("lower")("IŞIK") == "işik"
    assert "--text.language tr" in said(["Işık İle"])
    assert "--text.language tr" not in said(["Işık İle"], "tr")


def test_capitals_stay_capitals_and_scripts_without_case_are_not_spoken_of() -> None:
    assert choose_normalization(["HELLO", "WORLD"]).normalization.case == "upper"
    assert choose_normalization(["नमस्ते"]).normalization.case == "keep"
    assert "case" not in said(["नमस्ते"])


def test_points_stay_where_a_text_is_written_with_them() -> None:
    assert choose_normalization(["مُحَمَّد رَسُول"]).normalization.marks == "keep"
    assert choose_normalization(["محمد رسول"]).normalization.marks == "remove"
    assert choose_normalization(["אַ ייד"], "ydd").normalization.marks == "keep"
    assert TextNormalization(marks="remove")("آمن أُ") == "آمن أ"  # madda and hamza are parts of letters


@pytest.mark.parametrize("text", ["क्षत्रिय हिन्दी", "น้ำ", "ശ്രീ അവന്\u200d", "می\u200cخواهم"])
def test_signs_that_make_a_word_survive(text: str) -> None:
    assert choose_normalization([text]).normalization(text) == text


def test_hyphens_inside_words_can_stay() -> None:
    rules = TextNormalization(punctuation="remove", hyphens="keep")
    assert rules("c’est‐à-dire - oui-") == "c'est-à-dire oui"


def test_scripts_without_spaces_have_no_separator() -> None:
    chosen = choose_normalization(["你好 世界", "今天 天气"])
    assert chosen.score == "CER"
    vocabulary = Vocabulary.from_transcripts(["你好 世界"], normalization=chosen.normalization)
    assert vocabulary.word_separator is None
    assert choose_normalization(["안녕 세계"]).score == "WER"


def test_digits_that_cannot_be_spelled_are_refused_with_their_count_and_three_examples() -> None:
    texts = [f"ni {number} leo" for number in range(5)]
    with pytest.raises(UserError, match=r"t\.csv: 5 transcripts have numbers .*'ni 0 leo', 'ni 1 leo', 'ni 2 leo'"):
        choose_normalization(texts, "swh", source="t.csv")
    with pytest.raises(UserError, match=r"name the language \(--text.language fr\)"):
        choose_normalization(texts)
    assert choose_normalization(texts, "swh", given=("digits",)).normalization.digits == "keep"
    assert "spelled in French" in said(["les 3"], "fra")


def test_without_num2words_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "num2words", None)
    with pytest.raises(UserError, match=r"wav2vec2\[numbers\]"):
        choose_normalization(["les 3"], "fr")
    with pytest.raises(UserError, match=r"wav2vec2\[numbers\]"):
        TextNormalization(digits="words", language="pl")("les 3 000 077")
    assert choose_normalization(["les trois"], "fr").normalization.digits == "keep"


def test_spoken_symbols_are_counted_with_examples() -> None:
    lines = said(["zwei % mehr", "vier €"])
    assert "% (1), € (1); such as 'zwei % mehr', 'vier €'" in lines


def test_nothing_to_look_at() -> None:
    with pytest.raises(UserError, match="no transcript has a letter"):
        choose_normalization(["...", ""], source="t.csv")


def test_scripts_and_languages() -> None:
    assert [script_of(char) for char in "aя漢あｱ1. "] == [
        "Latin",
        "Cyrillic",
        "Han",
        "Hiragana",
        "Katakana",
        "",
        "",
        "",
    ]
    assert language_of(["fr", "fra", None, ""]) == "fr"
    assert language_of(["fr", "de"]) == language_of([]) == ""
