"""The audio of a live session: 16-bit PCM and G.711 of telephones, to float samples at 16 kHz."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from wav2vec2.audio.pcm import PcmStream
from wav2vec2.serve.failures import wrong

_RATES = (8_000, 16_000, 24_000, 48_000)
_TELEPHONE = 8_000


@dataclass(frozen=True)
class AudioFormat:
    """kind: audio/pcm (16 bits, little-endian), audio/pcmu or audio/pcma (G.711, 8 kHz), as OpenAI names them."""

    kind: str = "audio/pcm"
    rate: int = 24_000

    @classmethod
    def of(cls, given: Any) -> "AudioFormat":
        """Return the format that a session asks for. Raises ApiError for an unknown one."""
        if isinstance(given, str):  # as older clients write it
            names = {"pcm16": "audio/pcm", "g711_ulaw": "audio/pcmu", "g711_alaw": "audio/pcma"}
            given = {"type": names.get(given, given)}
        kind = given.get("type", "audio/pcm") if isinstance(given, dict) else None
        if kind in ("audio/pcmu", "audio/pcma"):
            return cls(kind, _TELEPHONE)
        rate = given.get("rate", 24_000) if isinstance(given, dict) else None
        if kind != "audio/pcm" or rate not in _RATES:
            known = f"audio/pcm at {', '.join(map(str, _RATES))} Hz, audio/pcmu, audio/pcma"
            raise wrong(f"format: is none of {known}", "session.audio.input.format")
        return cls(kind, rate)

    def plain(self) -> dict[str, Any]:
        """Return the format as a session tells it."""
        return {"type": self.kind, "rate": self.rate} if self.kind == "audio/pcm" else {"type": self.kind}


class LiveAudio:
    """Turns the bytes of a stream into samples at 16 kHz, however the stream is cut."""

    def __init__(self, about: AudioFormat) -> None:
        self._stream = PcmStream(about.rate)
        self._table = {"audio/pcmu": _MU_LAW, "audio/pcma": _A_LAW}.get(about.kind)

    def push(self, data: bytes) -> np.ndarray:
        """Return the float32 samples that are ready after some bytes."""
        if self._table is None:
            return self._stream.push(data)
        return self._stream.push_samples(self._table[np.frombuffer(data, np.uint8)])


def _mu_law() -> np.ndarray:
    """Return the values of G.711's mu-law: a sign, three bits of exponent, four of mantissa, all inverted."""
    code = ~np.arange(256, dtype=np.int32) & 0xFF
    magnitude = (((code & 0x0F) << 3) + 0x84 << ((code >> 4) & 7)) - 0x84
    return (np.where(code & 0x80, -magnitude, magnitude) / 32768).astype(np.float32)


def _a_law() -> np.ndarray:
    """Return the values of G.711's A-law: the same, with every other bit inverted, and linear near zero."""
    code = np.arange(256, dtype=np.int32) ^ 0x55
    exponent, mantissa = (code >> 4) & 7, (code & 0x0F) << 4
    magnitude = np.where(exponent == 0, mantissa + 8, mantissa + 0x108 << np.maximum(exponent - 1, 0))
    return (np.where(code & 0x80, magnitude, -magnitude) / 32768).astype(np.float32)


_MU_LAW, _A_LAW = _mu_law(), _a_law()
