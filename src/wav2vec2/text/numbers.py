"""Numbers in digits as the words that a speaker says, by num2words (extra `numbers`), in the languages that it has.

A number is read as a cardinal number: 1984 is not read as a year. Separators of thousands and decimals are those of
the language. Numbers that begin with 0, and those of more than nine digits, are read digit by digit, as telephone
numbers are. Ordinals are known by their suffix in English and French, and by º and ª.
"""

import re
import unicodedata
from functools import lru_cache
from typing import Any

from wav2vec2.errors import UserError
from wav2vec2.text.languages import language_name, region, short_code

EXTRA = "pip install 'wav2vec2[numbers]'"

# Those whose numbers are whole and right for the numbers tried (0 to a thousand million); Amharic's do not end.
_CODES = (
    "ar az be bn ca ce cs cy da de en eo es fa fi fr he hu id is it ja kn ko kk lt lv nl no pl pt ro ru sk sl sr sv te "
    "tet tg th tr uk vi"
)
_LANGUAGES = frozenset(_CODES.split())
_OTHER_CODES = {"kk": "kz"}
_REGIONS = {"en_IN", "es_CO", "es_CR", "es_GT", "es_NI", "es_VE", "fr_BE", "fr_CH", "fr_DZ", "pt_BR"}
# Where num2words reads decimals digit by digit, behind the language's word for the comma.
_DIGIT_BY_DIGIT = "bn ca da de en eo es fi fr he id is ja kn ko nl no pt ro sl sv te tet tg th"
_DECIMALS = frozenset(_DIGIT_BY_DIGIT.split())
_POINT = frozenset(("ar", "bn", "en", "fa", "he", "ja", "kn", "ko", "te", "th"))
"""Languages that write a decimal point; the others write a comma."""
_LONGEST = 9  # digits of a number that is read as one
_THIN_SPACES = "\u00a0\u2009\u202f"
_ORDINALS = {
    "en": r"(?:st|nd|rd|th)\b",
    "fr": r"(?:ers?|re|\u00e8re|nde?|e|es|\u00e8me|\u00e8mes)\b",
    "es": "[\u00ba\u00aa]",
    "it": "[\u00ba\u00aa]",
    "pt": "[\u00ba\u00aa]",
}
# num2words writes Turkish numbers as one word, as on a cheque; elsewhere they are words.
_TURKISH = re.compile(
    "sıfır|bir|iki|üç|dört|beş|altı|yedi|sekiz|dokuz|on|yirmi|otuz|kırk|elli|altmış|yetmiş|seksen|doksan|yüz|bin|"
    "milyon|milyar"
)


def can_spell_numbers(language: str) -> bool:
    """Whether numbers of a language can be spelled, if num2words is installed."""
    return short_code(language) in _LANGUAGES


def is_installed() -> bool:
    """Whether num2words is there."""
    try:
        import num2words  # noqa: F401
    except ImportError:
        return False
    return True


def spell_numbers(text: str, language: str) -> str:
    """Return `text` with every number in digits, of any script, as words of the language, spaces around them.

    Raises:
        UserError: num2words is not installed, or does not have the language.
    """
    code = short_code(language)
    if code not in _LANGUAGES:
        raise UserError(
            f"numbers cannot be spelled in {language_name(language) or 'an unnamed language'}: write them out, name "
            "the language (--text.language fr), or choose another way for digits (--text.digits)"
        )
    plain = "".join(str(unicodedata.decimal(char)) if char.isdecimal() else char for char in text)
    return _pattern(code).sub(lambda found: f" {_spoken(found, language, code)} ", plain)


@lru_cache
def _pattern(code: str) -> re.Pattern[str]:
    group, comma = (",\u066c", ".\u066b") if code in _POINT else (".", ",")
    grouped = rf"[0-9]{{1,3}}(?:[{re.escape(group)}{_THIN_SPACES}'](?:[0-9]{{2}}(?=,[0-9]))?[0-9]{{3}}(?![0-9]))+"
    if code in ("bn", "en", "kn", "te"):  # 1,00,000 in India
        grouped += r"|[0-9]{1,2}(?:,[0-9]{2})+,[0-9]{3}(?![0-9])"
    number = rf"(?P<whole>{grouped}|[0-9]+)(?:[{re.escape(comma)}](?P<decimals>[0-9]+))?"
    return re.compile(number + (rf"(?P<ordinal>{_ORDINALS[code]})?" if code in _ORDINALS else "(?P<ordinal>(?!))?"))


def _spoken(found: re.Match[str], language: str, code: str) -> str:
    whole, decimals, ordinal = re.sub("[^0-9]", "", found["whole"]), found["decimals"], found["ordinal"]
    chosen = _chosen(language, code)
    if decimals is not None and (code not in _DECIMALS or len(whole) > _LONGEST):
        return f"{_integer(whole, chosen)} {_integer(decimals, chosen)}{ordinal or ''}"
    if decimals is not None:
        return _tidied(_words(f"{whole}.{decimals[: 2 * _LONGEST]}", chosen, "cardinal"), code)
    if ordinal and len(whole) <= _LONGEST and int(whole):
        return _ordinal(whole, ordinal, chosen, code)
    return _integer(whole, chosen) + (ordinal or "")


def _integer(digits: str, chosen: str) -> str:
    code = chosen.partition("_")[0]
    if len(digits) > _LONGEST or (digits[0] == "0" and len(digits) > 1):
        return " ".join(_tidied(_words(digit, chosen, "cardinal"), code) for digit in digits)
    return _tidied(_words(digits, chosen, "cardinal"), code)


def _ordinal(digits: str, suffix: str, chosen: str, code: str) -> str:
    words = _tidied(_words(digits, chosen, "ordinal"), code)
    if suffix == "\u00aa":
        return re.sub(r"o\b", "a", words)
    if code == "fr" and int(digits) == 1 and suffix in ("re", "\u00e8re"):
        return "premi\u00e8re"
    return words


def _tidied(words: str, code: str) -> str:
    if code == "tr":
        words = " ".join(_TURKISH.findall(words))
    return " ".join(words.replace(",", " ").replace("\u060c", " ").split())


def _chosen(language: str, code: str) -> str:
    regional = f"{code}_{region(language)}"
    return regional if regional in _REGIONS else _OTHER_CODES.get(code, code)


@lru_cache(maxsize=4096)
def _words(number: str, chosen: str, kind: str) -> str:
    try:
        import num2words
    except ImportError:
        raise UserError(f"numbers are spelled by num2words, which is not installed: {EXTRA}") from None
    from decimal import Decimal

    value: Any = Decimal(number) if "." in number else int(number)
    return str(num2words.num2words(value, lang=chosen, to=kind))
