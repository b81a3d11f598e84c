"""The commonest mistake with a language model: its words and the other side's are in different case."""

from collections.abc import Callable, Iterable

from wav2vec2.errors import UserError
from wav2vec2.text.normalize import Case, normalize_text

_FOLDED: tuple[Case, ...] = ("upper", "lower")


def check_case(words: Iterable[str], known: Callable[[str], bool], source: str, other: str) -> None:
    """Raise UserError, with the option that helps, if most words of ``source`` are unknown only for their case.

    known: whether ``other`` (its name in the message) has a word.
    """
    words = list(words)
    as_is = sum(map(known, words))
    for case in _FOLDED:
        folded = sum(known(normalize_text(word, case=case)) for word in words)
        if folded > 2 * as_is:
            raise UserError(f"{source}: its words are in another case than {other}'s; --case {case} makes them match")
