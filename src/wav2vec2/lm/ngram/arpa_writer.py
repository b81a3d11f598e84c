"""Writing ARPA files section by section, formatted by compiled code: a few million lines a second."""

from collections.abc import Sequence
from types import TracebackType
from typing import IO

import numpy as np
from numpy.typing import NDArray

from wav2vec2.lm.compiled import compiled

Bytes = NDArray[np.uint8]
_NUMBER_BYTES = 24
_LINES = 1 << 15
_DECIMALS = 7


@compiled
def _put_number(out: Bytes, position: int, value: float) -> int:
    """Write ``value`` with up to 7 decimals; where the next byte goes."""
    if value < -9999.0:
        value = -9999.0  # of a probability that no number can hold
    scaled = np.int64(abs(value) * 10.0**_DECIMALS + 0.5)
    if value < 0 and scaled > 0:
        out[position] = ord("-")
        position += 1
    whole, rest = scaled // 10**_DECIMALS, scaled % 10**_DECIMALS
    size, probe = 1, whole
    while probe >= 10:
        probe //= 10
        size += 1
    for i in range(size):
        out[position + size - 1 - i] = ord("0") + whole % 10
        whole //= 10
    position += size
    if rest == 0:
        return position
    out[position] = ord(".")
    digits = _DECIMALS
    while rest % 10 == 0:
        rest //= 10
        digits -= 1
    for i in range(digits):
        out[position + digits - i] = ord("0") + rest % 10
        rest //= 10
    return position + 1 + digits


@compiled
def _put_lines(
    out: Bytes,
    words: NDArray[np.int32],
    log_probability: NDArray[np.float64],
    backoff: NDArray[np.float64],
    letters: Bytes,
    offsets: NDArray[np.int64],
) -> int:
    position = 0
    for row in range(len(words)):
        position = _put_number(out, position, log_probability[row])
        for k in range(words.shape[1]):
            out[position] = ord("\t") if k == 0 else ord(" ")
            position += 1
            word = words[row, k] - 1
            for i in range(offsets[word], offsets[word + 1]):
                out[position] = letters[i]
                position += 1
        if len(backoff):
            out[position] = ord("\t")
            position = _put_number(out, position + 1, backoff[row])
        out[position] = ord("\n")
        position += 1
    return position


class ArpaWriter:
    """Writes the head at once, sections as they come, and the end on leaving without an error; closes ``file``.

    words: by number, number 1 first. counts: n-grams of each order, to be written in ascending order.
    """

    def __init__(self, file: IO[bytes], words: Sequence[str], counts: Sequence[int]) -> None:
        self._file = file
        encoded = [word.encode() for word in words]
        self._offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
        self._letters = np.frombuffer(b"".join(encoded), np.uint8)
        self._longest = int(np.diff(self._offsets).max(initial=0))
        head = "".join(f"ngram {order}={count}\n" for order, count in enumerate(counts, start=1))
        file.write(b"\\data\\\n" + head.encode())

    def section(self, order: int) -> None:
        """Begin the n-grams of an order."""
        self._file.write(f"\n\\{order}-grams:\n".encode())

    def lines(
        self, words: NDArray[np.int32], log_probability: NDArray[np.float64], backoff: NDArray[np.float64] | None
    ) -> None:
        """Write n-grams: words (n, k) by number in reading order, log10 probability and log10 backoff weight (n,)."""
        backoff = np.empty(0) if backoff is None else backoff
        log_probability = np.minimum(log_probability, 0.0)
        line_bytes = words.shape[1] * (self._longest + 1) + 2 * _NUMBER_BYTES
        size = max(1, min(_LINES, (1 << 24) // line_bytes))
        out = np.empty(size * line_bytes, np.uint8)
        for first in range(0, len(words), size):
            part = slice(first, first + size)
            end = _put_lines(
                out,
                np.ascontiguousarray(words[part]),
                log_probability[part],
                backoff[part],
                self._letters,
                self._offsets,
            )
            self._file.write(out[:end].tobytes())

    def __enter__(self) -> "ArpaWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            if kind is None:
                self._file.write(b"\n\\end\\\n")
