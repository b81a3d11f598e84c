"""The vocabulary of a Transformer language model: words or characters, and their numbers."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from wav2vec2.errors import UserError
from wav2vec2.lm.language_model import Unit
from wav2vec2.lm.words import END, UNKNOWN
from wav2vec2.text.normalize import WORD_SEPARATOR, TextNormalization

FILE = "tokens.txt"


@dataclass(frozen=True)
class TokenVocabulary:
    """The tokens, ``</s>`` and ``<unk>`` first and then by falling frequency; of characters, ``|`` separates words.

    Raises:
        UserError: the first two tokens are others, or a token occurs twice.
    """

    tokens: tuple[str, ...]
    unit: Unit = "words"
    normalization: TextNormalization = TextNormalization()  # noqa: RUF009 - frozen

    def __post_init__(self) -> None:
        if self.tokens[:2] != (END, UNKNOWN):
            raise UserError(f"vocabulary of the language model: does not begin with {END} and {UNKNOWN}")
        if len(self.numbers) != len(self.tokens):
            twice = next(token for token, count in Counter(self.tokens).items() if count > 1)
            raise UserError(f"vocabulary of the language model: has {twice!r} twice")

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
        """Make a vocabulary of the tokens that occur at least ``min_count`` times, or of exactly the ``allowed`` ones.

        They are sorted by falling count, then by code point. Raises UserError if there are none.
        """
        seen = (token for token, count in counts.items() if count >= min_count)
        ordered = sorted(
            {*(seen if allowed is None else allowed)} - {END, UNKNOWN}, key=lambda token: (-counts[token], token)
        )
        if not ordered:
            raise UserError(f"text.min_count: no token occurs {min_count} times; lower it, or give more text")
        return cls((END, UNKNOWN, *ordered), unit, normalization)

    def __len__(self) -> int:
        return len(self.tokens)

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The number of each token."""
        return {token: number for number, token in enumerate(self.tokens)}

    def encode(self, words: Sequence[str]) -> list[int]:
        """The numbers of a sentence's tokens, without marks, given its normalised words."""
        return [self.numbers.get(token, 1) for token in tokens_of(words, self.unit)]

    def save(self, directory: Path) -> None:
        """Write ``tokens.txt``, one token per line."""
        (directory / FILE).write_text("\n".join(self.tokens) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, directory: Path, unit: Unit, normalization: TextNormalization) -> "TokenVocabulary":
        """Read ``tokens.txt``. Raises UserError if it is missing or malformed."""
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
