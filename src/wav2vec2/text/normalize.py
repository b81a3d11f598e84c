"""Text normalisation, the same in training and in scoring, for any script.

Nothing here depends on the locale. Text stays in logical order: right-to-left scripts are not reordered. Combining
marks (Unicode category M: Indic vowel signs, Arabic and Hebrew points) are parts of letters, never punctuation.
"""

import re
import unicodedata
from dataclasses import dataclass, fields
from typing import Literal

from wav2vec2.errors import UserError
from wav2vec2.text.letters import Case, fold_case, plain_letters, without_points
from wav2vec2.text.numbers import spell_numbers

Digits = Literal["keep", "words", "ascii", "names", "error"]
Punctuation = Literal["keep", "remove"]
Hyphens = Literal["space", "keep"]
Marks = Literal["keep", "remove"]
Letters = Literal["keep", "plain"]
Spaces = Literal["keep", "join"]

ENGLISH_DIGIT_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

WORD_SEPARATOR = "|"

# Typographic, modifier, full-width and prime forms, acute and grave accents, and the Hebrew geresh.
_APOSTROPHES = dict.fromkeys(map(ord, "\u2018\u2019\u201b\u02bc\u02b9\uff07\u2032\u00b4`\u05f3"), "'")
# Parts of a word only between two letters: apostrophe, Catalan middle dot, Hebrew gershayim.
_INSIDE_WORDS = frozenset("'\u00b7\u05f4")
_HYPHENS = re.compile("[\u2010\u2011]")
_JOINERS = frozenset("\u200c\u200d")
_WITH_HYPHEN = _INSIDE_WORDS | {"-"}
_VARIATION_SELECTORS = frozenset(map(chr, range(0xFE00, 0xFE10)))

# Scripts written without spaces between words: (first, last) code point.
_SPACELESS_RANGES = (
    (0x0E00, 0x0E7F), (0x0E80, 0x0EFF), (0x0F00, 0x0FFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x1950, 0x19DF),
    (0x1A20, 0x1AAF), (0x1B00, 0x1B7F), (0x2E80, 0x2FDF), (0x3005, 0x3007), (0x3040, 0x312F), (0x31A0, 0x31BF),
    (0x31F0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xA000, 0xA4CF), (0xA980, 0xA9DF), (0xAA60, 0xAA7F),
    (0xF900, 0xFAFF), (0xFF66, 0xFF9F), (0x20000, 0x3FFFF),
)  # Thai Lao Tibetan Myanmar Khmer TaiLe Tham Balinese Han kana Bopomofo Yi Javanese ...  # fmt: skip
# Tibetan separates syllables, by a mark that becomes a space.
_SPACELESS = "".join(f"{chr(first)}-{chr(last)}" for first, last in _SPACELESS_RANGES if first != 0x0F00)
_SPACE_INSIDE = re.compile(f"(?<=[{_SPACELESS}])\\s+(?=[{_SPACELESS}])")


