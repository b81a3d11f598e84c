"""What the bytes of a file say about its audio: the container, whether libsndfile can be trusted with it, its promises.

libsndfile decodes fast, but it believes headers. It is used where the bytes prove that a file is one complete stream of
known length. Everything else goes to FFmpeg, which decodes what is there: files that were cut short, MP3 without a
frame count, chained Ogg, WAV of unknown size, and all other containers.
"""

import mmap
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass

from wav2vec2.audio.encoded_file import EncodedFile
from wav2vec2.audio.mp3_header import complete_mp3

_HEAD = 4096  # bytes; enough for the chunks of nearly every header
_SPHERE = b"NIST_1A"
_SPHERE_HEADER = 1024  # bytes; the header's second line gives its size, in practice always this
_STREAMED = 0x7FFF0000  # a program that writes to a pipe cannot know the size: it writes this much, or more
_PLAIN_WAV = frozenset({1, 3, 6, 7})  # format tags: integer, float, A-law, mu-law
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_OGG_PAGE = b"OggS\x00"
_W64 = b"riff\x2e\x91\xcf\x11"
_OTHERS_OF_LIBSNDFILE = (
    b"Creative Voice File", b"PVF1\n", b" paf", b"fap ", b"2BIT", b"\x64\xa3\x01\x00",
    b"\x64\xa3\x02\x00", b"\x00\x01\xa3\x64", b"\x00\x02\xa3\x64", b"MATLAB 5.0 MAT-file", b"ALawSoundFile**",
)  # fmt: skip


@dataclass(frozen=True)
class Container:
    """What a file's bytes say about it."""

    whole: bool = False
    """libsndfile can be trusted: one complete stream whose header gives its length."""
    seekable_to: int | None = None
    """libsndfile finds no place in the file after this sample (at the file's rate) right; None if it finds all."""
    promised_seconds: float = 0.0
    """The length that the header gives, if it is not the one that is there; 0 if unknown."""
    promised_share: float = 1.0
    """How many times larger the file would be with all the bytes that its header promises."""
    promise_kept: bool = False
    """All the bytes that the header promises are there, so that an incomplete last packet is no sign of a cut."""
    sign_of_cut: str = ""
    """What shows that the file may be cut short although nothing promises its length."""
    remark: str = ""
    """What of the file is left unread, if anything."""
    refusal: str = ""
    """Why the file cannot be read, with the remedy; "" for the others."""
    refusal_reason: str = "unreadable"
    """The short label under which such files are counted."""


def container_of(head: bytes) -> str | None:
    """The usual suffix of the container that starts with these bytes (64 or more); None if it is not a common one."""
    if head[:4] == b"OggS":
        return "opus" if b"OpusHead" in head else "ogg"
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        return "wav"
    if head[4:8] == b"ftyp":
        return "m4a"
    for magic, suffix in ((b"fLaC", "flac"), (b"ID3", "mp3"), (b"\x1aE\xdf\xa3", "webm"), (b"FORM", "aiff")):
        if head.startswith(magic):
            return suffix
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        return "aac" if head[1] & 0x06 == 0 else "mp3"
    return None


def examine_container(file: EncodedFile) -> Container:
    """Read a file's headers, and of Ogg and FLAC files the marks of their streams. Raises OSError."""
    head = file.bytes_at(0, _HEAD)
    for magic, examine in _EXAMINERS:
        if head.startswith(magic):
            return examine(file, head)
    if head[:3] == b"ID3" or container_of(head[:64]) == "mp3":
        complete, seconds = complete_mp3(file)
        return Container(whole=complete, promised_seconds=seconds)
    if head[4:8] == b"ftyp":
        return _movie(file)
    if len(head) > 188 and head[0] == head[188] == 0x47:  # packets of an MPEG transport stream
        return Container(sign_of_cut="it ends within a packet" if file.size % 188 else "")
    return Container(whole=head.startswith(_OTHERS_OF_LIBSNDFILE) or _is_htk(file, head))


