"""Text for language models: plain files, one sentence a line, read in passes and held as one array of token numbers.

A corpus of N tokens and L lines takes 4 N + 8 L bytes, whatever the words are.
"""

import gzip
import hashlib
import heapq
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from wav2vec2.errors import UserError


@dataclass(frozen=True)
class Sentences:
    """Encoded sentences: number i is ``tokens[bounds[i] : bounds[i + 1]]``, sentence marks at both ends included."""

    tokens: npt.NDArray[np.int32]
    bounds: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def __getitem__(self, number: int) -> npt.NDArray[np.int32]:
        """Return the tokens of one sentence."""
        return self.tokens[self.bounds[number] : self.bounds[number + 1]]

    @property
    def predicted(self) -> npt.NDArray[np.int64]:
        """Tokens that a model has to predict in each sentence: all but the first mark."""
        return np.diff(self.bounds) - 1

    @property
    def fingerprint(self) -> str:
        """A short hash of everything in it."""
        digest = hashlib.sha256(np.ascontiguousarray(self.tokens).tobytes())
        digest.update(np.ascontiguousarray(self.bounds).tobytes())
        return digest.hexdigest()[:16]


def read_lines(paths: Sequence[str], *, ids: bool) -> Iterator[str]:
    """Yield the lines of text files (``.gz`` is unpacked) that hold anything; ``ids`` drops each line's first word.

    Raises:
        UserError: a file is missing, not UTF-8, or cut short.
    """
    for path in paths:
        try:
            with (
                gzip.open(path, "rt", encoding="utf-8")
                if path.endswith(".gz")
                else open(path, encoding="utf-8") as file
            ):
                for line in file:
                    text = line.partition(" ")[2] if ids else line
                    if text.strip():
                        yield text.strip()
        except FileNotFoundError:
            raise UserError(f"{path}: no such text file; give plain text, one sentence a line") from None
        except UnicodeDecodeError as error:
            raise UserError(f"{path}: not UTF-8 at byte {error.start}; convert it, or give plain text") from None
        except (OSError, EOFError, zlib.error) as error:
            raise UserError(f"{path}: cannot be read as text ({error}); give plain text, one sentence a line") from None


def held_out_lines(lines: Iterable[str], count: int) -> set[int]:
    """Numbers of ``count`` lines chosen by a hash of their text alone, so that the choice is the same for any model.

    Raises:
        UserError: there are not more lines than that.
    """
    if count <= 0:
        return set()
    total = 0

    def keyed() -> Iterator[tuple[bytes, int]]:
        nonlocal total
        for number, line in enumerate(lines):
            total = number + 1
            yield hashlib.sha256(line.encode()).digest(), number

    chosen = heapq.nsmallest(count, keyed())
    if total <= count:
        raise UserError(f"data.hold_out: {count} of {total} lines; hold out fewer")
    return {number for _, number in chosen}


def encode_sentences(lines: Iterable[str], encode: Callable[[str], list[int]], mark: int) -> Sentences:
    """Encode lines, ``mark`` at both ends of each; lines of which nothing is left are dropped."""
    tokens, bounds = array("i"), array("q", [0])
    for line in lines:
        words = encode(line)
        if words:
            tokens.append(mark)
            tokens.extend(words)
            tokens.append(mark)
            bounds.append(len(tokens))
    return Sentences(np.frombuffer(tokens, np.int32) if tokens else np.zeros(0, np.int32), np.asarray(bounds, np.int64))


def existing_files(paths: Sequence[str], option: str) -> Sequence[str]:
    """Return the paths; UserError when there are none, or one is not a file (before minutes of reading the others)."""
    if not paths:
        raise UserError(f"{option} is not set: give text files, one sentence a line")
    for path in paths:
        if not Path(path).is_file():
            raise UserError(f"{path}: no such text file ({option}); give plain text, one sentence a line")
    return paths
