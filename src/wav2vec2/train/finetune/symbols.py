"""What the symbols of the output layer are, said before they are trained: which of them need not be, or cannot be."""

import unicodedata
from collections import Counter
from collections.abc import Mapping

from wav2vec2.errors import quoted
from wav2vec2.text.vocabulary import Vocabulary

RARE = 5
_SHOWN = 60
_NAMED = 20


def symbol_lines(vocabulary: Vocabulary, seen: Mapping[str, int]) -> list[str]:
    """Return lines about a vocabulary that was made from transcripts.

    seen: how often each symbol occurs in the transcripts that are trained on, normalised.

    They propose options where capitals, punctuation or digits are symbols of their own, which few transcripts can
    teach, and name the symbols that occur fewer than `RARE` times.
    """
    lines = [f"vocabulary: {len(vocabulary)} symbols: {' '.join(vocabulary.symbols[:_SHOWN])}"]
    if vocabulary.unit == "characters":
        lines += _proposals({symbol for symbol in seen if len(symbol) == 1})
    rare = sorted(symbol for symbol, count in seen.items() if count < RARE)
    if rare:
        named = " ".join(quoted(symbol)[1:-1] for symbol in rare[:_NAMED])
        more = f" and {len(rare) - _NAMED} more" if len(rare) > _NAMED else ""
        lines.append(f"seen fewer than {RARE} times, too rarely to be learned: {named}{more}")
    return lines


def _proposals(symbols: set[str]) -> list[str]:
    capitals = {symbol for symbol in symbols if symbol.lower() != symbol and symbol.lower() in symbols}
    marks = {symbol for symbol in symbols if unicodedata.category(symbol)[0] in "PS" and symbol != "'"}
    digits = {symbol for symbol in symbols if symbol.isdigit()}
    options, kinds = [], []
    if capitals:
        kinds.append(f"{len(capitals)} capitals of other symbols")
        options.append("--text.case lower")
    if marks:
        kinds.append(f"{len(marks)} marks of punctuation")
        options.append("--text.punctuation remove")
    lines = []
    if options:
        left = len(symbols - capitals - marks)
        lines.append(
            f"of these, {' and '.join(kinds)}: {' '.join(options)} leaves {left} to be learned; "
            "--text.auto chooses such options by script"
        )
    if digits:
        lines.append(
            f"digits are symbols of their own ({' '.join(sorted(digits))}), although they are spoken as words: write "
            "the numbers out, or --text.digits words --text.language LANGUAGE spells them"
        )
    return lines


def seen_symbols(vocabulary: Vocabulary, counts: Counter[int]) -> dict[str, int]:
    """Return how often each symbol that is not special was seen, by name; the separator of words is left out."""
    special = {vocabulary.symbols[vocabulary.blank], "<s>", "</s>", vocabulary.word_separator}
    if vocabulary.unknown is not None:
        special.add(vocabulary.symbols[vocabulary.unknown])
    return {symbol: counts[index] for index, symbol in enumerate(vocabulary.symbols) if symbol not in special}
