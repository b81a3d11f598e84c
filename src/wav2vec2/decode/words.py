"""Words in a search: their spellings in the model's symbols, their forms in the language model, and hotwords.

A language model or lexicon in another case than the vocabulary is refused here, with the option that helps, or matched
if the user asked for it (`--lm-case fold`).
"""

import math
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from wav2vec2.errors import UserError, cause, quoted
from wav2vec2.input_file import MOST_LINES, read_text, refuse_special
from wav2vec2.lm.language_model import LanguageModel
from wav2vec2.lm.words import SENTENCE_MARKS
from wav2vec2.text.normalize import WORD_SEPARATOR
from wav2vec2.text.vocabulary import Vocabulary

LmCase = Literal["keep", "fold"]
"""keep: the words of a language model are written as they are; fold: in the case of the vocabulary."""

DEFAULT_WEIGHT = 5.0
"""Nats added for a hotword without a weight of its own."""

_NAMED = 5
_SAMPLED = 2000
_SCORED_TOGETHER = 4096
_SPACES = (WORD_SEPARATOR, " ", "<space>", "<SPACE>")
_FORM = "'word<TAB>s y m b o l s' lines"


@dataclass(frozen=True)
class Lexicon:
    """The words that a search may write, each with one spelling; a word with several spellings has several entries.

    words: in their written form; lm_words: in the language model's form; spellings: ids of their symbols, without the
    word separator. All three have the same length. unspellable: words left out because the vocabulary lacks one of
    their symbols.
    """

    words: tuple[str, ...]
    lm_words: tuple[str, ...]
    spellings: tuple[tuple[int, ...], ...]
    unspellable: tuple[str, ...] = ()

    def left_out(self) -> str | None:
        """Return a line with the number of words that cannot be spelled, and some of them; None if there are none."""
        if not self.unspellable:
            return None
        named = ", ".join(self.unspellable[:_NAMED]) + (" ..." if len(self.unspellable) > _NAMED else "")
        total = len(set(self.words)) + len(self.unspellable)
        return (
            f"{len(self.unspellable)} of {total} words cannot be spelled with the vocabulary and are left out: {named}"
        )

    def with_lm_words(self, known: Iterable[str], vocabulary: Vocabulary, lm_case: LmCase, *, lm: str) -> "Lexicon":
        """Return the same entries with the language model's own form of each word; `fold` finds it in any case.

        A word that the model has in several cases gets an entry for each. lm: the model's name in messages. Raises
        UserError if no word is in the model, or if the case is the reason why most are not.
        """
        known = set(known)
        fold = _folding(vocabulary)
        forms: dict[str, list[str]] = {}
        for word in sorted(known):
            forms.setdefault(fold(word), []).append(word)
        exact = sum(word in known for word in self.words)
        folded = sum(fold(word) in forms for word in self.words)
        if lm_case == "keep" and 2 * exact < folded:
            raise UserError(f"{lm}: its words are not in the lexicon's case; add --lm-case fold to match them")
        if not folded:
            raise UserError(f"{lm}: has no word of the lexicon; give a model and a lexicon that belong together")
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
    """Spell words with the vocabulary; `fold` writes them in the vocabulary's case, whatever their own.

    Raises UserError, naming `source`, if no word can be spelled, or if the case is the reason why most cannot.
    """
    write = _writing(vocabulary, lm_case)
    written = {word: write(word) for word in words if word and word not in SENTENCE_MARKS}
    possible = _spellable(set(written.values()), vocabulary)
    good = [word for word in written if written[word] in possible]
    if lm_case == "keep":
        _refuse_other_case(written, len(good), vocabulary, source)
    if not good:
        why = f"none of its {len(written)} words can be spelled with the vocabulary" if written else "has no words"
        raise UserError(f"{source}: {why}; give one that belongs to this model")
    spellings = tuple(tuple(vocabulary.encode(written[word])) for word in good)
    unspellable = tuple(word for word in written if written[word] not in possible)
    return Lexicon(tuple(written[word] for word in good), tuple(good), spellings, unspellable)


