"""The pieces of a SentencePiece model, read and written without that library: a few fields of a Protocol Buffer.

fairseq2 and omnilingual keep the symbols of a CTC head in a SentencePiece model of the character kind: one piece for
each character, ``▁`` for the space, and the special pieces first, in fairseq's order.
"""

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

from wav2vec2.errors import UserError
from wav2vec2.input_file import read_input
from wav2vec2.text.vocabulary import SENTENCEPIECE_SPACE

_SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")
_NORMAL, _UNKNOWN, _CONTROL = 1, 2, 3
_CHARACTERS = 4


def read_pieces(path: Path) -> tuple[str, ...]:
    """Return the pieces in the order of their ids; ``▁`` is renamed to ``|`` unless that is a piece, too.

    Raises:
        UserError: The file cannot be read or is not a SentencePiece model.
    """
    try:
        data = read_input(path)
        messages = [value for field, value in _fields(data) if field == 1 and isinstance(value, bytes)]
        pieces = [next(value for field, value in _fields(message) if field == 1) for message in messages]
        names = [piece.decode("utf-8") for piece in pieces if isinstance(piece, bytes)]
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}; give a readable SentencePiece model") from error
    except (ValueError, IndexError, StopIteration, struct.error) as error:
        raise UserError(f"{path}: not a SentencePiece model, or cut short; fetch or copy the file again") from error
    if not names:
        raise UserError(f"{path}: holds no pieces; give the tokenizer of the model")
    if "|" not in names:
        names = ["|" if name == SENTENCEPIECE_SPACE else name for name in names]
    return tuple(names)


def write_character_model(path: Path, symbols: Sequence[str]) -> None:
    """Write a character model of the four special pieces and ``symbols``; ``|`` becomes ``▁``, the space."""
    spelled = [SENTENCEPIECE_SPACE if symbol == "|" else symbol for symbol in symbols]
    kinds = {"<unk>": _UNKNOWN, "<s>": _CONTROL, "<pad>": _CONTROL, "</s>": _CONTROL}
    pieces = b""
    for place, piece in enumerate((*_SPECIALS, *spelled)):
        score = struct.pack("<f", 0.0 if piece in kinds else -float(place))
        message = _bytes(1, piece.encode()) + _tag(2, 5) + score + _number(3, kinds.get(piece, _NORMAL))
        pieces += _bytes(1, message)
    trainer = _number(3, _CHARACTERS) + _number(4, len(_SPECIALS) + len(spelled))
    trainer += b"".join(
        _number(40 + field, _SPECIALS.index(name)) for field, name in enumerate(("<unk>", "<s>", "</s>"))
    )
    trainer += _number(43, _SPECIALS.index("<pad>"))
    trainer += b"".join(
        _bytes(45 + field, name.encode()) for field, name in enumerate(("<unk>", "<s>", "</s>", "<pad>"))
    )
    normalizer = _bytes(1, b"identity") + _number(3, 0) + _number(4, 1) + _number(5, 1)
    path.write_bytes(pieces + _bytes(2, trainer) + _bytes(3, normalizer))


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield (field number, value) of one message; raises ValueError or IndexError if it is damaged."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        field, kind = key >> 3, key & 7
        value: int | bytes
        if kind == 0:
            value, at = _varint(data, at)
        elif kind == 2:
            length, at = _varint(data, at)
            value, at = data[at : at + length], at + length
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
            value, at = data[at : at + length], at + length
        else:
            raise ValueError("an unknown wire type")
        if at > len(data) or not field:
            raise ValueError("cut short")
        yield field, value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return value, at
        if shift > 63:
            raise ValueError("a number is too long")


def _encoded(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _tag(field: int, kind: int) -> bytes:
    return _encoded(field << 3 | kind)


def _number(field: int, value: int) -> bytes:
    return _tag(field, 0) + _encoded(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _tag(field, 2) + _encoded(len(value)) + value
