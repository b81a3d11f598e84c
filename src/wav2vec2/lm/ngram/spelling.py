"""The lexicon of a word list: how each word is spelled in letters, as flashlight's and our lexicon search read it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from wav2vec2.errors import UserError
from wav2vec2.output_file import writing
from wav2vec2.text.normalize import WORD_SEPARATOR
from wav2vec2.text.vocabulary import Vocabulary

_NAMED = 5


@dataclass(frozen=True)
class Spelled:
    """words: how many were written. left_out: those that the symbols cannot spell."""

    words: int
    left_out: tuple[str, ...]

    def __str__(self) -> str:
        if not self.left_out:
            return f"{self.words} words"
        named = ", ".join(self.left_out[:_NAMED]) + (", ..." if len(self.left_out) > _NAMED else "")
        return f"{self.words} words; {len(self.left_out)} that the symbols cannot spell are left out: {named}"


def write_spellings(words: Iterable[str], path: Path, vocabulary: Vocabulary | None = None) -> Spelled:
    """Write ``word<TAB>w o r d |`` lines; with ``vocabulary`` in its symbols, words it lacks a symbol for left out.

    Raises:
        UserError: no word can be spelled, or the file cannot be written.
    """
    left_out: list[str] = []
    written = 0

    def lines() -> Iterator[str]:
        nonlocal written
        for word in words:
            if vocabulary is not None and not can_spell(vocabulary, word):
                left_out.append(word)
                continue
            written += 1
            yield f"{word}\t{' '.join(_symbols(word, vocabulary))}\n"

    with writing(path) as temporary:
        with open(temporary, "w", encoding="utf-8") as file:
            file.writelines(lines())
        if not written:
            raise UserError(
                f"{path}: none of {len(left_out)} words can be spelled with the model's symbols; give the model that "
                "belongs to the text"
            )
    return Spelled(written, tuple(left_out))


def can_spell(vocabulary: Vocabulary, word: str) -> bool:
    """Whether the vocabulary has every symbol of the word."""
    return not vocabulary.unknown_symbols(word) and bool(vocabulary.encode(word))


def _symbols(word: str, vocabulary: Vocabulary | None) -> list[str]:
    if vocabulary is None:
        return [*word, WORD_SEPARATOR]
    end = [] if vocabulary.word_separator is None else [vocabulary.word_separator]
    return [*vocabulary.split(word), *end]
