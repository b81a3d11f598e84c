"""The normalisation that suits some transcripts, chosen from their script and language, with the reasons in words."""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from wav2vec2.errors import UserError, quoted, shortened
from wav2vec2.text.languages import language_name, short_code
from wav2vec2.text.letters import Case, pointed_share
from wav2vec2.text.normalize import Digits, TextNormalization, is_spaceless_script
from wav2vec2.text.numbers import EXTRA, can_spell_numbers, is_installed

SHARE_OF_SCRIPT = 0.02
"""A script with fewer of the letters than this is that of foreign words."""
_POINTED = 0.25  # points a letter of a text that is written with them; an unpointed text has some in its names
_EXAMPLES = 3
_LONGEST_SAMPLE = 2_000_000  # characters that are looked at for points and spaces
_POINTS_ARE_LETTERS = frozenset({"yi"})
_DOTLESS = re.compile("[\u0131\u0130]")
_SPOKEN_SYMBOLS = "%&+=@#<>~^"


@dataclass(frozen=True)
class ChosenNormalization:
    """A normalisation, and why it is what it is."""

    normalization: TextNormalization
    lines: tuple[str, ...]
    """For a person: the scripts, what was chosen for what reason, and what a person should look at."""
    score: str
    """WER or, for scripts without spaces between words, CER: the error rate that means something."""


def script_of(char: str) -> str:
    """Return the script of a letter as the first word of its Unicode name, such as Latin; "" if it is no letter."""
    return _script(char) if unicodedata.category(char)[0] == "L" else ""


@lru_cache(maxsize=65_536)
def _script(char: str) -> str:
    name = unicodedata.name(char, "").replace("FULLWIDTH ", "").replace("HALFWIDTH ", "").replace("MODIFIER ", "")
    first = name.partition(" ")[0]
    return {"CJK": "Han"}.get(first, first.capitalize())


def choose_normalization(
    texts: Iterable[str], language: str = "", *, source: str = "", given: Collection[str] = ()
) -> ChosenNormalization:
    """Look at transcripts and say which normalisation suits their script.

    Args:
        texts: the transcripts, as they are written.
        language: code of the language, as corpora write it (fr, fra, fr-FR); "" if it is not known.
        source: their file, for messages.
        given: settings of `TextNormalization` that a person has chosen already, and about which nothing is said.

    Raises:
        UserError: there is no letter in them, or numbers are written in digits that cannot be spelled.
    """
    seen = _look(texts)
    if not seen.letters:
        raise UserError(f"{source or 'transcripts'}: no transcript has a letter; check the text column")
    scripts = [name for name, count in seen.scripts.most_common() if count >= SHARE_OF_SCRIPT * seen.letters]
    lines = [_script_line(scripts, seen, language)]
    case, why = _case(seen)
    lines += [why] if why and "case" not in given else []
    if case != "keep" and not language and _DOTLESS.search(seen.sample):
        lines.append("there is a dotless or dotted i: name Turkish by --text.language tr, or I becomes i")
    marks_stay = short_code(language) in _POINTS_ARE_LETTERS or pointed_share(seen.sample) >= _POINTED
    if {"Arabic", "Hebrew"} & set(scripts) and "marks" not in given:
        lines.append(
            "vowel points stay: these transcripts are written with them"
            if marks_stay
            else "vowel points are removed: few words are written with them (--text.marks keep)"
        )
    spaceless = is_spaceless_script(seen.sample)
    if spaceless:
        lines.append("spaces between letters are removed: words are not separated; what counts is CER")
    digits: Digits = "keep"
    if "digits" not in given:
        digits, why = _digits(seen, language, source)
        lines.append(why)
    if "punctuation" not in given:
        lines.append("punctuation is removed, apostrophes inside words stay; hyphens become spaces (--text.hyphens)")
    if seen.symbols:
        shown = ", ".join(f"{symbol} ({count})" for symbol, count in seen.symbols.most_common(6))
        lines.append(f"symbols that are spoken are removed, too; write them out: {shown}; such as {seen.examples('%')}")
    chosen = TextNormalization(
        case=case,
        digits=digits,
        punctuation="remove",
        language=language,
        marks="keep" if marks_stay else "remove",
        letters="plain",
        spaces="join" if spaceless else "keep",
    )
    return ChosenNormalization(chosen, tuple(lines), "CER" if spaceless else "WER")


