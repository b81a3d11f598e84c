import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wav2vec2.errors import UserError
from wav2vec2.text.normalize import TextNormalization, is_spaceless_script, normalize_text

RULES = [
    TextNormalization(),
    TextNormalization("upper", "ascii", "remove"),
    TextNormalization("lower", "names", "remove"),
    TextNormalization("upper", "names", "keep"),
]


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=24), st.sampled_from(RULES))
def test_normal_form_is_a_fixed_point(text: str, rules: TextNormalization) -> None:
    once = rules(text)
    assert rules(once) == once
    assert once == unicodedata.normalize("NFC", once) == " ".join(once.split())
    assert "|" not in once


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("Cafe\u0301 au  lait\n", "CAFÉ AU LAIT"),
        ("Don\u2019t stop\u2014\u201cnow\u201d, it\u00b4s fine!", "DON'T STOP NOW IT'S FINE"),
        ("'quoted' words", "QUOTED WORDS"),
        ("straße", "STRASSE"),
        ("e.g. a|b $5", "E G A B 5"),
        ("col·lecció", "COL·LECCIÓ"),
        ("\ufeffzero\u200bwidth so\u00adft", "ZEROWIDTH SOFT"),
        ("smile 😀\ufe0f 👩\u200d💻 end", "SMILE END"),
        ("a\x00b\ud800c", "ABC"),
    ],
)
def test_upper_case_without_punctuation(raw: str, expected: str) -> None:
    assert normalize_text(raw, case="upper", punctuation="remove") == expected


@pytest.mark.parametrize(
    "text",
    [
        "हिन्दी में क्षत्रिय",  # vowel signs, virama
        "שָׁלוֹם עוֹלָם",  # points, right to left
        "مُحَمَّد رَسُول",
        "می\u200cخواهم",  # ZWNJ
        "ശ്രീ അവന\u0d4d\u200d",  # chillu with a final ZWJ
        "ภาษาไทย",
    ],
)
def test_marks_joiners_and_logical_order_survive(text: str) -> None:
    composed = unicodedata.normalize("NFC", text)
    for case in ("upper", "lower", "keep"):
        assert normalize_text(text, case=case, punctuation="remove") == composed


def test_bidi_controls_vanish() -> None:
    assert normalize_text("\u202bשלום\u202c \u200fעולם\u2069") == "שלום עולם"


def test_dotted_capital_i_gives_one_symbol() -> None:
    assert normalize_text("İstanbul", case="lower") == "istanbul"


def test_digit_policies() -> None:
    text = "Room 4٢"
    assert normalize_text(text) == "Room 4٢"
    assert normalize_text(text, digits="ascii") == "Room 42"
    assert normalize_text(text, digits="names", case="upper") == "ROOM FOUR TWO"
    assert normalize_text("7", digits="names", digit_names=tuple("abcdefghij")) == "h"
    with pytest.raises(UserError, match="digit '4'"):
        normalize_text(text, digits="error")
    with pytest.raises(UserError, match="ten names"):
        TextNormalization(digit_names=("zero",))


def test_punctuation_can_stay() -> None:
    assert normalize_text("Hello,  'world'!") == "Hello, 'world'!"


@pytest.mark.parametrize(
    ("text", "spaceless"),
    [
        ("今天天气很好", True),
        ("これはペンです", True),
        ("ภาษาไทย", True),
        ("ສະບາຍດີ", True),
        ("ភាសាខ្មែរ", True),
        ("မြန်မာ", True),
        ("안녕하세요 세계", False),
        ("hello world", False),
        ("I said 你好 yesterday", False),
        ("我用 iPhone 手机打电话", True),
        ("हिन्दी", False),
        ("", False),
        ("123", False),
    ],
)
def test_spaceless_scripts(text: str, spaceless: bool) -> None:
    assert is_spaceless_script(text) is spaceless
