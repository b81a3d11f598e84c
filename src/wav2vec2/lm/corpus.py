"""Text for language models: one sentence a line, in files of any length, read once and never held whole."""

import gzip
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

from wav2vec2.errors import UserError
from wav2vec2.text.normalize import TextNormalization

# What normalisation leaves as it is but for case: printable ASCII without `|` and the accent used as an apostrophe.
_PLAIN = re.compile(r"[ -_a-{}~]*\Z")
_UNKNOWN = "<unk>"
_MARKS = frozenset(("<s>", "</s>"))


@dataclass
class Corpus:
    """Sentences of text files (plain or ``.gz``), in their words.

    normalization: what every line goes through. ids: each line begins with an identifier that is no word, as in
    LibriSpeech transcripts and Kaldi's ``text``. Sentence marks in the text are left out. sentences, words: counted
    while reading; position: bytes of the files (as they lie on disk) read so far, of ``size``.
    """

    paths: Sequence[Path]
    normalization: TextNormalization = field(default_factory=TextNormalization)
    ids: bool = False
    sentences: int = 0
    words: int = 0
    position: int = 0

    def __post_init__(self) -> None:
        if not self.paths:
            raise UserError("no text was given; name files with one sentence a line")
        for path in self.paths:
            if not path.is_file():
                raise UserError(f"{path}: no such text file; give files with one sentence a line")
        self.size = sum(path.stat().st_size for path in self.paths)

    def __iter__(self) -> Iterator[list[str]]:
        """The words of each line that has any.

        Raises:
            UserError: a file that cannot be read, is not UTF-8, or no word in any file.
        """
        self.sentences = self.words = self.position = 0
        before = 0
        for path in self.paths:
            with path.open("rb") as raw:
                for words in self._sentences(path, raw):
                    self.sentences += 1
                    self.words += len(words)
                    if self.sentences % 1024 == 0:
                        self.position = before + raw.tell()
                    yield words
            before += path.stat().st_size
        self.position = self.size
        if not self.words:
            raise UserError(f"{', '.join(map(str, self.paths))}: no word of text; give one sentence a line")

    def _sentences(self, path: Path, raw: BinaryIO) -> Iterator[list[str]]:
        number = 0
        file = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if path.suffix == ".gz" else raw
        try:
            for number, line in enumerate(file, start=1):
                words = self.split(line.decode("utf-8-sig" if number == 1 else "utf-8"))
                if words:
                    yield words
        except UnicodeDecodeError as error:
            raise UserError(f"{path}:{number}: not UTF-8 text ({error.reason}); convert it with iconv") from error
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise UserError(f"{path}: cut short or no gzip file ({error}); copy it again") from error

    def split(self, line: str) -> list[str]:
        """The normalised words of one line."""
        if self.ids:
            line = "".join(line.split(None, 1)[1:])
        line = line.strip()
        n = self.normalization
        if n.digits == n.punctuation == "keep" and _PLAIN.match(line):
            line = line.upper() if n.case == "upper" else line.lower() if n.case == "lower" else line
        else:
            line = n(line)
        words = line.split()
        if "<" not in line:
            return words
        words = [_UNKNOWN if word.lower() == _UNKNOWN else word for word in words]
        return [word for word in words if word.lower() not in _MARKS]
