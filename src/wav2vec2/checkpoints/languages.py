"""Languages of a multilingual model by code, such as eng: what to say of a code that it does not have."""

import difflib
from collections.abc import Collection

from wav2vec2.errors import quoted

_MOST_NEAR = 5


def no_such_language(given: str, known: Collection[str]) -> str:
    """Return why a model has no adapter for a language: the codes that are near to it, and how many there are."""
    if not known:
        return "has no language adapters; only a multilingual model (facebook/mms-1b-all) takes a language"
    near = near_languages(given, known)
    proposed = f"; did you mean {' or '.join(near)}?" if near else "."
    return (
        f"has no language {quoted(given)}{proposed} It has {len(known):,} languages, by their codes of three letters "
        f"(ISO 639-3), such as {', '.join(sorted(known)[:3])}"
    )


def near_languages(given: str, known: Collection[str]) -> list[str]:
    """Return at most five of the known codes that somebody may have meant: of the same beginning, or of near spelling.

    A code of two letters (ISO 639-1) mostly is the beginning of that of three; a name begins like its code.
    """
    wanted = given.lower().strip()
    starts = [code for length in (3, 2) for code in sorted(known) if wanted[:length] == code[:length]]
    close = difflib.get_close_matches(wanted, sorted(known), _MOST_NEAR, 0.6)
    return list(dict.fromkeys([*starts, *close]))[:_MOST_NEAR]
