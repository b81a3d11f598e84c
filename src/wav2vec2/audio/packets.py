"""What the first bytes of a compressed packet say: how many bytes it has, and how many samples.

A stream without a header, such as AAC or MP3 from a radio station, does not say how long it is. That its last packet
is incomplete is the only sign that it was cut.
"""

from dataclasses import dataclass

_KBPS_MPEG1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBPS_MPEG2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_KBPS_AC3 = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)
_AMR_BYTES = {
    "amrnb": (13, 14, 16, 18, 20, 21, 27, 32, 6),
    "amrwb": (18, 24, 33, 37, 41, 47, 51, 59, 61, 6),
}


def packet_bytes(codec: str, packet: bytes) -> int:
    """Return how many bytes a packet should have according to its header; 0 if that is unknown."""
    if len(packet) < 7 and codec not in _AMR_BYTES:
        return 0
    if codec == "aac" and packet[0] == 0xFF and packet[1] & 0xF6 == 0xF0:
        return (packet[3] & 3) << 11 | packet[4] << 3 | packet[5] >> 5
    if codec.startswith("mp3") and (header := mp3_header(packet)) is not None:
        return header.bytes
    if codec == "eac3" and packet[:2] == b"\x0b\x77":
        return 2 * (((packet[2] & 7) << 8 | packet[3]) + 1)
    if codec == "ac3" and packet[:2] == b"\x0b\x77":
        return _ac3_bytes(packet[4])
    sizes = _AMR_BYTES.get(codec, ())
    mode = (packet[0] >> 3) & 15 if packet else 15
    return sizes[mode] if mode < len(sizes) else 0


def _ac3_bytes(code: int) -> int:
    rate, size = code >> 6, code & 63
    if rate == 3 or size >= 2 * len(_KBPS_AC3):
        return 0
    kbps = _KBPS_AC3[size >> 1]
    return 2 * {0: 2 * kbps, 1: kbps * 320 // 147 + (size & 1), 2: 3 * kbps}[rate]


@dataclass(frozen=True)
class Mp3Header:
    """The header of an MPEG layer III frame: its samples and bytes, its rate in Hz, and where a Xing header stands."""

    samples: int
    rate: int
    bytes: int
    xing: int


def mp3_header(frame: bytes) -> Mp3Header | None:
    """Read the header of an MPEG layer III frame (ISO 11172-3, 13818-3); None if it is none."""
    if len(frame) < 4 or frame[0] != 0xFF or frame[1] & 0xE6 != 0xE2:
        return None
    version, rate_index, kbps_index = (frame[1] >> 3) & 3, (frame[2] >> 2) & 3, frame[2] >> 4
    if version == 1 or rate_index == 3 or kbps_index == 15:
        return None
    first = version == 3  # else MPEG 2, or its extension to low rates, 2.5
    rate = (44_100, 48_000, 32_000)[rate_index] >> {3: 0, 2: 1, 0: 2}[version]
    samples = 1152 if first else 576
    kbps = (_KBPS_MPEG1 if first else _KBPS_MPEG2)[kbps_index]
    size = samples // 8 * kbps * 1000 // rate + ((frame[2] >> 1) & 1) if kbps else 0
    mono = frame[3] >> 6 == 3
    side = (17 if mono else 32) if first else (9 if mono else 17)
    return Mp3Header(samples, rate, size, 4 + side)


def opus_samples(packet: bytes) -> int:
    """Return how many samples at 48 kHz an Opus packet holds (RFC 6716, section 3.1)."""
    if not packet:
        return 0
    config, code = packet[0] >> 3, packet[0] & 3
    if config < 12:
        samples = (480, 960, 1920, 2880)[config & 3]
    elif config < 16:
        samples = (480, 960)[config & 1]
    else:
        samples = (120, 240, 480, 960)[config & 3]
    frames = (1, 2, 2)[code] if code < 3 else packet[1] & 63 if len(packet) > 1 else 0
    return samples * frames
