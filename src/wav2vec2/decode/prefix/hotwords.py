"""Words that a search shall prefer: names, terms, whatever a speaker is likely to say and training did not hold."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

from wav2vec2.errors import UserError
from wav2vec2.text.vocabulary import Vocabulary

DEFAULT_BONUS = 5.0
"""Nats for a word without a number of its own."""


def spelled_hotwords(hotwords: Mapping[str, float], vocabulary: Vocabulary) -> dict[str, float]:
    """Bring hotwords to the vocabulary's form; each word of a phrase is a hotword of its own.

    Raises UserError for one that the vocabulary cannot spell and for a bonus that is not a finite number.
    """
    found: dict[str, float] = {}
    for phrase, bonus in hotwords.items():
        if not math.isfinite(bonus):
            raise UserError(f"hotword {phrase!r}: its bonus {bonus} must be a finite number")
        words = vocabulary.normalize(phrase).split()
        if not words:
            raise UserError(f"hotword {phrase!r}: nothing of it can be spelled; use the vocabulary's symbols")
        for word in words:
            unknown = vocabulary.unknown_symbols(word)
            if unknown:
                raise UserError(
                    f"hotword {phrase!r}: the vocabulary has no {next(iter(unknown))!r}; spell it otherwise"
                )
            found[word] = max(bonus, found.get(word, -math.inf))
    return found


def read_hotwords(path: str | Path) -> dict[str, float]:
    """Read a text file of one word or phrase a line, with a tab and the nats it adds where they are not 5.

    Raises UserError, naming file and line, if it cannot be read.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a readable list of hotwords ({error}); give UTF-8 text") from None
    return parse_hotwords(lines, source=str(path))


def parse_hotwords(lines: Iterable[str], *, source: str) -> dict[str, float]:
    """Read the lines of such a file; `source` names them in messages."""
    found: dict[str, float] = {}
    for number, line in enumerate(lines, start=1):
        phrase, tab, bonus = line.strip().partition("\t")
        if not phrase:
            continue
        try:
            found[phrase.strip()] = float(bonus) if tab else DEFAULT_BONUS
        except ValueError:
            raise UserError(f"{source}:{number}: {bonus!r} is no number; write the hotword, a tab, a number") from None
    return found