def read_lexicon(path: str | Path, vocabulary: Vocabulary, lm_case: LmCase = "keep") -> Lexicon:
    """Read a lexicon in the form of fairseq and flashlight: a word, white space, its symbols separated by spaces.

    There is one spelling a line, with or without the word separator at the end. If every line is one word, the
    vocabulary spells the words. Raises UserError for a file that is missing, empty or malformed (with the line), and
    for one without any word that can be spelled.
    """
    try:
        lines = read_text(path, encoding="utf-8-sig", most=MOST_LINES).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as a lexicon ({cause(error)}); give {_FORM}") from error
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
    write = _writing(vocabulary, lm_case)
    ids = vocabulary.symbol_ids
    entries: dict[tuple[str, tuple[int, ...]], None] = {}
    unspellable: dict[str, None] = {}
    for word, *symbols in rows:
        if word in SENTENCE_MARKS:
            continue
        spelled = [write(symbol) for symbol in symbols if symbol != vocabulary.word_separator]
        if spelled and all(symbol in ids for symbol in spelled):
            entries[word, tuple(ids[symbol] for symbol in spelled)] = None
        else:
            unspellable[word] = None
    if not entries:
        folded = _folding(vocabulary)
        if lm_case == "keep" and any(all(folded(symbol) in ids for symbol in symbols[1:-1]) for symbols in rows):
            raise UserError(
                f"{source}: its spellings are not in the vocabulary's case; add --lm-case fold to match them"
            )
        raise UserError(f"{source}: none of its words can be spelled; give a lexicon that belongs to this model")
    words = tuple(word for word, _ in entries)
    spellings = tuple(spelling for _, spelling in entries)
    known = set(words)
    return Lexicon(tuple(map(write, words)), words, spellings, tuple(word for word in unspellable if word not in known))


def reads_symbols(lm: LanguageModel, vocabulary: Vocabulary) -> bool:
    """Tell whether a language model scores the vocabulary's symbols one by one, and not words.

    This is so if its unit is characters, if each of its tokens is a symbol, or if the vocabulary has no word separator.
    """
    if vocabulary.word_separator is None or lm.unit == "characters":
        return True
    marks = {*SENTENCE_MARKS, vocabulary.word_separator}
    return all(token in vocabulary.symbol_ids or token in marks for token in lm.tokens)


def token_finder(lm: LanguageModel, vocabulary: Vocabulary, lm_case: LmCase, source: str) -> Callable[[str], int]:
    """Return a function from a word (or symbol) as it is written to its index in the language model.

    Raises UserError, naming `source`, for a model in another case than the vocabulary unless lm_case is `fold`.
    """
    if lm_case == "fold" and vocabulary.case != "keep":
        write, places = _writing(vocabulary, lm_case), dict[str, int]()
        for index, token in enumerate(lm.tokens):
            places.setdefault(write(token), index)
        return lambda word: places.get(word, lm.unknown)
    sample = {token for token in lm.tokens[:_SAMPLED] if token not in SENTENCE_MARKS}
    _refuse_other_case(sample, len(_spellable(sample, vocabulary)), vocabulary, source)
    return lm.index


def symbol_indices(lm: LanguageModel, vocabulary: Vocabulary, lm_case: LmCase, source: str) -> NDArray[np.int64]:
    """Return for each symbol its index in a language model over symbols, (V,); errors as `token_finder`.

    The word separator may be `|`, a space or `<space>` in the model.
    """
    find = token_finder(lm, vocabulary, lm_case, source)
    indices = np.array([find(symbol) for symbol in vocabulary.symbols], np.int64)
    if vocabulary.word_separator is not None:
        found = [find(name) for name in (vocabulary.word_separator, *_SPACES)]
        separator = vocabulary.symbols.index(vocabulary.word_separator)
        indices[separator] = next((index for index in found if index != lm.unknown), lm.unknown)
    return indices


