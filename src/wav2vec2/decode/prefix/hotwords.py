"""Hotwords: names and terms that a search favours, each with a weight that every occurrence adds to the score."""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from wav2vec2.errors import UserError
from wav2vec2.text.vocabulary import Vocabulary

DEFAULT_WEIGHT = 5.0
"""Nats added for a hotword without a weight of its own."""


def parse_hotwords(arguments: Sequence[str]) -> dict[str, float]:
    """Read hotwords as they are given on the command line: WORD, WORD:WEIGHT, or the path of a text file of these.

    A file has one word or phrase a line; a tab may stand in place of the colon. Raises UserError, naming file and line,
    for a file that cannot be read and a weight that is not a number.
    """
    found: dict[str, float] = {}
    for argument in arguments:
        if Path(argument).is_file():
            found.update(_read_file(Path(argument)))
        elif os.sep in argument or argument.endswith(".txt"):
            raise UserError(f"--hotwords {argument}: no such file; give a text file with one WORD:WEIGHT a line")
        else:
            word, weight = _parse(argument, "--hotwords")
            found[word] = weight
    return found


def _read_file(path: Path) -> dict[str, float]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as a list of hotwords ({error}); give UTF-8 text") from None
    return dict(_parse(line, f"{path}:{number}") for number, line in enumerate(lines, start=1) if line.strip())


def _parse(entry: str, source: str) -> tuple[str, float]:
    word, mark, weight = entry.rpartition("\t" if "\t" in entry else ":")
    if not mark:
        return entry.strip(), DEFAULT_WEIGHT
    try:
        return word.strip(), float(weight)
    except ValueError:
        raise UserError(f"{source}: {weight.strip()!r} is not a number; write WORD:WEIGHT, such as anna:8") from None


def spell_hotwords(hotwords: Mapping[str, float], vocabulary: Vocabulary) -> dict[str, float]:
    """Bring hotwords to the form of the vocabulary's transcripts; each word of a phrase becomes a hotword of its own.

    Of a word that occurs several times the highest weight counts. Raises UserError for a word that the vocabulary
    cannot spell and for a weight that is not a finite number.
    """
    found: dict[str, float] = {}
    for phrase, weight in hotwords.items():
        if not math.isfinite(weight):
            raise UserError(f"hotword {phrase!r}: its weight {weight} must be a finite number")
        try:
            words = vocabulary.normalize(phrase).split()
        except UserError as error:
            raise UserError(f"hotword {phrase!r}: {error}") from None
        if not words:
            raise UserError(f"hotword {phrase!r}: has no letter of the model's vocabulary; write it as it is spoken")
        for word in words:
            unknown = next(iter(vocabulary.unknown_symbols(word)), None)
            if unknown is not None:
                lacks = f"the model's vocabulary has no {unknown!r}"
                raise UserError(f"hotword {phrase!r}: {lacks}; write it as it is spoken")
            found[word] = max(weight, found.get(word, -math.inf))
    return found