@dataclass(frozen=True)
class TextNormalization:
    """The settings of `normalize_text`, which a model directory stores with its vocabulary.

    case: `upper`, `lower` or `keep`. digits: `keep`; `words` (numbers become the words of `language`); `ascii` (digits
    of every script become 0-9); `names` (each digit becomes a word, from `digit_names`); `error` (a digit raises
    UserError, for corpora whose numbers must be spelled out). punctuation: `keep`; `remove` (punctuation and symbols
    become spaces, but apostrophes inside words stay). language: a code, for case and numbers; "" for Unicode's rule.
    hyphens: with punctuation removed, those inside words become a `space` or stay (`keep`). marks: `keep` or `remove`
    the vowel points of Arabic and Hebrew. letters: `keep`; `plain` (full-width and half-width forms, ligatures and
    Arabic presentation forms become letters, tatweel is removed). spaces: `keep`; `join` (those between two letters of
    scripts without spaces, such as Chinese and Thai, are removed).
    """

    case: Case = "keep"
    digits: Digits = "keep"
    punctuation: Punctuation = "keep"
    digit_names: tuple[str, ...] = ENGLISH_DIGIT_NAMES
    language: str = ""
    hyphens: Hyphens = "space"
    marks: Marks = "keep"
    letters: Letters = "keep"
    spaces: Spaces = "keep"

    def __post_init__(self) -> None:
        if len(self.digit_names) != 10 or not all(isinstance(name, str) and name for name in self.digit_names):
            raise UserError("digit_names needs ten names, from zero to nine")

    def __call__(self, text: str) -> str:
        """Return `text` normalised; see `normalize_text`."""
        # Upper case, names of digits and removed characters can each leave text that is not composed, and composing a
        # few Greek letters leaves text that upper-cases further. So repeat until nothing changes: two passes, usually.
        for _ in range(4):
            before, text = text, self._once(text)
            if text == before:
                break
        return text

    def __str__(self) -> str:
        """What is done to a text, in words, such as: case lower, digits words, punctuation remove, language fr."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        names = values.pop("digit_names")
        changed = {name: value for name, value in values.items() if value != getattr(_AS_IT_IS, name)}
        said = [f"{name} {value}" for name, value in changed.items()]
        if self.digits == "names":
            said.append(f"from {' '.join(names)}")
        return ", ".join(said) or "as it is, in NFC"

    def _once(self, text: str) -> str:
        if self.letters == "plain":
            text = plain_letters(text)
        text = fold_case(unicodedata.normalize("NFC", text), self.case, self.language).translate(_APOSTROPHES)
        text = unicodedata.normalize("NFC", text.replace(WORD_SEPARATOR, " "))
        if self.marks == "remove":
            text = without_points(text)
        text = self._digits(text)
        text = _remove_invisible(text)
        if self.punctuation == "remove":
            text = _remove_punctuation(text, _WITH_HYPHEN if self.hyphens == "keep" else _INSIDE_WORDS)
        if self.spaces == "join":
            text = _SPACE_INSIDE.sub("", text)
        return unicodedata.normalize("NFC", " ".join(text.split()))

    def _digits(self, text: str) -> str:
        policy = self.digits
        if policy == "keep" or not any(char.isdecimal() for char in text):
            return text
        if policy == "error":
            found = next(char for char in text if char.isdecimal())
            raise UserError(
                f"digit {found!r} in transcript {_shorten(text)!r}: spell numbers out or choose another digits policy"
            )
        if policy == "words":
            return spell_numbers(text, self.language)
        if policy == "ascii":
            return "".join(str(unicodedata.decimal(char)) if char.isdecimal() else char for char in text)
        names = [fold_case(name, self.case, self.language) for name in self.digit_names]
        return "".join(f" {names[unicodedata.decimal(char)]} " if char.isdecimal() else char for char in text)


_AS_IT_IS = TextNormalization()


def normalize_text(
    text: str,
    *,
    case: Case = "keep",
    digits: Digits = "keep",
    punctuation: Punctuation = "keep",
    digit_names: tuple[str, ...] = ENGLISH_DIGIT_NAMES,
) -> str:
    """Return `text` normalised; normalising it again changes nothing.

    The text is brought to NFC. Typographic apostrophes become `'`. Control and bidirectional format characters are
    removed, but the joiners ZWNJ and ZWJ stay inside words, where Persian and Indic scripts need them. White space is
    collapsed to single spaces; `|`, which separates words in a vocabulary, becomes a space. Then `case`, `digits` and
    `punctuation` apply, as `TextNormalization` describes.

    Case follows Unicode's default mapping in every locale: `ß` becomes `SS` in upper case. Turkish and Azerbaijani,
    whose `i` and `ı` would both become `I`, need `TextNormalization` with their language.

    Raises UserError for a digit if `digits` is `error`.
    """
    return TextNormalization(case, digits, punctuation, digit_names)(text)


def is_spaceless_script(text: str) -> bool:
    """Whether most letters of `text` belong to scripts without spaces between words (Chinese, Japanese, Thai, Khmer).

    Word error rates mean little there, so characters are the main score. Korean is written with spaces.
    """
    letters = [ord(char) for char in text if unicodedata.category(char)[0] == "L"]
    spaceless = sum(any(first <= code <= last for first, last in _SPACELESS_RANGES) for code in letters)
    return 2 * spaceless > len(letters)


def _shorten(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _remove_invisible(text: str) -> str:
    kept: list[str] = []
    for char in text:
        if char.isspace():
            kept.append(" ")
        elif char in _JOINERS:
            # A joiner controls how the letters of a word join, or ends a Malayalam word; elsewhere it is noise.
            if kept and unicodedata.category(kept[-1])[0] in "LM":
                kept.append(char)
        elif unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Cn") and char not in _VARIATION_SELECTORS:
            kept.append(char)
    return "".join(kept)


def _remove_punctuation(text: str, inside_words: frozenset[str]) -> str:
    text = _HYPHENS.sub("-", text)
    kept = [" "]
    for index, char in enumerate(text):
        # A mark or joiner whose letter was removed.
        orphan = kept[-1] == " " and (unicodedata.category(char)[0] == "M" or char in _JOINERS)
        kept.append(char if _is_word_part(text, index, inside_words) and not orphan else " ")
    return "".join(kept)


def _is_word_part(text: str, index: int, inside_words: frozenset[str]) -> bool:
    char = text[index]
    if char in inside_words:
        return 0 < index < len(text) - 1 and _is_letter(text[index - 1]) and _is_letter(text[index + 1])
    return unicodedata.category(char)[0] not in "PS"


def _is_letter(char: str) -> bool:
    return unicodedata.category(char)[0] in "LMN" or char in _JOINERS