def _wav(file: EncodedFile, head: bytes) -> Container:
    """WAV and RF64: complete if the data chunk is; a size of 0, or of a streaming program, means to the file's end."""
    long = head[:4] in (b"RF64", b"BW64")
    order = ">" if head[:4] == b"RIFX" else "<"
    tag = bytes_per_second = 0
    long_size = None
    for name, offset, size in _chunks(file, 12, order):
        if name == b"ds64" and long:
            long_size = struct.unpack_from("<Q", file.bytes_at(offset, 28).ljust(28, b"\0"), 8)[0]
        elif name == b"fmt ":
            tag, _, _, bytes_per_second = struct.unpack_from(f"{order}HHII", file.bytes_at(offset, 40).ljust(40, b"\0"))
            if tag == 0xFFFE:  # extensible: the tag proper stands in the subformat
                tag = struct.unpack_from(f"{order}H", file.bytes_at(offset, 40).ljust(40, b"\0"), 24)[0]
        elif name == b"data":
            promised = long_size if long_size is not None and size == 0xFFFFFFFF else size
            there = file.size - offset
            if promised > there and promised < _STREAMED and bytes_per_second:
                return Container(promised_seconds=promised / bytes_per_second, promised_share=promised / max(1, there))
            known = 0 < promised <= there and tag in _PLAIN_WAV
            after = file.bytes_at(offset + promised + promised % 2, 4) if known else b""
            remark = "a second WAV file follows the first in it and is not read: split them" if after == b"RIFF" else ""
            return Container(whole=known, remark=remark, promise_kept=0 < promised <= there)
    return Container()


def _chunks(file: EncodedFile, offset: int, order: str) -> "list[tuple[bytes, int, int]]":
    """The (name, offset of the content, size) of a RIFF file's chunks, up to the data."""
    found: list[tuple[bytes, int, int]] = []
    while len(header := file.bytes_at(offset, 8)) == 8 and len(found) < 1000:
        name, size = struct.unpack(f"{order}4sI", header)
        found.append((name, offset + 8, size))
        if name == b"data":
            break
        offset += 8 + size + size % 2
    return found


def _sized(place: str, where: int, extra: int) -> Callable[[EncodedFile, bytes], Container]:
    """Examine a container whose header gives a size in bytes: packed as `place` at `where`, `extra` bytes short."""

    def examine(file: EncodedFile, head: bytes) -> Container:
        if len(head) < where + struct.calcsize(place):
            return Container()
        size = struct.unpack_from(place, head, where)[0]
        if head[:4] == b".snd":
            size = 0 if size >= _STREAMED else size + struct.unpack_from(">I", head, 4)[0]
        promised = size + extra if size else 0
        if promised > file.size:
            return Container(promised_share=promised / file.size)
        return Container(whole=promised > 0, promise_kept=promised > 0)

    return examine


def _caf(file: EncodedFile, head: bytes) -> Container:
    """CAF: FFmpeg reads it; the data chunk says how many bytes there should be, or -1."""
    offset = 8
    for _ in range(1000):
        header = file.bytes_at(offset, 12)
        if len(header) < 12:
            break
        name, size = struct.unpack(">4sq", header)
        if name == b"data" and size > 0:
            return Container(promised_share=max(1.0, size / max(1, file.size - offset - 12)))
        if size < 0:
            break
        offset += 12 + size
    return Container()


def _matroska(file: EncodedFile, head: bytes) -> Container:
    """Matroska and WebM: the segment ends where the file does, unless it was recorded live."""
    place = head.find(b"\x18\x53\x80\x67")
    if place < 0 or len(head) < place + 12:
        return Container()
    length = 9 - head[place + 4].bit_length()  # bytes of the size, by EBML's variable-length coding
    size = int.from_bytes(head[place + 4 : place + 4 + length]) & ((1 << 7 * length) - 1)
    live = size == (1 << 7 * length) - 1
    cut = not live and place + 4 + length + size > file.size
    return Container(sign_of_cut="it ends within its segment" if cut else "")


def _asf(file: EncodedFile, head: bytes) -> Container:
    """WMA and WMV: the file properties give the size of the file."""
    place = head.find(_ASF_PROPERTIES)
    promised = int.from_bytes(head[place + 40 : place + 48], "little") if place >= 0 else 0
    return Container(sign_of_cut="it has fewer bytes than its header says" if promised > file.size else "")


def _flac(file: EncodedFile, head: bytes) -> Container:
    """FLAC: known length if STREAMINFO gives it, and no second stream follows."""
    rate = int.from_bytes(head[18:21]) >> 4
    samples = int.from_bytes(head[21:26]) & ((1 << 36) - 1)
    if len(head) < 42 or not rate or not samples:
        return Container()
    return Container(whole=_occurrences(file, rb"fLaC\x00\x00\x00\x22") == 1, promised_seconds=samples / rate)