class _Seen:
    """What is in some transcripts."""

    def __init__(self) -> None:
        self.scripts: Counter[str] = Counter()
        self.letters = self.capitals = self.small = 0
        self.with_digits = 0
        self.symbols: Counter[str] = Counter()
        self.sample = ""
        self._examples: dict[str, list[str]] = {"0": [], "%": []}

    def add(self, text: str) -> None:
        for char, count in Counter(text).items():
            if script := script_of(char):
                self.scripts[script] += count
                self.letters += count
                self.capitals += count * char.isupper()
                self.small += count * char.islower()
            elif char in _SPOKEN_SYMBOLS or unicodedata.category(char) == "Sc":
                self.symbols[char] += count
                self._note("%", text)
        if any(char.isdecimal() for char in text):
            self.with_digits += 1
            self._note("0", text)

    def _note(self, kind: str, text: str) -> None:
        if len(self._examples[kind]) < _EXAMPLES and text not in self._examples[kind]:
            self._examples[kind].append(text)

    def examples(self, kind: str) -> str:
        return ", ".join(quoted(text) for text in self._examples[kind])


def _look(texts: Iterable[str]) -> _Seen:
    seen, parts, size = _Seen(), [], 0
    for text in _composed(texts):
        seen.add(text)
        if size < _LONGEST_SAMPLE:
            parts.append(text)
            size += len(text)
    seen.sample = "\n".join(parts)
    return seen


def _composed(texts: Iterable[str]) -> Iterator[str]:
    return (unicodedata.normalize("NFC", text) for text in texts)


def _script_line(scripts: list[str], seen: _Seen, language: str) -> str:
    shares = ", ".join(f"{name} ({100 * seen.scripts[name] / seen.letters:.0f} %)" for name in scripts[:4])
    named = f"; language: {language_name(language)}" if language else "; language not named (--text.language)"
    rest = [name for name in seen.scripts if name not in scripts]
    foreign = f"; few letters of {', '.join(sorted(rest)[:4])}" if rest else ""
    return f"script: {shares}{foreign}{shortened(named)}"


def _case(seen: _Seen) -> tuple[Case, str]:
    if not seen.capitals + seen.small:
        return "keep", ""
    if not seen.small:
        return "upper", "case: the transcripts are in capitals, and stay so"
    why = "small letters: capitals are not heard" if seen.capitals else "small letters, as they are"
    return "lower", f"case: {why}"


def _digits(seen: _Seen, language: str, source: str) -> tuple[Digits, str]:
    name = language_name(language)
    if not seen.with_digits:
        spelled = bool(language) and can_spell_numbers(language) and is_installed()
        how = f"; later ones are spelled in {name}" if spelled else ""
        return ("words" if spelled else "keep"), f"digits: there are none{how}"
    if not language:
        remedy = "name the language (--text.language fr)"
    elif not can_spell_numbers(language):
        remedy = f"num2words has no {name}: write the numbers out"
    elif not is_installed():
        remedy = f"to spell them in {name}: {EXTRA}"
    else:
        return "words", f"digits: the numbers of {seen.with_digits} transcripts are spelled in {name}"
    few = "1 transcript has" if seen.with_digits == 1 else f"{seen.with_digits} transcripts have"
    raise UserError(
        f"{source or 'transcripts'}: {few} numbers in digits, which are spoken as words, such as "
        f"{seen.examples('0')}: {remedy}; or keep digits as symbols (--text.digits ascii)"
    )


def language_of(languages: Iterable[str | None]) -> str:
    """Return the one language that a manifest's column names; "" if it names none, or several."""
    codes = {code for code in languages if code}
    return min(codes) if len({short_code(code) for code in codes}) == 1 else ""
