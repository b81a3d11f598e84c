"""The text of fine-tuning: the symbols of the output layer, and how transcripts are brought to one form."""

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from wav2vec2.data.manifest import Manifest
from wav2vec2.errors import UserError
from wav2vec2.text.by_script import choose_normalization, language_of, script_of
from wav2vec2.text.languages import language_name, short_code
from wav2vec2.text.normalize import ENGLISH_DIGIT_NAMES, TextNormalization
from wav2vec2.text.numbers import spell_numbers
from wav2vec2.train.finetune.transcripts import transcribed


@dataclass(frozen=True)
class TextConfig:
    """The letters that the model writes, and how the transcripts are brought to one form."""

    auto: bool = False
    """Choose what follows from the script of the transcripts, and say why; options that are given win."""
    language: str = ""
    """Language of the transcripts, such as fr or swh: for numbers, and for the Turkish i. Empty: that of the manifest,
    if it names one."""
    case: Literal["upper", "lower", "keep"] = "keep"
    """Case of the transcripts: all capitals, all small letters, or as they are."""
    digits: Literal["keep", "words", "ascii", "names", "error"] = "keep"
    """Digits: keep them; words: spell numbers in the language (needs wav2vec2[numbers]); ascii: write them as 0 to 9;
    names: spell digit by digit; error: stop at the first one."""
    punctuation: Literal["keep", "remove"] = "keep"
    """Keep punctuation, or remove it; apostrophes inside words stay."""
    hyphens: Literal["space", "keep"] = "space"
    """Where punctuation is removed, hyphens inside words become spaces, or stay."""
    marks: Literal["keep", "remove"] = "keep"
    """Keep the vowel points of Arabic and Hebrew, or remove them."""
    letters: Literal["keep", "plain"] = "keep"
    """plain: write full-width forms, ligatures and Arabic presentation forms as letters, and leave out tatweel."""
    spaces: Literal["keep", "join"] = "keep"
    """join: leave out spaces between letters of scripts without them, such as Chinese and Thai."""
    symbols: Literal["characters", "whitespace"] = "characters"
    """characters; or whitespace: transcripts are symbols separated by spaces, such as phones."""
    vocabulary: str = ""
    """Folder of a model, or one with a vocab.json, whose symbols to use; empty: the characters of the transcripts."""


_CHOSEN = tuple(one.name for one in fields(TextConfig) if one.name not in ("auto", "language", "symbols", "vocabulary"))
_DEFAULT = TextConfig()


def normalization_of(config: TextConfig, manifest: Manifest) -> tuple[TextNormalization, list[str]]:
    """Return how the transcripts are normalised, and lines that say why.

    Raises:
        UserError: numbers in digits cannot be spelled in the language, or it is not known.
    """
    language = config.language or language_of(manifest.column("language").unique().to_pylist())
    given = {name: getattr(config, name) for name in _CHOSEN if getattr(config, name) != getattr(_DEFAULT, name)}
    lines: list[str] = []
    if config.auto and config.symbols == "whitespace":
        raise UserError("text.auto: is for characters; transcripts of phones are used as they are")
    if config.vocabulary:
        lines.append(f"text: vocabulary and normalisation are those of {config.vocabulary}")
    if config.auto and not config.vocabulary:
        texts = transcribed(manifest).column("text").to_pylist()
        chosen = choose_normalization(texts, language, source=manifest.name, given=given)
        normalization = replace(chosen.normalization, **given)
        lines += [f"text: {line}" for line in chosen.lines]
    else:
        every: dict[str, Any] = {name: getattr(config, name) for name in _CHOSEN}
        normalization = TextNormalization(language=language if _matters(config) else "", **every)
    if config.digits == "names":
        names, line = _digit_names(language, manifest)
        normalization = replace(normalization, digit_names=names)
        lines.append(line)
    return normalization, lines


def _matters(config: TextConfig) -> bool:
    """Whether the settings depend on the language; a manifest that names one must not change a model otherwise."""
    return bool(config.language) or config.digits == "words"


def _digit_names(language: str, manifest: Manifest) -> tuple[tuple[str, ...], str]:
    if language and short_code(language) != "en":
        names = tuple(spell_numbers(str(digit), language).strip() for digit in range(10))
        return names, f"text: digits become {language_name(language)} words: {' '.join(names)}"
    if not language:
        texts = transcribed(manifest).column("text").to_pylist()
        letters = [script for text in texts[:1000] for char in text if (script := script_of(char))]
        if 2 * letters.count("Latin") < len(letters):
            raise UserError(
                f"text.digits names: inserts English words into {letters[0]} letters: name the language, such as "
                "--text.language ru"
            )
    note = "" if language else "; for those of another language --text.language fr"
    return ENGLISH_DIGIT_NAMES, f"text: digits become English words: {' '.join(ENGLISH_DIGIT_NAMES)}{note}"
