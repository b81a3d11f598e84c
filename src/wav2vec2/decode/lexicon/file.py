"""Lexicons: which words a search may write, and how each is spelled in a model's symbols.

The file is the one that fairseq and flashlight read: a word, white space, its symbols separated by spaces, one
spelling a line, with or without the word separator at the end. A file with one word a line is spelled by the
vocabulary.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from wav2vec2.errors import UserError
from wav2vec2.lm.words import SENTENCE_MARKS
from wav2vec2.text.vocabulary import Vocabulary

LmCase = Literal["keep", "fold"]
_NAMED = 5
_FORM = "'word<TAB>s y m b o l s' lines"


@dataclass(frozen=True)
class Lexicon:
    """Entries of equal place: words as they are written, as the language model has them, and their symbols' ids
    (without the word separator). A word with several spellings has several entries. unspellable: words left out since
    the vocabulary lacks a symbol of theirs.
    """

    words: tuple[str, ...]
    lm_words: tuple[str, ...]
    spellings: tuple[tuple[int, ...], ...]
    unspellable: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.words)

    def left_out(self) -> str | None:
        """One line that counts and names the words that cannot be spelled; None if there are none."""
        if not self.unspellable:
            return None
        named = ", ".join(self.unspellable[:_NAMED]) + (" ..." if len(self.unspellable) > _NAMED else "")
        total = len(set(self.words)) + len(self.unspellable)
        return (
            f"{len(self.unspellable)} of {total} words cannot be spelled with the vocabulary and are left out: {named}"
        )

    def with_lm_words(self, known: Iterable[str], vocabulary: Vocabulary, lm_case: LmCase, *, lm: str) -> "Lexicon":
        """The same entries, each under the language model's own form of its word; `fold` finds it in any case.

        A word that the model has in several cases gets an entry for each. Raises UserError if no word is in the model,
        with the way out if the case is the reason.
        """
        known = set(known)
        fold = _folding(vocabulary)
        forms: dict[str, list[str]] = {}
        for word in sorted(known):
            forms.setdefault(fold(word), []).append(word)
        exact = sum(word in known for word in self.words)
        folded = sum(fold(word) in forms for word in self.words)
        if lm_case == "keep" and 2 * exact < folded:
            raise UserError(f"{lm}: its words are in another case than the lexicon's; --lm-case fold matches them")
        if not folded:
            raise UserError(f"{lm}: knows no word of the lexicon; give the model and the lexicon that belong together")
        if lm_case == "keep":
            return self
        rows = [
            (word, form, spelling)
            for word, spelling in zip(self.words, self.spellings, strict=True)
            for form in forms.get(fold(word), [word])
        ]
        words, lm_words, spellings = zip(*rows, strict=True)
        return Lexicon(words, lm_words, spellings, self.unspellable)


def build_lexicon(
    words: Iterable[str], vocabulary: Vocabulary, lm_case: LmCase = "keep", *, source: str = "word list"
) -> Lexicon:
    """Spell words by the vocabulary; with `fold` they are written in its case, whatever theirs.

    Raises UserError, naming `source`, if no word can be spelled, with the way out if the case is the reason.
    """
    fold = _written(vocabulary, lm_case)
    kept: dict[str, None] = dict.fromkeys(word for word in words if word and word not in SENTENCE_MARKS)
    unspellable = tuple(word for word in kept if not _spellable(fold(word), vocabulary))
    good = tuple(word for word in kept if _spellable(fold(word), vocabulary))
    if len(good) * 2 < len(kept) and lm_case == "keep" and vocabulary.case != "keep":
        folded = _folding(vocabulary)
        if sum(_spellable(folded(word), vocabulary) for word in kept) > 2 * len(good):
            raise UserError(
                f"{source}: its words are not in {vocabulary.case} case as the vocabulary's symbols are; "
                "--lm-case fold matches them"
            )
    if not good:
        reason = f"none of its {len(kept)} words can be spelled with the vocabulary" if kept else "has no words"
        raise UserError(f"{source}: {reason}; give the lexicon that belongs to the model")
    spellings = tuple(tuple(vocabulary.encode(fold(word))) for word in good)
    return Lexicon(tuple(map(fold, good)), good, spellings, unspellable)


def read_lexicon(path: str | Path, vocabulary: Vocabulary, lm_case: LmCase = "keep") -> Lexicon:
    """Read a lexicon file. Raises UserError for a file that is missing, empty or malformed (with the line), and for
    one of whose words none can be spelled.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path}: cannot be read as a lexicon ({error}); give 'word<TAB>s y m b o l s' lines"
        ) from error
    rows = [(number, fields) for number, line in enumerate(lines, 1) if (fields := line.split())]
    if not rows:
        raise UserError(f"{path}: the lexicon is empty; give {_FORM} or one word a line")
    lonely = [number for number, fields in rows if len(fields) == 1]
    if len(lonely) == len(rows):
        return build_lexicon((fields[0] for _, fields in rows), vocabulary, lm_case, source=str(path))
    if lonely:
        raise UserError(f"{path}:{lonely[0]}: a word without a spelling; write 'word<TAB>s y m b o l s'")
    return _from_spellings(str(path), [fields for _, fields in rows], vocabulary, lm_case)


def _from_spellings(source: str, rows: Sequence[list[str]], vocabulary: Vocabulary, lm_case: LmCase) -> Lexicon:
    fold = _written(vocabulary, lm_case)
    ids = vocabulary.symbol_ids
    entries: dict[tuple[str, tuple[int, ...]], None] = {}
    unspellable: dict[str, None] = {}
    for word, *symbols in rows:
        if word in SENTENCE_MARKS:
            continue
        spelled = [fold(symbol) for symbol in symbols if symbol != vocabulary.word_separator]
        if spelled and all(symbol in ids for symbol in spelled):
            entries[word, tuple(ids[symbol] for symbol in spelled)] = None
        else:
            unspellable[word] = None
    if not entries:
        folded = _folding(vocabulary)
        if lm_case == "keep" and any(all(folded(symbol) in ids for symbol in symbols[1:-1]) for symbols in rows):
            raise UserError(f"{source}: its spellings are not in the vocabulary's case; --lm-case fold matches them")
        raise UserError(f"{source}: none of its words can be spelled; give the lexicon that belongs to the model")
    words = tuple(word for word, _ in entries)
    spellings = tuple(spelling for _, spelling in entries)
    known = set(words)
    return Lexicon(tuple(map(fold, words)), words, spellings, tuple(word for word in unspellable if word not in known))


def _spellable(word: str, vocabulary: Vocabulary) -> bool:
    return bool(vocabulary.encode(word)) and not vocabulary.unknown_symbols(word)


def _written(vocabulary: Vocabulary, lm_case: LmCase) -> Callable[[str], str]:
    """How a word is written out: in the vocabulary's case if it has one and the user asked for it."""
    return _folding(vocabulary) if lm_case == "fold" and vocabulary.case != "keep" else str


def _folding(vocabulary: Vocabulary) -> Callable[[str], str]:
    """What makes words of different case comparable."""
    return {"upper": str.upper, "lower": str.lower, "keep": str.casefold}[vocabulary.case]
