"""A stream of 16-bit PCM, however it is cut into bytes, as float samples at 16 kHz."""

import numpy as np

from wav2vec2.audio.blocks import StreamResampler
from wav2vec2.audio.read import SAMPLE_RATE


class PcmStream:
    """Takes the bytes of one stream, signed little-endian, mono, at `rate` samples a second."""

    def __init__(self, rate: int) -> None:
        self._resampler = StreamResampler(rate, SAMPLE_RATE)
        self._rest = b""

    def push(self, data: bytes) -> np.ndarray:
        """Return the float32 samples (S,) that are ready; half a sample waits for its other half."""
        data = self._rest + data
        used = len(data) - len(data) % 2
        self._rest = data[used:]
        return self.push_samples(np.frombuffer(data[:used], "<i2").astype(np.float32) / np.float32(32768))

    def push_samples(self, samples: np.ndarray) -> np.ndarray:
        """The same for samples that were decoded already, float32."""
        return self._resampler.push(samples) if len(samples) else samples

    def finish(self) -> np.ndarray:
        """Return the samples that are left at the end of the stream."""
        return self._resampler.push(np.zeros(0, np.float32), last=True)
