"""The header of an MP3 file: how many frames and bytes an encoder says that it wrote.

A file without such a header (of a recorder, a stream, or `lame -t`) gives no length, and of one with a variable bit
rate none can be guessed. A file with more bytes than its header counts was joined from several.
"""

import mmap
import struct

from wav2vec2.audio.encoded_file import EncodedFile
from wav2vec2.audio.packets import mp3_header


def complete_mp3(file: EncodedFile) -> tuple[bool, float]:
    """Return whether an MP3 file has exactly the bytes that its header counts, and the length that it promises.

    A file without such a header is complete if all its frames have the same bit rate, up to a whole last one.

    The length is in seconds, with the encoder's padding; 0 if no Xing, Info or VBRI header gives it.
    """
    begin = 0
    while len(tag := file.bytes_at(begin, 10)) == 10 and tag[:3] == b"ID3":
        begin += 10 + sum((byte & 0x7F) << shift for byte, shift in zip(tag[6:10], (21, 14, 7, 0), strict=True))
        begin += 10 if tag[5] & 0x10 else 0
    frame = file.bytes_at(begin, 1500)
    header = mp3_header(frame)
    if header is None:
        return False, 0.0
    counts = _mp3_counts(frame, header.xing)
    if counts is None:
        padded = (frame[2] >> 1) & 1
        return _is_of_constant_rate(file, begin, header.bytes - padded), 0.0
    frames, promised = counts
    there = _end_of_mp3(file) - begin
    tolerance = 2 * promised // frames + 64
    return abs(there - promised) <= tolerance, frames * header.samples / header.rate


def _mp3_counts(frame: bytes, place: int) -> tuple[int, int] | None:
    """The number of frames and of bytes that the header frame gives; None if it does not give both."""
    if frame[place : place + 4] in (b"Xing", b"Info"):
        flags, frames, size = struct.unpack_from(">III", frame.ljust(place + 16, b"\0"), place + 4)
        return (frames, size) if flags & 3 == 3 and frames and size else None
    if frame[36:40] == b"VBRI":
        size, frames = struct.unpack_from(">II", frame.ljust(54, b"\0"), 46)
        return (frames, size) if frames and size else None
    return None


def _is_of_constant_rate(file: EncodedFile, place: int, size: int) -> bool:
    """Whether frames of this size, or one byte more where the padding bit is set, fill the file."""
    end = _end_of_mp3(file)
    if size <= 0:  # a "free" bit rate
        return False
    with mmap.mmap(file.descriptor, file.size, access=mmap.ACCESS_READ) as content:
        second, third = content[place + 1], content[place + 2] & 0xFD
        while place + size <= end:
            if content[place] != 0xFF or content[place + 1] != second or content[place + 2] & 0xFD != third:
                return False
            place += size + ((content[place + 2] >> 1) & 1)
    return place == end


def _end_of_mp3(file: EncodedFile) -> int:
    """Where the frames end: before an ID3v1 tag and an APE tag."""
    end = file.size
    if file.bytes_at(end - 128, 3) == b"TAG":
        end -= 128
    footer = file.bytes_at(end - 32, 32)
    if footer[:8] == b"APETAGEX":
        size, _, flags = struct.unpack_from("<III", footer, 12)
        end -= size + (32 if flags >> 31 else 0)
    return end
