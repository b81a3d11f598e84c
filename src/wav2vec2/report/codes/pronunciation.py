"""Phones of words: from a pronouncing dictionary, or from espeak-ng by way of phonemizer."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from wav2vec2.errors import UserError

_VARIANT = re.compile(r"\(\d+\)$")
_EDGES = re.compile(r"^\W+|\W+$")
_MARKS = re.compile("[ˈˌ'\"]|(?<=[A-Za-z])[0-9]$")  # IPA's and ARPAbet's stress
_INSTALL = "pip install 'wav2vec2[phones]', or give a lexicon file of 'word phone phone ...' lines"


class Pronunciations:
    """Words and their phones; a word is found in any letter case, with or without punctuation around it."""

    def __init__(self, phones: Mapping[str, Sequence[str]]) -> None:
        self._phones = {word_key(word): tuple(spelled) for word, spelled in phones.items()}

    def __call__(self, word: str) -> tuple[str, ...] | None:
        """The phones of a word, None if it is not known."""
        return self._phones.get(word_key(word))

    def __len__(self) -> int:
        return len(self._phones)


def word_key(word: str) -> str:
    """The form in which words are compared."""
    return _EDGES.sub("", word.casefold().replace("’", "'"))


def read_phone_lexicon(path: str | Path) -> Pronunciations:
    """Read lines of a word and its phones, separated by white space: CMUdict's, MFA's and Kaldi's form.

    The first of several pronunciations counts; `;;;` and `#` begin comments; marks of stress are taken off.

    Raises:
        UserError: the file cannot be read, holds no entry, or a line has no phones.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give a file of 'word phone phone ...'") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    phones: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith((";;;", "#")):
            continue
        word, *spelled = line.split(" #")[0].split()
        bare = tuple(filter(None, map(without_stress, spelled)))
        if not bare:
            raise UserError(f"{path}: line {number} has no phones; each line is a word and its phones")
        phones.setdefault(word_key(_VARIANT.sub("", word)), bare)
    if not phones:
        raise UserError(f"{path}: holds no word; each line is a word and its phones")
    return Pronunciations(phones)


def espeak_pronunciations(words: Iterable[str], language: str) -> Pronunciations:
    """Ask espeak-ng for the phones (IPA, without stress) of every word alone. Works offline.

    Raises UserError if phonemizer or espeak-ng are missing, or the language is not one of espeak-ng's.
    """
    try:
        import espeakng_loader
        from phonemizer.backend import EspeakBackend
        from phonemizer.backend.espeak.wrapper import EspeakWrapper
        from phonemizer.separator import Separator
    except ImportError:
        raise UserError(f"espeak: phonemizer and espeakng-loader are not installed; {_INSTALL}") from None
    EspeakWrapper.set_library(espeakng_loader.get_library_path())
    EspeakWrapper.set_data_path(espeakng_loader.get_data_path())
    try:
        backend = EspeakBackend(language, language_switch="remove-flags")
    except RuntimeError as error:
        raise UserError(f"espeak: {' '.join(str(error).split())}; give another --language, such as en-us") from None
    asked = sorted({key for key in map(word_key, words) if key})
    spelled = backend.phonemize(asked, separator=Separator(phone=" ", word="|", syllable=""), strip=True)
    # one written word may be several spoken ones: 21 is two
    phones = {
        word: tuple(filter(None, map(without_stress, text.replace("|", " ").split())))
        for word, text in zip(asked, spelled, strict=True)
    }
    return Pronunciations({word: text for word, text in phones.items() if text})


def without_stress(phone: str) -> str:
    """A phone without its mark of stress: AH0 -> AH, ˈɑː -> ɑː."""
    return _MARKS.sub("", phone)