def _ogg(file: EncodedFile, head: bytes) -> Container:
    """Ogg: one stream of a codec that libsndfile has, whose last page is marked as the end."""
    begins = _occurrences(file, rb"OggS\x00[\x02\x03\x06\x07]")
    tail = file.bytes_at(max(0, file.size - (1 << 17)), 1 << 17)
    last = tail.rfind(_OGG_PAGE)
    ended = last >= 0 and len(tail) > last + 5 and bool(tail[last + 5] & 0x04)
    known = any(codec in head[:128] for codec in (b"OpusHead", b"\x01vorbis", b"\x7fFLAC"))
    return Container(
        whole=begins == 1 and ended and known,
        # libsndfile counts places in the last page from its end, which Vorbis may have shortened
        seekable_to=_end_of_page_before(tail, last) if b"\x01vorbis" in head[:128] else None,
        sign_of_cut="" if ended else "its last page is not marked as the end",
    )


def _end_of_page_before(pages: bytes, last: int) -> int:
    """The sample at which the page ends that comes before the one at `last`; 0 if it is not among `pages`."""
    while (last := pages.rfind(_OGG_PAGE, 0, max(0, last))) >= 0:
        if (position := int.from_bytes(pages[last + 6 : last + 14], "little", signed=True)) > 0:
            return position
    return 0


def _occurrences(file: EncodedFile, pattern: bytes) -> int:
    with mmap.mmap(file.descriptor, file.size, access=mmap.ACCESS_READ) as content:
        return sum(1 for _ in re.finditer(pattern, content, re.DOTALL))


def _movie(file: EncodedFile) -> Container:
    """MP4, M4A, MOV, 3GP: a file that was cut before its index, which often stands at the end, cannot be read."""
    offset = 0
    boxes: set[bytes] = set()
    while len(header := file.bytes_at(offset, 16)) >= 8 and len(boxes) < 1000:
        size, name = struct.unpack_from(">I4s", header)
        boxes.add(name)
        size = int.from_bytes(header[8:16]) if size == 1 else size
        if size < 8:
            break
        offset += size
    if b"moov" not in boxes:
        problem = "is cut short: its index, which stands at the end, is missing: copy it again"
        return Container(refusal=problem, refusal_reason="cut short")
    return Container(sign_of_cut="it ends within a box" if offset > file.size else "")


def _is_htk(file: EncodedFile, head: bytes) -> bool:
    """An HTK waveform has no mark; its header says how many samples of two bytes make the file."""
    if len(head) < 12:
        return False
    samples, _, sample_size, kind = struct.unpack_from(">IIHH", head)
    return bool(kind == 0 and sample_size == 2 and 12 + 2 * samples == file.size)


def _sphere(file: EncodedFile, head: bytes) -> Container:
    """NIST SPHERE: libsndfile reads it unless it is compressed."""
    for line in head[:_SPHERE_HEADER].split(b"\n"):
        if line.startswith(b"sample_coding") and b"embedded-" in line:
            packing = line.split(b"embedded-")[1].split(b"-")[0].decode("ascii", "replace").strip()
            message = f"is a NIST SPHERE file compressed with {packing}: convert it with 'sph2pipe -f wav' first"
            return Container(refusal=message, refusal_reason="packed SPHERE")
    return Container(whole=True)


def _midi_dump(file: EncodedFile, head: bytes) -> Container:
    return Container(refusal="is a MIDI sample dump: convert it to WAV first")


_EXAMINERS: tuple[tuple[bytes, Callable[[EncodedFile, bytes], Container]], ...] = (
    (b"RIFF", _wav),
    (b"RIFX", _wav),
    (b"RF64", _wav),
    (b"BW64", _wav),
    (b"fLaC", _flac),
    (b"OggS", _ogg),
    (b"FORM", _sized(">I", 4, 8)),
    (b"caff", _caf),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", _asf),
    (b"\x1aE\xdf\xa3", _matroska),
    (b".snd", _sized(">I", 8, 0)),
    (_W64, _sized("<Q", 16, 0)),
    (_SPHERE, _sphere),
    (b"\xf0\x7e", _midi_dump),
)
