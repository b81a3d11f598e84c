"""Damage to bytes: flipped and overwritten bytes, sizes at their limits, pieces cut, doubled and taken from elsewhere.

A zip file, as torch writes it, is changed inside, since a changed archive is refused by its checksum. A pickle may get
opcodes that run a command, and JSON values become values of other kinds.
"""

import io
import json
import pickle
import random
import re
import struct
import zipfile

_NUMBERS = (0, 1, 2, 127, 128, 255, 256, 32_767, 65_535, 1 << 24, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, (1 << 63) - 1)
_PAYLOADS = (
    b"cposix\nsystem\n(S'touch fuzz-ran'\ntR.",
    b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.",
    pickle.dumps({"a": [1.5, "x", (1, 2)] * 20}),
    b"\x80\x02" + b"(" * 5_000 + b"t" * 5_000 + b".",
)
_VALUES: tuple[object, ...] = (
    None, True, -1, 0, 1e308, 10**12, 10**40, "", "x" * 10_000, "\x00", "²", "../../../etc/passwd", [], {}, [[]] * 50,
    {"a": {"a": {}}}, float("nan"), "nan", [None, 1, "a"],
)  # fmt: skip
_WORDS = (
    b"\x00", b"\n", b"\t", b"-1", b"1e999", b"9" * 50, b"\xff\xfe", b"\xef\xbb\xbf", b'"', b"{", b"[" * 3_000,
    b"\xe2\x82",
)  # fmt: skip


def mutated(content: bytes, choice: random.Random, other: bytes) -> bytes:
    """Return `content` with some damage; `other` is another file of the kind, for pieces of it."""
    if content[:2] == b"PK" and choice.random() < 0.8:
        return _inside_zip(content, choice, other)
    if choice.random() < 0.5 and (changed := _json_value(content, choice)) is not None:
        return changed
    for _ in range(choice.choice((1, 1, 1, 2, 4, 16))):
        content = choice.choice(_CHANGES)(content, choice, other)
    return content


def _place(content: bytes, choice: random.Random) -> int:
    """A place in the content, half of the time near its beginning, where the headers are."""
    return choice.randrange(min(len(content), 512 if choice.random() < 0.5 else len(content)) or 1)


def _flip(content: bytes, choice: random.Random, _: bytes) -> bytes:
    changed = bytearray(content)
    for _number in range(choice.choice((1, 1, 2, 8, 64))):
        if changed:
            changed[_place(content, choice)] ^= 1 << choice.randrange(8)
    return bytes(changed)


def _number(content: bytes, choice: random.Random, _: bytes) -> bytes:
    form = choice.choice(("<B", "<H", ">H", "<I", ">I", "<Q", ">Q"))
    value = choice.choice(_NUMBERS) & ((1 << 8 * struct.calcsize(form)) - 1)
    place = _place(content, choice)
    return content[:place] + struct.pack(form, value) + content[place + struct.calcsize(form) :]


def _cut(content: bytes, choice: random.Random, _: bytes) -> bytes:
    return content[: _place(content, choice)]


def _leave_out(content: bytes, choice: random.Random, _: bytes) -> bytes:
    begin = _place(content, choice)
    return content[:begin] + content[begin + choice.choice((1, 2, 4, 100, 2_000)) :]


def _double(content: bytes, choice: random.Random, _: bytes) -> bytes:
    begin = _place(content, choice)
    piece = content[begin : begin + choice.choice((1, 4, 64, 1_000))]
    return content[:begin] + piece * choice.choice((2, 3, 100)) + content[begin:]


def _insert(content: bytes, choice: random.Random, _: bytes) -> bytes:
    place = _place(content, choice)
    return content[:place] + choice.choice((*_WORDS, choice.randbytes(8))) + content[place:]


def _splice(content: bytes, choice: random.Random, other: bytes) -> bytes:
    begin = _place(other, choice)
    piece = other[begin : begin + choice.choice((4, 64, 1_000, 10_000))]
    place = _place(content, choice)
    return content[:place] + piece + content[place + len(piece) * choice.randrange(2) :]


def _payload(content: bytes, choice: random.Random, _: bytes) -> bytes:
    payload = choice.choice(_PAYLOADS)
    return payload if choice.random() < 0.5 else content[: _place(content, choice)] + payload


_CHANGES = (_flip, _flip, _flip, _number, _number, _number, _cut, _leave_out, _double, _insert, _splice, _payload)


def _json_value(content: bytes, choice: random.Random) -> bytes | None:
    """Replace one value of a JSON file; None for other files."""
    if not re.match(rb"\s*[{\[]", content[:20]):
        return None
    try:
        whole = json.loads(content)
    except (ValueError, RecursionError):
        return None
    places: list[tuple[object, object]] = []

    def collect(value: object) -> None:
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, below in items:
            places.append((value, key))
            collect(below)

    collect(whole)
    if not places:
        return json.dumps(choice.choice(_VALUES)).encode()
    for _ in range(choice.choice((1, 1, 2))):
        holder, key = choice.choice(places)
        if choice.random() < 0.15 and isinstance(holder, dict):
            holder.pop(key, None)
        elif isinstance(holder, dict | list):
            holder[key] = choice.choice(_VALUES)  # type: ignore[index]
    return json.dumps(whole).encode("utf-8", "surrogatepass")


def _inside_zip(content: bytes, choice: random.Random, other: bytes) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
    except (zipfile.BadZipFile, OSError):
        return content
    name = choice.choice(sorted(parts))
    if choice.random() < 0.7:  # the pickle and the JSON, rather than the weights
        name = choice.choice([part for part in sorted(parts) if part.endswith((".pkl", ".json", ".pt"))] or [name])
    if choice.random() < 0.05:
        parts.pop(name)
    else:
        parts[name] = mutated(parts[name], choice, other)
    file = io.BytesIO()
    compression = zipfile.ZIP_DEFLATED if choice.random() < 0.3 else zipfile.ZIP_STORED
    with zipfile.ZipFile(file, "w", compression) as new:
        for part, value in parts.items():
            new.writestr(part, value)
    return file.getvalue()
