"""The words of language models: reading them from an n-gram file, checking their case, and writing lexicons."""

import gzip
import mmap
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO

from wav2vec2.errors import UserError, cause
from wav2vec2.input_file import open_input
from wav2vec2.output_file import writing
from wav2vec2.text.letters import Case
from wav2vec2.text.normalize import WORD_SEPARATOR, normalize_text
from wav2vec2.text.vocabulary import Vocabulary

BEGIN, END, UNKNOWN = "<s>", "</s>", "<unk>"
SENTENCE_MARKS = (BEGIN, END, UNKNOWN, "<UNK>")
"""Entries of a language model's word list that are not words; some toolkits write <UNK> in capitals."""
_KENLM_MAGIC = b"mmap lm http://kheafield.com/code"
_FIRST_WORD = f"{UNKNOWN}\0".encode()
_KENLM_ORDER_AT = 88  # byte position: after the magic line and the numbers that show the machine's byte order
_HEADER_LINES = 1000
_LONGEST_LINE = 1 << 20
_COUNT = re.compile(r"[0-9]{1,15}")
_REMEDY = "write or copy it again"
_NAMED = 5  # words that a message names
_CASES: tuple[Case, ...] = ("upper", "lower")


def is_kenlm_binary(path: str | Path) -> bool:
    """Whether a file begins as KenLM's binaries do. Raises UserError if it cannot be read."""
    try:
        with open_input(path) as file:
            return file.read(len(_KENLM_MAGIC)) == _KENLM_MAGIC
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give an ARPA file or a KenLM binary") from error


def ngram_words(path: str | Path) -> list[str]:
    """Read the words of an ARPA file (plain or gzipped) or KenLM binary, in the file's order, without sentence marks.

    Only the unigrams of an ARPA file are read.

    Raises:
        UserError: the file is missing, is not an n-gram model, is cut short, or has no words.
    """
    path = Path(path)
    try:
        words = _binary_words(path) if is_kenlm_binary(path) else list(_arpa_words(path))
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as an n-gram model ({cause(error)}); {_REMEDY}") from error
    words = [word for word in words if word not in SENTENCE_MARKS]
    if not words:
        raise UserError(f"{path}: has no words besides the sentence marks; train it on text")
    return words


def ngram_order(path: str | Path) -> int | None:
    """Return the order that the header of an ARPA file or KenLM binary gives; None for any other file."""
    path = Path(path)
    try:
        if is_kenlm_binary(path):
            with open_input(path) as file:
                order = file.read(_KENLM_ORDER_AT + 1)[_KENLM_ORDER_AT:]
            return order[0] if order and 1 <= order[0] <= 20 else None
        orders = []
        with _open_text(path) as file:
            for line in _header(file):
                if line.startswith("ngram "):
                    orders.append(int(line[len("ngram ") :].partition("=")[0]))
                elif line.startswith("\\1-grams:"):
                    break
    except (OSError, EOFError, ValueError, zlib.error, UserError):
        return None
    return max(orders, default=None)


def _open_text(path: Path) -> IO[str]:
    with open_input(path) as raw:
        zipped = raw.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rt", encoding="utf-8") if zipped else path.open(encoding="utf-8")  # a regular file by now


def _header(file: IO[str]) -> Iterator[str]:
    """Yield the first lines, none longer than any word: a gzipped file of a megabyte can be one line of gigabytes."""
    return islice(iter(lambda: file.readline(_LONGEST_LINE), ""), _HEADER_LINES)


def _arpa_words(path: Path) -> Iterator[str]:
    with _open_text(path) as file:
        count = None
        for line in _header(file):
            if line.startswith("ngram 1="):
                number = line.partition("=")[2].strip()
                count = int(number) if _COUNT.fullmatch(number) else None
            elif line.strip() == "\\1-grams:":
                break
        else:
            raise UserError(f"{path}: is not an ARPA file (it has no section \\1-grams:); give an n-gram model")
        if count is None:
            raise UserError(f"{path}: lacks its number of words ('ngram 1=' after \\data\\); {_REMEDY}")
        for place in range(1, count + 1):
            fields = file.readline(_LONGEST_LINE).split()
            if len(fields) not in (2, 3):
                raise UserError(f"{path}: is cut short or malformed at word {place} of {count}; {_REMEDY}")
            yield fields[1]


def _binary_words(path: Path) -> list[str]:
    """A KenLM binary ends with its words, each followed by a zero byte, the unknown word first."""
    with open_input(path) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        start = content.rfind(_FIRST_WORD)
        if start < 0 or content[len(content) - 1 :] != b"\0":
            raise UserError(
                f"{path}: was built without its words or is cut short; name a lexicon (--lexicon), or build it again"
            )
        return content[start:].decode("utf-8").split("\0")[:-1]


def check_case(words: Iterable[str], known: Callable[[str], bool], source: str, other: str) -> None:
    """Catch the commonest mistake with language models: a text in another case than the model.

    Args:
        words: words of the text.
        known: whether the model or word list has a word.
        source: the name of the text in the message.
        other: the name of the model or word list in the message.

    Raises:
        UserError: more than twice as many words would be known in upper or lower case; names the option that helps.
    """
    words = list(words)
    as_is = sum(map(known, words))
    for case in _CASES:
        folded = sum(known(normalize_text(word, case=case)) for word in words)
        if folded > 2 * as_is:
            raise UserError(f"{source}: its words differ in case from those of {other}; add --case {case}")


@dataclass(frozen=True)
class WrittenLexicon:
    """The result of `write_lexicon`."""

    words: int
    """Number of words written."""
    left_out: tuple[str, ...]
    """The words that the vocabulary's symbols cannot spell."""

    def __str__(self) -> str:
        if not self.left_out:
            return f"{self.words} words"
        named = ", ".join(self.left_out[:_NAMED]) + (", ..." if len(self.left_out) > _NAMED else "")
        return f"{self.words} words; left out {len(self.left_out)} that the symbols cannot spell: {named}"


def write_lexicon(words: Iterable[str], path: Path, vocabulary: Vocabulary | None = None) -> WrittenLexicon:
    """Write a lexicon, with lines ``word<TAB>w o r d |``, as our lexicon search and flashlight read it.

    Args:
        words: the words, in the order wanted.
        path: the file to write.
        vocabulary: spell in its symbols and leave out words that it cannot spell; None: spell in letters.

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
                f"{path}: none of the {len(left_out)} words can be spelled in the model's symbols; give a model for "
                "this text"
            )
    return WrittenLexicon(written, tuple(left_out))


def can_spell(vocabulary: Vocabulary, word: str) -> bool:
    """Whether the vocabulary has every symbol of a word."""
    return not vocabulary.unknown_symbols(word) and bool(vocabulary.encode(word))


def _symbols(word: str, vocabulary: Vocabulary | None) -> list[str]:
    if vocabulary is None:
        return [*word, WORD_SEPARATOR]
    end = [] if vocabulary.word_separator is None else [vocabulary.word_separator]
    return [*vocabulary.split(word), *end]
