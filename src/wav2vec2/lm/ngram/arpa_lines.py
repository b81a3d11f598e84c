"""The lines of ARPA sections, parsed and formatted by compiled code, several times as fast as in Python."""

import numpy as np
from numpy.typing import NDArray

from wav2vec2.lm.compiled import compiled

Bytes = NDArray[np.uint8]

DONE, BAD_FIELD, BAD_NUMBER, UNKNOWN_WORD = 0, 1, 2, 3
_FNV_OFFSET, _FNV_PRIME = np.uint64(14695981039346656037), np.uint64(1099511628211)
_TAB, _NEWLINE, _RETURN, _SPACE = 9, 10, 13, 32
_DIGITS_MAX = 17  # a double holds no more digits; further ones only shift the decimal point
_DECIMALS = 7  # of a number that is written


@compiled
def _hash(data: Bytes, start: int, end: int) -> np.uint64:
    """Return the 64-bit FNV-1a hash of ``data[start:end]``."""
    value = _FNV_OFFSET
    for i in range(start, end):
        value = (value ^ np.uint64(data[i])) * _FNV_PRIME
    return value


@compiled
def hash_words(letters: Bytes, offsets: NDArray[np.int64]) -> NDArray[np.int32]:
    """Return an open-addressed hash table of the words ``letters[offsets[i] : offsets[i + 1]]``; empty slots are -1."""
    size = 16
    while size < 2 * len(offsets):
        size *= 2
    table = np.full(size, -1, np.int32)
    mask = np.uint64(size - 1)
    for word in range(len(offsets) - 1):
        slot = _hash(letters, offsets[word], offsets[word + 1]) & mask
        while table[slot] >= 0:
            slot = (slot + np.uint64(1)) & mask
        table[slot] = word
    return table


@compiled
def find_word(
    data: Bytes, start: int, end: int, table: NDArray[np.int32], letters: Bytes, offsets: NDArray[np.int64]
) -> np.int64:
    """Return the index of the word ``data[start:end]``; -1 if the table does not hold it."""
    mask = np.uint64(len(table) - 1)
    slot = _hash(data, start, end) & mask
    while table[slot] >= 0:
        word = table[slot]
        first = offsets[word]
        if offsets[word + 1] - first == end - start:
            same = True
            for i in range(end - start):
                if letters[first + i] != data[start + i]:
                    same = False
                    break
            if same:
                return np.int64(word)
        slot = (slot + np.uint64(1)) & mask
    return np.int64(-1)


@compiled
def _number(data: Bytes, start: int, end: int) -> float:
    """Parse the decimal number ``data[start:end]``, which may be -inf; NaN if it is malformed."""
    i, negative = start, False
    if i < end and (data[i] == ord("-") or data[i] == ord("+")):
        negative = data[i] == ord("-")
        i += 1
    if negative and end - i == 3 and data[i] | 32 == ord("i") and data[i + 1] | 32 == ord("n"):
        return -np.inf
    mantissa, digits, significant, exponent, point = 0.0, 0, 0, 0, False
    while i < end:
        c = data[i]
        if ord("0") <= c <= ord("9"):
            digits += 1
            significant += 1 if significant > 0 or c != ord("0") else 0
            if significant <= _DIGITS_MAX:
                mantissa = mantissa * 10.0 + (c - ord("0"))
            else:
                exponent += 1
            exponent -= 1 if point else 0
        elif c == ord(".") and not point:
            point = True
        else:
            break
        i += 1
    if digits == 0:
        return np.nan
    if i < end:
        if data[i] | 32 != ord("e") or i + 1 >= end:
            return np.nan
        i += 1
        down = data[i] == ord("-")
        if data[i] == ord("-") or data[i] == ord("+"):
            i += 1
        power, any_digit = 0, False
        while i < end and ord("0") <= data[i] <= ord("9"):
            power = min(power * 10 + int(np.int64(data[i]) - ord("0")), 10_000)
            any_digit = True
            i += 1
        if i < end or not any_digit:
            return np.nan
        exponent += -power if down else power
    value = mantissa * 10.0**exponent
    return -value if negative else value


@compiled
def _field(data: Bytes, position: int) -> tuple[int, int]:
    """Return the begin and end of the next field of a line; they are equal at the end of the line."""
    begin = position
    while begin < len(data) and (data[begin] == _SPACE or data[begin] == _TAB or data[begin] == _RETURN):
        begin += 1
    end = begin
    while end < len(data) and data[end] > _SPACE:
        end += 1
    # A control character belongs to its word; only blanks and line ends separate fields.
    while end < len(data) and not (
        data[end] == _SPACE or data[end] == _TAB or data[end] == _NEWLINE or data[end] == _RETURN
    ):
        end += 1
    return begin, end


@compiled
def parse_lines(
    data: Bytes,
    position: int,
    table: NDArray[np.int32],
    letters: Bytes,
    offsets: NDArray[np.int64],
    words: NDArray[np.int32],
    log_probability: NDArray[np.float32],
    backoff: NDArray[np.float32],
) -> tuple[int, int, int]:
    """Fill ``words`` (n, k), ``log_probability`` and ``backoff`` (n,) from the n lines that begin at ``position``.

    Returns a status, the number of lines read, and where the next line (or the malformed one) begins.
    """
    count, order = words.shape
    for row in range(count):
        begin, end = _field(data, position)
        if begin == end:
            return BAD_FIELD, row, position
        value = _number(data, begin, end)
        if np.isnan(value):
            return BAD_NUMBER, row, position
        log_probability[row] = value
        for k in range(order):
            begin, end = _field(data, end)
            if begin == end:
                return BAD_FIELD, row, position
            word = find_word(data, begin, end, table, letters, offsets)
            if word < 0:
                return UNKNOWN_WORD, row, position
            words[row, k] = word
        begin, end = _field(data, end)
        if begin < end:
            value = _number(data, begin, end)
            if np.isnan(value):
                return BAD_NUMBER, row, position
            backoff[row] = value
            begin, end = _field(data, end)
            if begin < end:
                return BAD_FIELD, row, position
        position = min(end + 1, len(data))
    return DONE, count, position


@compiled
def _put_number(out: Bytes, position: int, value: float) -> int:
    """Write ``value`` with up to 7 decimals; returns the position after it."""
    if value < -9999.0:
        value = -9999.0  # log10 of zero
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
def put_lines(
    out: Bytes,
    words: NDArray[np.int32],
    log_probability: NDArray[np.float64],
    backoff: NDArray[np.float64],
    letters: Bytes,
    offsets: NDArray[np.int64],
) -> int:
    """Format n-grams as lines into ``out``; returns the number of bytes written.

    words: (n, k), numbered from 1. log_probability, backoff: log10, (n,); an empty ``backoff`` writes no weights.
    letters, offsets: word i is ``letters[offsets[i - 1] : offsets[i]]``, as bytes of UTF-8.
    """
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
