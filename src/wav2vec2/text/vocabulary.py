"""The symbol table of a CTC model: blank, word separator, unknown and the symbols, in one explicit order (SPEC F1).

It is stored as the files of a Hugging Face tokenizer; what is ours alone (how the transcripts were normalised) sits in
`tokenizer_config.json` under a key of its own, which transformers ignores.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

from wav2vec2.errors import UserError
from wav2vec2.text.normalize import WORD_SEPARATOR, TextNormalization, is_spaceless_script, normalize_text
from wav2vec2.text.phones import scoring_fold
from wav2vec2.text.tokenizer_files import TokenizerFiles, read_tokenizer, write_tokenizer

Symbols = Literal["characters", "whitespace"]

SPECIALS = ("<pad>", "<s>", "</s>", "<unk>")
_BEGIN_NAMES, _END_NAMES, _UNKNOWN_NAMES = ("<s>", "[BOS]"), ("</s>", "[EOS]"), ("<unk>", "[UNK]")
# What stands for a space in a SentencePiece model.
SENTENCEPIECE_SPACE = "\u2581"
# What an unknown symbol looks like in decoded text: one character that no transcript contains.
UNKNOWN_MARK = "\u2047"
_NORMALIZATION_KEY, _SEPARATOR_KEY = "wav2vec2_text_normalization", "wav2vec2_word_separator"


@dataclass(frozen=True)
class Vocabulary:
    """An ordered symbol table; the position of a symbol is its class in the CTC head.

    blank: id of the CTC blank. unknown: id for characters outside the table, None if there is none (they are then
    left out). word_separator: the symbol between words, None for phones and for scripts without spaces. unit:
    `characters` splits text into code points (longest symbol first where some symbols have several); `whitespace`
    splits it at white space, for phones or any other symbol set. normalization: what transcripts went through before.

    Raises UserError for duplicate symbols or ids out of range.
    """

    symbols: tuple[str, ...]
    blank: int = 0
    unknown: int | None = 3
    word_separator: str | None = WORD_SEPARATOR
    unit: Symbols = "characters"
    normalization: TextNormalization | None = None

    def __post_init__(self) -> None:
        duplicates = [symbol for symbol, count in Counter(self.symbols).items() if count > 1]
        if duplicates:
            raise UserError(f"vocabulary: symbol {duplicates[0]!r} occurs twice; every symbol needs one id of its own")
        if not 0 <= self.blank < len(self.symbols) or not (
            self.unknown is None or 0 <= self.unknown < len(self.symbols)
        ):
            raise UserError(
                f"vocabulary: blank {self.blank} or unknown {self.unknown} is not one of {len(self.symbols)} ids"
            )
        if self.word_separator is not None and self.word_separator not in self.symbols:
            raise UserError(f"vocabulary: the word separator {self.word_separator!r} is not among its symbols")

    @classmethod
    def from_transcripts(
        cls,
        texts: Iterable[str],
        *,
        symbols: Symbols = "characters",
        word_separator: str | None = "auto",
        normalization: TextNormalization | None = None,
    ) -> "Vocabulary":
        """Build the table from transcripts: specials, the word separator, then symbols by falling frequency, ties by
        code point.

        Texts are brought to NFC and, where `normalization` is given, to that form. `word_separator` "auto" is `|`,
        but None for `whitespace` symbols and for scripts without spaces whose transcripts contain none. Raises
        UserError if nothing is left.
        """
        counts: Counter[str] = Counter()
        spaces = False
        sample = ""
        for text in texts:
            tidy = normalization(text) if normalization else unicodedata.normalize("NFC", text)
            words = tidy.split()
            spaces = spaces or len(words) > 1
            sample = sample if len(sample) > 10_000 else sample + tidy
            counts.update(words if symbols == "whitespace" else "".join(words))
        if word_separator == "auto":
            no_separator = symbols == "whitespace" or (not spaces and is_spaceless_script(sample))
            word_separator = None if no_separator else WORD_SEPARATOR
        first = SPECIALS if word_separator is None else (*SPECIALS, word_separator)
        taken = {*first, WORD_SEPARATOR} if symbols == "characters" else set(first)
        ordered = sorted(counts.keys() - taken, key=lambda symbol: (-counts[symbol], symbol))
        if not ordered:
            raise UserError("vocabulary: the transcripts contain no symbols; check the manifest's text column")
        return cls((*first, *ordered), 0, 3, word_separator, symbols, normalization)

    @classmethod
    def from_symbols(cls, symbols: Sequence[str], *, blank: int = 0) -> "Vocabulary":
        """Read a bare table (a model's list of classes): unknown and separator are found by their usual names.

        Symbols of several characters without a `|` are taken for phones, separated by white space. Where
        SentencePiece's mark of a space is a symbol, it is the separator.
        """
        unknown = next((index for index, symbol in enumerate(symbols) if symbol in _UNKNOWN_NAMES), None)
        separator = next((name for name in (SENTENCEPIECE_SPACE, WORD_SEPARATOR) if name in symbols), None)
        special = {*SPECIALS, *_BEGIN_NAMES, *_END_NAMES, *_UNKNOWN_NAMES}
        plain = [symbol for index, symbol in enumerate(symbols) if index != blank and symbol not in special]
        phones = separator is None and any(len(symbol) > 1 for symbol in plain)
        return cls(tuple(symbols), blank, unknown, separator, "whitespace" if phones else "characters")

    @classmethod
    def from_fairseq_dict(cls, path: str | Path) -> "Vocabulary":
        """Read a fairseq `dict.ltr.txt` (`symbol count` a line) so that the rows of a fairseq CTC head keep their
        places.

        fairseq puts <s>, <pad>, </s>, <unk> before the file's lines and uses row 0, its <s>, as the CTC blank. Here
        the blank is called <pad>: the rows stay, the two names swap. Raises UserError if the file cannot be read.
        """
        try:
            lines = Path(path).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: not a readable dictionary ({error}); give fairseq's dict.ltr.txt") from error
        rows = [line.rsplit(" ", 1)[0] for line in lines if line.strip() and not line.startswith("#fairseq:")]
        try:
            return cls.from_symbols((*SPECIALS, *rows), blank=0)
        except UserError as error:
            raise UserError(f"{path}: {error}") from error

    def __len__(self) -> int:
        return len(self.symbols)

    @property
    def fairseq_order(self) -> tuple[int | None, ...]:
        """Ids in fairseq's order: blank, begin, end, unknown (None where there is none), then the rest.

        A table that came from fairseq is in this order already.
        """
        special = [self.blank, *(self._first_of(names) for names in (_BEGIN_NAMES, _END_NAMES)), self.unknown]
        return (*special, *(index for index in range(len(self)) if index not in special))

    def _first_of(self, names: Sequence[str]) -> int | None:
        found = (i for i, symbol in enumerate(self.symbols) if symbol in names and i not in (self.blank, self.unknown))
        return next(found, None)

    @cached_property
    def _ids(self) -> dict[str, int]:
        """Symbols that text can contain; control symbols and the separator are never spelled in text."""
        hidden = {*self._control_ids, *([] if self.unknown is None else [self.unknown])}
        return {s: i for i, s in enumerate(self.symbols) if i not in hidden and s != self.word_separator}

    @property
    def symbol_ids(self) -> Mapping[str, int]:
        """The ids of the symbols that text can contain; neither separator nor control symbols."""
        return self._ids

    @cached_property
    def scoring_fold(self) -> Callable[[str], str] | None:
        """What both texts go through before errors are counted: 39 phones, where the symbols are TIMIT's 61 or 48."""
        return scoring_fold(self._ids) if self.unit == "whitespace" else None

    @cached_property
    def _control_ids(self) -> frozenset[int]:
        names = {self.symbols[self.blank], *SPECIALS[:3], *_BEGIN_NAMES, *_END_NAMES}
        return frozenset(index for index, symbol in enumerate(self.symbols) if symbol in names)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        long = sorted((symbol for symbol in self._ids if len(symbol) > 1), key=lambda symbol: (-len(symbol), symbol))
        return re.compile("|".join([*map(re.escape, long), "."]), re.DOTALL)

    @cached_property
    def case(self) -> Literal["upper", "lower", "keep"]:
        """The case that the symbols are written in: `upper` or `lower` if all that have case agree, else `keep`."""
        text = "".join(symbol for symbol in self._ids if len(symbol) == 1)
        return "upper" if text.isupper() else "lower" if text.islower() else "keep"

    def normalize(self, text: str) -> str:
        """Bring `text` to the form of the training transcripts: the recorded one, or else NFC and the symbols' own
        case.
        """
        if self.normalization is not None:
            return self.normalization(text)
        if self.unit == "whitespace":
            return " ".join(unicodedata.normalize("NFC", text).split())
        return normalize_text(text, case=self.case)

    def split(self, text: str) -> list[str]:
        """Split `text` into symbols, known or not; the word separator stands between words."""
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
        """Return the ids of `text` (to be normalised before); no blanks, no separator at the ends.

        A symbol outside the table, a literal `|` included, becomes `unknown`, or is left out if there is no such id.
        """
        separator = None if self.word_separator is None else self.symbols.index(self.word_separator)
        ids = [separator if symbol == "" else self._ids.get(symbol, self.unknown) for symbol in self.split(text)]
        return [index for index in ids if index is not None]

    def unknown_symbols(self, text: str) -> Counter[str]:
        """Count the symbols of `text` that `encode` cannot express."""
        return Counter(symbol for symbol in self.split(text) if symbol and symbol not in self._ids)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of `ids` (already merged, no blanks); control symbols vanish and an unknown shows as `⁇`."""
        shown = [self._show(index) for index in ids if index not in self._control_ids]
        return " ".join((" " if self.unit == "whitespace" else "").join(shown).split())

    def _show(self, index: int) -> str:
        if index == self.unknown:
            return UNKNOWN_MARK
        return " " if self.symbols[index] == self.word_separator else self.symbols[index]

    def save(self, directory: str | Path) -> None:
        """Write the tokenizer files into `directory`, which transformers loads with equal ids. UserError if it cannot
        be written.
        """
        own: dict[str, Any] = {}
        if self.normalization is not None:
            own[_NORMALIZATION_KEY] = asdict(self.normalization)
        if self.unit == "whitespace" and self.word_separator is not None:
            own[_SEPARATOR_KEY] = self.word_separator  # transformers' tokenizer of phones has none
        files = TokenizerFiles(
            symbols=self.symbols,
            pad=self.symbols[self.blank],
            unknown=None if self.unknown is None else self.symbols[self.unknown],
            begin=next((name for name in _BEGIN_NAMES if name in self.symbols), None),
            end=next((name for name in _END_NAMES if name in self.symbols), None),
            word_delimiter=self.word_separator,
            phones=self.unit == "whitespace",
            own=own,
        )
        write_tokenizer(files, Path(directory))

    @classmethod
    def load(cls, directory: str | Path, *, language: str | None = None) -> "Vocabulary":
        """Read the table of a model directory, ours or transformers'; `language` picks one of a multilingual table.

        Raises UserError, naming the file, if it is missing, broken or lacks the blank.
        """
        files = read_tokenizer(Path(directory), language)
        stored = files.own.get(_NORMALIZATION_KEY)
        try:
            normalization = TextNormalization.from_plain(stored) if stored else None
        except UserError as error:
            raise UserError(
                f"{directory}/tokenizer_config.json: unknown {_NORMALIZATION_KEY} ({error}); update the package"
            ) from error
        return cls(
            symbols=files.symbols,
            blank=files.symbols.index(files.pad),
            unknown=None if files.unknown is None else files.symbols.index(files.unknown),
            word_separator=files.own.get(_SEPARATOR_KEY, files.word_delimiter),
            unit="whitespace" if files.phones else "characters",
            normalization=normalization,
        )

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Vocabulary":
        """Read back `dataclasses.asdict`, as a JSON file keeps it. Raises UserError for anything else."""
        try:
            bare = cls(tuple(plain["symbols"]), plain["blank"], plain["unknown"], None)
        except (TypeError, KeyError) as error:
            raise UserError(f"not a vocabulary ({error})") from error
        return bare.with_text_rules(plain)

    @property
    def text_rules(self) -> dict[str, Any]:
        """What a list of symbols does not tell, as plain values: unit, word separator and text normalisation."""
        whole = asdict(self)
        return {name: whole[name] for name in ("unit", "word_separator", "normalization")}

    def with_text_rules(self, rules: Mapping[str, Any]) -> "Vocabulary":
        """Return these symbols with the `text_rules` of another table. Raises UserError for damaged ones.

        Where the separator is called `|` here, as other tools' lists have it, it gets its own name back.
        """
        try:
            unit, separator, normalization = (rules[name] for name in ("unit", "word_separator", "normalization"))
        except (TypeError, KeyError) as error:
            raise UserError(f"not the rules of a vocabulary ({error})") from error
        if unit not in get_args(Symbols):
            raise UserError(f"unit is {unit!r}; choose one of {', '.join(get_args(Symbols))}")
        symbols = self.symbols
        if isinstance(separator, str) and separator not in symbols:
            symbols = tuple(separator if symbol == WORD_SEPARATOR else symbol for symbol in symbols)
        normalization = None if normalization is None else TextNormalization.from_plain(normalization)
        return replace(self, symbols=symbols, word_separator=separator, unit=unit, normalization=normalization)
