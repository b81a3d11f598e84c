"""Which moments hold speech, told while it is spoken: nothing ahead of a frame is needed.

The rule is that of `audio.pauses.speech_by_energy`, with the noise floor and the loud parts of the time before.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from wav2vec2.audio.background import PAUSE, steady_noise
from wav2vec2.audio.pauses import FRAMES_PER_SECOND, INAUDIBLE, threshold_between
from wav2vec2.audio.speech_stream import EnergyMeter

_MEMORY = 30 * FRAMES_PER_SECOND
_EVERY = 10  # frames between two estimates of the threshold
_FADES = 0.02 / FRAMES_PER_SECOND * 10  # dB that the memory of loud speech loses in a frame
_QUIET_ROOM = -50.0
"""Noise floor in dB that is assumed until some seconds were heard: a stream may begin in the middle of a word."""
_SPEECH = -40.0
"""Level in dB of speech that is assumed until some was heard, so that a quiet room is none."""
_KNOWN_AFTER = 3 * FRAMES_PER_SECOND


class ActivityDetector(Protocol):
    """Marks 10 ms frames as they are heard. A frame's window of 400 samples begins where the frame does."""

    def push(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Take the next samples (S,) at 16 kHz.

        Return which of the frames that are now complete hold speech, bool, and their energies in dB, float32.
        """


class EnergyDetector:
    """`ActivityDetector` that compares the energy of a frame with what was heard in the last half minute."""

    def __init__(self) -> None:
        self._meter = EnergyMeter()
        self._energies = np.zeros(2 * _MEMORY, np.float32)
        self._count = 0
        self._since = _EVERY
        self._threshold = INAUDIBLE
        self._loud = _SPEECH

    def push(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `ActivityDetector`."""
        energies = self._meter.push(samples.astype(np.float32, copy=False))
        speech = np.zeros(len(energies), dtype=bool)
        for i, energy in enumerate(energies):
            self._remember(float(energy))
            speech[i] = energy > self._threshold and not self._steady()
        return speech, energies

    def _steady(self) -> bool:
        """Whether the last frames are a pause whose noise is louder than that of others."""
        return bool(steady_noise(self._energies[max(0, self._count - PAUSE) : self._count], self._loud).any())

    def _remember(self, energy: float) -> None:
        if self._count == len(self._energies):
            self._energies[:_MEMORY] = self._energies[_MEMORY:]
            self._count = _MEMORY
        self._energies[self._count] = energy
        self._count += 1
        self._loud -= _FADES
        self._since += 1
        if self._since >= _EVERY:
            self._since = 0
            self._estimate(self._energies[max(0, self._count - _MEMORY) : self._count])

    def _estimate(self, around: np.ndarray) -> None:
        floor, loud = _percentiles(around, (5, 95))
        if len(around) < _KNOWN_AFTER:
            floor = min(floor, _QUIET_ROOM)
        self._loud = loud = max(loud, self._loud)
        self._threshold = threshold_between(floor, loud)


def _percentiles(values: np.ndarray, shares: Sequence[float]) -> list[float]:
    """Return what `np.percentile` does of float32 values, in a quarter of its time: streams ask ten times a second."""
    last = len(values) - 1
    places = [share / 100 * last for share in shares]
    near = sorted({number for place in places for number in (int(place), min(int(place) + 1, last))})
    parted = np.partition(values, near)
    found = []
    for place in places:
        part = place - int(place)
        below, above = parted[int(place)], parted[min(int(place) + 1, last)]
        gap = float(above - below)
        found.append(float(above) - gap * (1 - part) if part >= 0.5 else float(below) + gap * part)
    return found
