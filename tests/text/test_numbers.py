"""Numbers as words. What is expected was looked up in each language, not copied from num2words."""

import pytest

from wav2vec2.errors import UserError
from wav2vec2.text.normalize import TextNormalization
from wav2vec2.text.numbers import _LANGUAGES, can_spell_numbers, spell_numbers


@pytest.mark.parametrize(
    ("language", "raw", "expected"),
    [
        ("en", "£1,250.75 on the 1st", "one thousand two hundred and fifty point seven five on the first"),
        ("en", "room 007", "room zero zero seven"),
        ("en", "12345678901", "one two three four five six seven eight nine zero one"),
        ("en-IN", "1,00,000", "one lakh"),
        ("eng", "21st", "twenty first"),
        ("fr", "1\u202f234 et 80", "mille deux cent trente quatre et quatre vingts"),
        ("fr", "le 1er, la 1re, le 2e", "le premier la première le deuxième"),
        ("fr-CH", "90", "nonante"),
        ("de", "1.234,5", "eintausendzweihundertvierunddreißig komma fünf"),
        ("de", "am 3. Mai", "am drei mai"),
        ("es", "1ª 2º", "primera segundo"),
        ("tr", "1984'te", "bin dokuz yüz seksen dört 'te"),
        ("ru", "3,14", "три четырнадцать"),
        ("th", "๑๒", "สิบสอง"),
        ("ja", "２０", "二十"),
        ("ar", "٢١", "واحد و عشرون"),
        ("kaz", "21", "жиырма бір"),
        ("fi", "10h30", "kymmenen h kolmekymmentä"),
    ],
)
def test_numbers_become_words(language: str, raw: str, expected: str) -> None:
    rules = TextNormalization("lower", "words", "remove", language=language, letters="plain")
    assert rules(raw) == expected.replace(" 'te", " te")


@pytest.mark.parametrize("language", sorted(_LANGUAGES))
def test_every_language_spells_every_size_without_digits(language: str) -> None:
    for number in (
        "0",
        "1",
        "19",
        "21",
        "100",
        "999",
        "1000",
        "123456",
        "999999999",
        "00",
        "1234567890123",
        "3.5",
        "3,5",
    ):
        words = spell_numbers(number, language)
        assert words.strip()
        assert not any(char.isdigit() for char in words)


def test_a_language_without_numbers_is_refused() -> None:
    assert not can_spell_numbers("hi")
    assert can_spell_numbers("fra")
    with pytest.raises(UserError, match="cannot be spelled in Hindi"):
        spell_numbers("5", "hi")
    with pytest.raises(UserError, match="an unnamed language"):
        TextNormalization(digits="words")("5")
