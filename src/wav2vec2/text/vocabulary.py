"""The vocabulary of a CTC model: its symbols in the order of the classes, with blank, unknown and word separator.

It is stored as the files of a Hugging Face tokenizer. The normalisation of the transcripts, for which these files have
no field, is stored in `tokenizer_config.json` under a key of ours that transformers ignores.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

from wav2vec2.config import as_plain, from_plain
from wav2vec2.errors import UserError, cause, quoted
from wav2vec2.text.normalize import WORD_SEPARATOR, TextNormalization, is_spaceless_script, normalize_text
from wav2vec2.text.phones import scoring_fold
from wav2vec2.text.tokenizer_files import UNKNOWN_NAMES, TokenizerFiles, read_tokenizer, write_tokenizer

Unit = Literal["characters", "whitespace"]

SPECIALS = ("<pad>", "<s>", "</s>", "<unk>")
BEGIN_NAMES, END_NAMES = ("<s>", "[BOS]"), ("</s>", "[EOS]")
SENTENCEPIECE_SPACE = "\u2581"
"""The character that stands for a space in a SentencePiece model."""
UNKNOWN_MARK = "\u2047"
"""Stands for an unknown symbol in decoded text; no transcript contains this character."""
_NORMALIZATION_KEY, _SEPARATOR_KEY = "wav2vec2_text_normalization", "wav2vec2_word_separator"


@dataclass(frozen=True)
class Vocabulary:
    """An ordered table of symbols; the position of a symbol, its id, is its class in the CTC head.

    blank: id of the CTC blank. unknown: id for characters outside the table; None if there is none, and such characters
    are left out. word_separator: the symbol between words, None for phones and for scripts without spaces. unit:
    `characters` splits text into code points (symbols of several code points are matched first, longer before shorter);
    `whitespace` splits it at white space, for phones or any other set of symbols. normalization: the normalisation of
    the training transcripts, None if unknown.

    Raises UserError for duplicate symbols, ids out of range, or a separator that is not a symbol.
    """

    symbols: tuple[str, ...]
    blank: int = 0
    unknown: int | None = 3
    word_separator: str | None = WORD_SEPARATOR
    unit: Unit = "characters"
    normalization: TextNormalization | None = None

    def __post_init__(self) -> None:
        duplicates = [symbol for symbol, count in Counter(self.symbols).items() if count > 1]
        if duplicates:
            raise UserError(
                f"vocabulary: symbol {quoted(duplicates[0])} occurs twice; every symbol needs one id of its own"
            )
        ids = range(len(self.symbols))
        if self.blank not in ids or (self.unknown is not None and self.unknown not in ids):
            raise UserError(
                f"vocabulary: blank {self.blank} or unknown {self.unknown} is not one of its {len(self.symbols)} ids"
            )
        if self.word_separator is not None and self.word_separator not in self.symbols:
            raise UserError(f"vocabulary: the word separator {quoted(self.word_separator)} is not among its symbols")

    @classmethod
    def from_transcripts(
        cls,
        texts: Iterable[str],
        *,
        unit: Unit = "characters",
        word_separator: str | None = "auto",
        normalization: TextNormalization | None = None,
    ) -> "Vocabulary":
        """Collect the symbols of transcripts: special ones, the word separator, then the rest by falling frequency.

        Symbols of equal frequency are in the order of their code points. Texts are brought to NFC or, if
        `normalization` is given, to that form. `word_separator` "auto" is `|`, but None for the unit `whitespace`, and
        for scripts without spaces if no transcript contains one. Raises UserError if there are no symbols.
        """
        counts: Counter[str] = Counter()
        spaces = False
        sample = ""
        for text in texts:
            tidy = normalization(text) if normalization else unicodedata.normalize("NFC", text)
            words = tidy.split()
            spaces = spaces or len(words) > 1
            sample = sample if len(sample) > 10_000 else sample + tidy
            counts.update(words if unit == "whitespace" else "".join(words))
        if word_separator == "auto":
            no_separator = unit == "whitespace" or (not spaces and is_spaceless_script(sample))
            word_separator = None if no_separator else WORD_SEPARATOR
        first = SPECIALS if word_separator is None else (*SPECIALS, word_separator)
        taken = {*first, WORD_SEPARATOR} if unit == "characters" else set(first)
        ordered = sorted(counts.keys() - taken, key=lambda symbol: (-counts[symbol], symbol))
        if not ordered:
            raise UserError("vocabulary: the transcripts contain no symbols; check the manifest's text column")
        return cls((*first, *ordered), 0, 3, word_separator, unit, normalization)

    @classmethod
    def from_symbols(cls, symbols: Sequence[str], *, blank: int = 0) -> "Vocabulary":
        """Make a vocabulary of a bare list of symbols: unknown and separator are recognised by their usual names.

        SentencePiece's mark of a space is the separator if it is a symbol, and `|` otherwise. Without a separator,
        symbols of several characters are taken for phones, which white space separates.
        """
        unknown = next((index for index, symbol in enumerate(symbols) if symbol in UNKNOWN_NAMES), None)
        separator = next((name for name in (SENTENCEPIECE_SPACE, WORD_SEPARATOR) if name in symbols), None)
        special = {*SPECIALS, *BEGIN_NAMES, *END_NAMES, *UNKNOWN_NAMES}
        plain = [symbol for index, symbol in enumerate(symbols) if index != blank and symbol not in special]
        phones = separator is None and any(len(symbol) > 1 for symbol in plain)
        return cls(tuple(symbols), blank, unknown, separator, "whitespace" if phones else "characters")

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Vocabulary":
        """Read back `dataclasses.asdict`, as a JSON file keeps it. Raises UserError for anything else."""
        try:
            symbols = tuple(str(symbol) for symbol in plain["symbols"])
            return cls(symbols, plain["blank"], plain["unknown"], None).with_text_rules(plain)
        except (TypeError, KeyError) as error:
            raise UserError(f"not a vocabulary ({cause(error)})") from error

    @property
    def text_rules(self) -> dict[str, Any]:
        """Unit, word separator and text normalisation, which a bare list of symbols lacks, as plain values."""
        normalization = None if self.normalization is None else as_plain(self.normalization)
        return {"unit": self.unit, "word_separator": self.word_separator, "normalization": normalization}

    def with_text_rules(self, rules: Mapping[str, Any]) -> "Vocabulary":
        """Return these symbols with the `text_rules` of another vocabulary. Raises UserError for damaged rules.

        If the separator is not a symbol but `|` is, as in other tools' lists, `|` takes the separator's name.
        """
        try:
            unit, separator, stored = (rules[name] for name in ("unit", "word_separator", "normalization"))
        except (TypeError, KeyError) as error:
            raise UserError(f"not the rules of a vocabulary ({cause(error)})") from error
        if unit not in get_args(Unit):
            raise UserError(f"unit is {quoted(unit)}; choose one of {', '.join(get_args(Unit))}")
        symbols = self.symbols
        if isinstance(separator, str) and separator not in symbols:
            symbols = tuple(separator if symbol == WORD_SEPARATOR else symbol for symbol in symbols)
        normalization = None if stored is None else _normalization(stored, "text normalisation")
        return replace(self, symbols=symbols, word_separator=separator, unit=unit, normalization=normalization)

    def __len__(self) -> int:
        return len(self.symbols)

    @cached_property
    def _ids(self) -> dict[str, int]:
        hidden = {*self._control_ids, *([] if self.unknown is None else [self.unknown])}
        return {s: i for i, s in enumerate(self.symbols) if i not in hidden and s != self.word_separator}

    @property
    def spaced(self) -> bool:
        """Whether the words of its texts are separated by spaces; phones are words."""
        return self.word_separator is not None or self.unit == "whitespace"

    @property
    def symbol_ids(self) -> Mapping[str, int]:
        """The ids of the symbols that text can contain, without separator and control symbols."""
        return self._ids

    @cached_property
    def scoring_fold(self) -> Callable[[str], str] | None:
        """The function that folds the phones of both texts to 39 before scoring, if the symbols are TIMIT's."""
        return scoring_fold(self._ids) if self.unit == "whitespace" else None

    @cached_property
    def _control_ids(self) -> frozenset[int]:
        names = {self.symbols[self.blank], *SPECIALS[:3], *BEGIN_NAMES, *END_NAMES}
        return frozenset(index for index, symbol in enumerate(self.symbols) if symbol in names)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        long = sorted((symbol for symbol in self._ids if len(symbol) > 1), key=lambda symbol: (-len(symbol), symbol))
        return re.compile("|".join([*map(re.escape, long), "."]), re.DOTALL)

    @cached_property
    def case(self) -> Literal["upper", "lower", "keep"]:
        """The case of the symbols: `upper` or `lower` if all that have case agree, otherwise `keep`."""
        text = "".join(symbol for symbol in self._ids if len(symbol) == 1)
        return "upper" if text.isupper() else "lower" if text.islower() else "keep"

    def normalize(self, text: str) -> str:
        """Bring `text` to the form of the training transcripts.

        Where their normalisation is unknown, this is NFC in the symbols' own case.
        """
        if self.normalization is not None:
            return self.normalization(text)
        if self.unit == "whitespace":
            return " ".join(unicodedata.normalize("NFC", text).split())
        return normalize_text(text, case=self.case)

    def fit(self, text: str) -> str:
        """Bring text in any case to the form of the training transcripts, and to the case of the symbols.

        Raises:
            UserError: the normalisation refuses the text (digits).
        """
        normal = self.normalize(text)
        return normalize_text(normal, case=self.case) if self.unit == "characters" else normal

    @property
    def rules(self) -> TextNormalization:
        """How any text gets the form of the training transcripts (see `normalize`); digits are never refused."""
        known = self.normalization or TextNormalization(case=self.case)
        return replace(known, digits="keep") if known.digits == "error" else known

    def split(self, text: str) -> list[str]:
        """Split `text` into symbols, known or not; an empty string stands for the separator between words."""
        words = unicodedata.normalize("NFC", text).split()
        if self.unit == "whitespace":
            return words
        split: list[str] = []
        for word in words:
            if split and self.word_separator is not None:
                split.append("")
            split.extend(self._pattern.findall(word))
        return split

    def encode(self, text: str) -> list[int]:
        """Return the ids of `text`, which must be normalised already; without blanks or separators at its ends.

        A symbol outside the table, a literal `|` included, becomes `unknown`, or is left out if there is no such id.
        """
        separator = None if self.word_separator is None else self.symbols.index(self.word_separator)
        ids = [separator if symbol == "" else self._ids.get(symbol, self.unknown) for symbol in self.split(text)]
        return [index for index in ids if index is not None]

    def unknown_symbols(self, text: str) -> Counter[str]:
        """Count the symbols of `text` that `encode` cannot express."""
        return Counter(symbol for symbol in self.split(text) if symbol and symbol not in self._ids)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of `ids`, already merged and without blanks.

        Control symbols are left out; an unknown symbol becomes `⁇`.
        """
        shown = [self._show(index) for index in ids if index not in self._control_ids]
        return " ".join((" " if self.unit == "whitespace" else "").join(shown).split())

    def _show(self, index: int) -> str:
        if index == self.unknown:
            return UNKNOWN_MARK
        return " " if self.symbols[index] == self.word_separator else self.symbols[index]

    def save(self, directory: str | Path, *, language: str | None = None) -> None:
        """Write tokenizer files, with which transformers gives the same ids. Raises UserError if writing fails.

        With a `language` its table is the only one of a multilingual file, to which others can be added.
        """
        own: dict[str, Any] = {}
        if self.normalization is not None:
            own[_NORMALIZATION_KEY] = as_plain(self.normalization)
        if self.unit == "whitespace" and self.word_separator is not None:
            own[_SEPARATOR_KEY] = self.word_separator  # transformers' tokenizer of phones has no separator
        files = TokenizerFiles(
            symbols=self.symbols,
            pad=self.symbols[self.blank],
            unknown=None if self.unknown is None else self.symbols[self.unknown],
            begin=next((name for name in BEGIN_NAMES if name in self.symbols), None),
            end=next((name for name in END_NAMES if name in self.symbols), None),
            word_delimiter=self.word_separator,
            phones=self.unit == "whitespace",
            own=own,
        )
        write_tokenizer(files, Path(directory), language)

    @classmethod
    def load(cls, directory: str | Path, *, language: str | None = None, size: int | None = None) -> "Vocabulary":
        """Read the vocabulary of a model directory, ours or transformers', or of the model in a run's folder.

        `language` chooses one of a multilingual table. `size`: rows of the CTC head, if known; special tokens beyond it
        are left out. Raises UserError, naming the file, if it is missing, broken or lacks the blank.
        """
        inside = Path(directory) / "model"
        if not (Path(directory) / "vocab.json").exists() and (inside / "vocab.json").exists():
            directory = inside
        files = read_tokenizer(Path(directory), language, size)
        stored = files.own.get(_NORMALIZATION_KEY)
        source = f"{Path(directory) / 'tokenizer_config.json'}: {_NORMALIZATION_KEY}"
        return cls(
            symbols=files.symbols,
            blank=files.symbols.index(files.pad),
            unknown=None if files.unknown is None else files.symbols.index(files.unknown),
            word_separator=files.own.get(_SEPARATOR_KEY, files.word_delimiter),
            unit="whitespace" if files.phones else "characters",
            normalization=_normalization(stored, source) if stored else None,
        )


def _normalization(stored: object, source: str) -> TextNormalization:
    if not isinstance(stored, Mapping):
        raise UserError(f"{source}: not a table; copy the file again from its model")
    return from_plain(TextNormalization, stored, source=source, base=TextNormalization())
