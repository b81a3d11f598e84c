"""Language codes: what a corpus writes (fr, fra, fr-FR, fr_fr) as the short code that rules are kept under."""

import re

# ISO 639-3 (and the codes of MMS and num2words) to ISO 639-1, for the languages that a rule of this room names.
_SHORT = {
    "ara": "ar", "arb": "ar", "aze": "az", "azj": "az", "bel": "be", "ben": "bn", "bul": "bg", "cat": "ca", "ces": "cs",
    "cze": "cs", "che": "ce", "cmn": "zh", "cym": "cy", "dan": "da", "deu": "de", "ger": "de", "ell": "el", "eng": "en",
    "epo": "eo", "est": "et", "eus": "eu", "fas": "fa", "pes": "fa", "fin": "fi", "fra": "fr", "fre": "fr", "heb": "he",
    "iw": "he", "hin": "hi", "hrv": "hr", "hun": "hu", "ind": "id", "isl": "is", "ita": "it", "jpn": "ja", "jp": "ja",
    "kan": "kn", "kaz": "kk", "khm": "km", "kor": "ko", "lao": "lo", "lav": "lv", "lvs": "lv", "lit": "lt", "nb": "no",
    "nob": "no", "nor": "no", "nld": "nl", "dut": "nl", "pol": "pl", "por": "pt", "ron": "ro", "rum": "ro", "rus": "ru",
    "slk": "sk", "slv": "sl", "spa": "es", "srp": "sr", "swe": "sv", "swa": "sw", "swh": "sw", "tel": "te", "tgk": "tg",
    "tha": "th", "tur": "tr", "ukr": "uk", "urd": "ur", "vie": "vi", "ydd": "yi", "yid": "yi", "yue": "zh", "zho": "zh",
}  # fmt: skip
_NAMES = {
    "ar": "Arabic", "az": "Azerbaijani", "be": "Belarusian", "bn": "Bengali", "ca": "Catalan", "ce": "Chechen",
    "crh": "Crimean Tatar", "cs": "Czech", "cy": "Welsh", "da": "Danish", "de": "German", "el": "Greek",
    "en": "English", "eo": "Esperanto", "es": "Spanish", "fa": "Persian", "fi": "Finnish", "fr": "French",
    "gag": "Gagauz", "he": "Hebrew", "hi": "Hindi", "hu": "Hungarian", "id": "Indonesian", "is": "Icelandic",
    "it": "Italian", "ja": "Japanese", "kk": "Kazakh", "kn": "Kannada", "ko": "Korean", "lt": "Lithuanian",
    "lv": "Latvian", "nl": "Dutch", "no": "Norwegian", "pl": "Polish", "pt": "Portuguese", "ro": "Romanian",
    "ru": "Russian", "sk": "Slovak", "sl": "Slovenian", "sr": "Serbian", "sv": "Swedish", "sw": "Swahili",
    "te": "Telugu", "tet": "Tetum", "tg": "Tajik", "th": "Thai", "tr": "Turkish", "uk": "Ukrainian",
    "ur": "Urdu", "vi": "Vietnamese", "yi": "Yiddish", "zh": "Chinese",
}  # fmt: skip

TURKIC = frozenset({"tr", "az", "crh", "gag"})
"""Languages with a dotted and a dotless i."""


def short_code(language: str) -> str:
    """Return the code without region and script, of two letters where ISO 639-1 has one: fr for fra, fr-FR, fr_fr."""
    first = re.split("[-_]", language.strip().lower(), maxsplit=1)[0]
    return _SHORT.get(first, first)


def region(language: str) -> str:
    """Return the region of a code in capitals, "" if it has none: BR for pt-BR and pt_br."""
    parts = re.split("[-_]", language.strip())[1:]
    return next((part.upper() for part in parts if len(part) == 2), "")


def language_name(language: str) -> str:
    """Return the English name of a language, or its code if no rule here names it."""
    return _NAMES.get(short_code(language), language)
