"""The words (or characters) that a Transformer language model knows, and how text becomes their numbers."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from wav2vec2.errors import UserError
from wav2vec2.lm.language_model import Unit
from wav2vec2.text.normalize import WORD_SEPARATOR, TextNormalization

END, UNKNOWN = "</s>", "<unk>"
"""The mark that stands before and after each sentence, and the token of all unknown words."""
FILE = "tokens.txt"


@dataclass(frozen=True)
class TokenVocabulary:
    """Tokens by falling frequency after the two marks; characters have ``|`` between words.

    Raises UserError for a token that occurs twice.
    """

    tokens: tuple[str, ...]
    unit: Unit = "words"
    normalization: TextNormalization = TextNormalization()  # noqa: RUF009 - frozen

    def __post_init__(self) -> None:
        if self.tokens[:2] != (END, UNKNOWN):
            raise UserError(f"vocabulary of the language model: must begin with {END} and {UNKNOWN}")
        if len(self.numbers) != len(self.tokens):
            twice = next(token for token, count in Counter(self.tokens).items() if count > 1)
            raise UserError(f"vocabulary of the language model: {twice!r} occurs twice")

    @classmethod
    def build(
        cls,
        counts: Counter[str],
        unit: Unit,
        normalization: TextNormalization,
        *,
        min_count: int = 1,
        allowed: Iterable[str] | None = None,
    ) -> "TokenVocabulary":
        """Take the tokens seen ``min_count`` times, or exactly the ``allowed`` ones, sorted by count, then by code
        point. UserError when none is left.
        """
        seen = (token for token, count in counts.items() if count >= min_count)
        ordered = sorted(
            {*(seen if allowed is None else allowed)} - {END, UNKNOWN}, key=lambda token: (-counts[token], token)
        )
        if not ordered:
            raise UserError(f"text.min_count: no token occurs {min_count} times; lower it or give more text")
        return cls((END, UNKNOWN, *ordered), unit, normalization)

    def __len__(self) -> int:
        return len(self.tokens)

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The number of each token."""
        return {token: number for number, token in enumerate(self.tokens)}

    def encode(self, words: Sequence[str]) -> list[int]:
        """Numbers of the tokens of a sentence, given its normalised words; without marks."""
        return [self.numbers.get(token, 1) for token in tokens_of(words, self.unit)]

    def save(self, directory: Path) -> None:
        """Write ``tokens.txt``, one token a line."""
        (directory / FILE).write_text("\n".join(self.tokens) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, directory: Path, unit: Unit, normalization: TextNormalization) -> "TokenVocabulary":
        """Read ``tokens.txt``; UserError when it is missing or broken."""
        path = directory / FILE
        try:
            tokens = path.read_text(encoding="utf-8").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: cannot be read ({error}); copy the complete model directory again") from None
        try:
            return cls(tuple(tokens[:-1] if tokens[-1:] == [""] else tokens), unit, normalization)
        except UserError as error:
            raise UserError(f"{path}: {error}; copy the complete model directory again") from None


def tokens_of(words: Sequence[str], unit: Unit) -> Sequence[str]:
    """The words themselves, or their characters with ``|`` between words."""
    return words if unit == "words" else list(WORD_SEPARATOR.join(words))
