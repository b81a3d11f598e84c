"""Letters in one form: case by the rule of the language, forms of width and position, vowel points.

Case, and which marks are vowel points, depend on the language, never on the locale.
"""

import re
import unicodedata
from typing import Literal

from wav2vec2.text.languages import TURKIC, short_code

Case = Literal["upper", "lower", "keep"]

# Forms of a letter that say how it is set, not what it is: full and half width, the places in an Arabic word.
_FORMS = frozenset({"<wide>", "<narrow>", "<initial>", "<medial>", "<final>", "<isolated>", "<vertical>"})
_LIGATURES = range(0xFB00, 0xFB50)  # Latin, Armenian and Hebrew
_HEBREW_QUOTE = re.compile('(?<=[\u05d0-\u05ea])["\u201d\u201c](?=[\u05d0-\u05ea])')  # typed for gershayim
_TATWEEL = "\u0640"  # lengthens a stroke; it is not a letter

ARABIC_POINTS = frozenset(
    map(chr, [*range(0x64B, 0x653), 0x670, *range(0x6D6, 0x6DD), *range(0x6DF, 0x6E5), 0x6E7, 0x6E8,
              *range(0x6EA, 0x6EE), *range(0x8D3, 0x8E2), *range(0x8E3, 0x900)])
)  # fmt: skip
"""Short vowels, doubling, nunation, and the marks of the Quran; the hamzas, and the vowels of Kashmiri, are letters."""
HEBREW_POINTS = frozenset(map(chr, [*range(0x591, 0x5BE), 0x5BF, 0x5C1, 0x5C2, 0x5C4, 0x5C5, 0x5C7]))
POINTS = ARABIC_POINTS | HEBREW_POINTS
_LETTERS_THAT_TAKE_POINTS = re.compile("[\u05d0-\u05ea\u0620-\u063f\u0641-\u064a\u066e-\u06d3]")


def fold_case(text: str, case: Case, language: str = "") -> str:
    """Return `text` in a case, by Unicode's rule or, for Turkish and Azerbaijani, theirs: I and ı, İ and i.

    The last sigma of a Greek word becomes ς in lower case. ß stays in lower case and becomes SS in upper case.
    """
    turkic = short_code(language) in TURKIC
    if case == "upper":
        return (text.replace("i", "\u0130").replace("\u0131", "I") if turkic else text).upper()
    if case == "lower":
        # str.lower turns the dotted capital into i and a combining dot, which no language wants as two symbols.
        text = text.replace("\u0130", "i")
        return (text.replace("I", "\u0131") if turkic else text).lower()
    return text


def plain_letters(text: str) -> str:
    """Return `text` with letters instead of their forms of width, place and ligature, and without tatweel.

    A quotation mark between two Hebrew letters, where an acronym has its gershayim, becomes one.
    """
    if text.isascii():
        return text
    return _HEBREW_QUOTE.sub("\u05f4", "".join(_plain(char) for char in text))


def _plain(char: str) -> str:
    if char == _TATWEEL:
        return ""
    if ord(char) in _LIGATURES or unicodedata.decomposition(char).partition(" ")[0] in _FORMS:
        return unicodedata.normalize("NFKC", char)
    return char


def without_points(text: str) -> str:
    """Return `text`, in NFC, without the vowel points of Arabic and Hebrew."""
    return text if text.isascii() else "".join(char for char in text if char not in POINTS)


def pointed_share(text: str) -> float:
    """Return how many points there are for each Arabic or Hebrew letter; 0 without such letters."""
    letters = len(_LETTERS_THAT_TAKE_POINTS.findall(text))
    return sum(char in POINTS for char in text) / letters if letters else 0.0
