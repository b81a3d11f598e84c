"""Text for language models: files of any length with one sentence per line, never held in memory as a whole."""

import gzip
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

from wav2vec2.errors import UserError, cause
from wav2vec2.input_file import open_input, refuse_special
from wav2vec2.lm.words import BEGIN, END, UNKNOWN
from wav2vec2.text.normalize import TextNormalization

# Normalisation changes only the case of such lines: printable ASCII without `|` and without the grave accent, which may
# stand for an apostrophe.
_PLAIN = re.compile(r"[ -_a-{}~]*\Z")

_LONGEST_LINE = 64 << 20


@dataclass
class Corpus:
    """The sentences of text files, plain or gzipped (``.gz``), as lists of words. Sentence marks are left out.

    During iteration it counts sentences and words, and tracks its position.
    """

    paths: Sequence[Path]
    normalization: TextNormalization = field(default_factory=TextNormalization)
    """How each line is normalised."""
    ids: bool = False
    """Whether each line begins with an identifier, as in LibriSpeech's transcripts and Kaldi's ``text``."""
    sentences: int = 0
    words: int = 0
    position: int = 0
    """Bytes read so far, of ``size`` bytes in all files as they are on disk."""

    def __post_init__(self) -> None:
        if not self.paths:
            raise UserError("no text was given; name files with one sentence per line")
        for path in self.paths:
            refuse_special(path)
            if not path.is_file():
                raise UserError(f"{path}: no such text file; give files with one sentence per line")
        self.size = sum(path.stat().st_size for path in self.paths)

    def __iter__(self) -> Iterator[list[str]]:
        """Yield the words of each line that is not empty.

        Raises:
            UserError: a file cannot be read or is not UTF-8, or no file has any words.
        """
        self.sentences = self.words = self.position = 0
        before = 0
        for path in self.paths:
            with open_input(path) as raw:
                for words in self._sentences(path, raw):
                    self.sentences += 1
                    self.words += len(words)
                    if self.sentences % 1024 == 0:
                        self.position = before + raw.tell()
                    yield words
            before += path.stat().st_size
        self.position = self.size
        if not self.words:
            raise UserError(f"{', '.join(map(str, self.paths))}: no words found; give one sentence per line")

    def _sentences(self, path: Path, raw: BinaryIO) -> Iterator[list[str]]:
        number = 0
        file = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if path.suffix == ".gz" else raw
        try:
            for number, line in enumerate(iter(lambda: file.readline(_LONGEST_LINE), b""), start=1):
                if len(line) == _LONGEST_LINE:
                    raise UserError(
                        f"{path}:{number}: is longer than {_LONGEST_LINE >> 20} MiB; give a line a sentence"
                    )
                words = self.split(line.decode("utf-8-sig" if number == 1 else "utf-8"))
                if words:
                    yield words
        except UnicodeDecodeError as error:
            raise UserError(f"{path}:{number}: not UTF-8 text ({error.reason}); convert it with iconv") from error
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise UserError(f"{path}: is cut short or not a gzip file ({cause(error)}); copy it again") from error

    def split(self, line: str) -> list[str]:
        """Return the normalised words of one line."""
        if self.ids:
            line = "".join(line.split(None, 1)[1:])
        line = line.strip()
        n = self.normalization
        if n.digits == n.punctuation == "keep" and not n.language and _PLAIN.match(line):
            line = line.upper() if n.case == "upper" else line.lower() if n.case == "lower" else line
        else:
            line = n(line)
        words = line.split()
        if "<" not in line:
            return words
        words = [UNKNOWN if word.lower() == UNKNOWN else word for word in words]
        return [word for word in words if word.lower() not in (BEGIN, END)]
