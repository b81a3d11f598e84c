"""The outline of a recording, for a picture: its lowest and highest sample in every fiftieth of a second, or longer.

The number of values is bounded: when there are too many, two neighbours become one.
"""

import numpy as np

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.audio.recordings import Waveform

MOST = 20_000


class Peaks:
    """Collects the outline of a recording, block by block."""

    def __init__(self) -> None:
        self._step = SAMPLE_RATE // 50
        self._found = np.zeros((0, 2), np.float32)
        self._rest = np.zeros(0, np.float32)

    @property
    def rate(self) -> float:
        """Values a second."""
        return SAMPLE_RATE / self._step

    def push(self, block: Waveform) -> None:
        """Take the next samples."""
        samples = np.concatenate([self._rest, block])
        whole = len(samples) // self._step
        self._rest = samples[whole * self._step :]
        steps = samples[: whole * self._step].reshape(whole, self._step)
        self._found = np.concatenate([self._found, np.stack([steps.min(1), steps.max(1)], axis=1)])
        while len(self._found) > MOST:
            self._halve()

    def _halve(self) -> None:
        if len(self._found) % 2:
            self._found = np.concatenate([self._found, self._found[-1:]])
        pairs = self._found.reshape(-1, 2, 2)
        self._found = np.stack([pairs[:, :, 0].min(1), pairs[:, :, 1].max(1)], axis=1)
        self._step *= 2

    def finish(self) -> bytes:
        """Return the outline as pairs of signed bytes, low and high, from -127 to 127."""
        return np.clip(np.rint(self._found * 127), -127, 127).astype(np.int8).tobytes()