def word_scores(lm: LanguageModel, history: int, words: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the log-probability (nats) of each word after one history, (N,). The model then forgets all histories."""
    scores = [
        lm.score(np.full(len(part), history, np.int64), part)[0]
        for part in np.split(words, range(_SCORED_TOGETHER, len(words), _SCORED_TOGETHER))
    ]
    lm.retain(np.empty(0, np.int64))
    return np.concatenate(scores).astype(np.float64)


def _refuse_other_case(words: Collection[str], spelled: int, vocabulary: Vocabulary, source: str) -> None:
    """Raise UserError if most words cannot be spelled as they are, and at least twice as many in another case."""
    if vocabulary.case == "keep" or 2 * spelled >= len(words):
        return
    if len(_spellable(set(map(_folding(vocabulary), words)), vocabulary)) > 2 * spelled:
        other = f"its words are not in {vocabulary.case} case like the vocabulary's symbols"
        raise UserError(f"{source}: {other}; add --lm-case fold to match them")


def _spellable(words: Collection[str], vocabulary: Vocabulary) -> set[str]:
    """Return the words whose symbols are all in the vocabulary. Most words are judged by their letters alone."""
    unknown = {letter for letter in set().union(*words) if vocabulary.unknown_symbols(letter)} if words else set()
    return {
        word
        for word in words
        if word and not any(letter.isspace() for letter in word)
        if unknown.isdisjoint(word) or not vocabulary.unknown_symbols(word)
    }


def _writing(vocabulary: Vocabulary, lm_case: LmCase) -> Callable[[str], str]:
    """Return the function that writes a word: in the vocabulary's case if it has one and the user asked for it."""
    return _folding(vocabulary) if lm_case == "fold" and vocabulary.case != "keep" else str


def _folding(vocabulary: Vocabulary) -> Callable[[str], str]:
    """Return the function that brings words to one case, so that they can be compared."""
    return {"upper": str.upper, "lower": str.lower, "keep": str.casefold}[vocabulary.case]


def parse_hotwords(arguments: Sequence[str]) -> dict[str, float]:
    """Parse hotwords from the command line: WORD, WORD:WEIGHT, or the path of a text file of these.

    A file has one word or phrase a line, and may have a tab instead of the colon. Raises UserError, naming file and
    line, for a file that cannot be read and a weight that is not a number.
    """
    found: dict[str, float] = {}
    for argument in arguments:
        refuse_special(argument)
        if Path(argument).is_file():
            found.update(_read_hotwords(Path(argument)))
        elif os.sep in argument or argument.endswith(".txt"):
            raise UserError(f"--hotwords {argument}: no such file; give a text file with one WORD:WEIGHT per line")
        else:
            word, weight = _parse_hotword(argument, "--hotwords")
            found[word] = weight
    return found


def _read_hotwords(path: Path) -> dict[str, float]:
    try:
        lines = read_text(path, encoding="utf-8-sig", most=MOST_LINES).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as a list of hotwords ({cause(error)}); give UTF-8 text") from None
    return dict(_parse_hotword(line, f"{path}:{number}") for number, line in enumerate(lines, 1) if line.strip())


def _parse_hotword(entry: str, source: str) -> tuple[str, float]:
    word, mark, weight = entry.rpartition("\t" if "\t" in entry else ":")
    if not mark:
        return entry.strip(), DEFAULT_WEIGHT
    try:
        return word.strip(), float(weight)
    except ValueError:
        raise UserError(
            f"{source}: {quoted(weight.strip())} is not a number; write WORD:WEIGHT, such as anna:8"
        ) from None


def spell_hotwords(hotwords: Mapping[str, float], vocabulary: Vocabulary) -> dict[str, float]:
    """Bring hotwords to the form and the case of the vocabulary; each word of a phrase becomes a hotword of its own.

    If a word occurs several times, its highest weight counts. Raises UserError for a word that the vocabulary cannot
    spell and for a weight that is not a finite number.
    """
    found: dict[str, float] = {}
    for phrase, weight in hotwords.items():
        named = f"hotword {quoted(phrase)}"
        if not math.isfinite(weight):
            raise UserError(f"{named}: its weight {weight} must be a finite number")
        try:
            words = vocabulary.fit(phrase).split()
        except UserError as error:
            raise UserError(f"{named}: {error}") from None
        if not words:
            raise UserError(f"{named}: has no letter of the model's vocabulary; write it as it is spoken")
        for word in words:
            unknown = next(iter(vocabulary.unknown_symbols(word)), None)
            if unknown is not None:
                lacks = f"the model's vocabulary has no {quoted(unknown)}"
                raise UserError(f"{named}: {lacks}; write it as it is spoken")
            found[word] = max(weight, found.get(word, -math.inf))
    return found
