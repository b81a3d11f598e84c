"""Which frames of a recording hold speech, found by energy while the recording is being decoded.

`audio.pauses` does the same for a whole recording. Here a frame is decided when the half minute that it belongs to, and
a quarter of a minute after it, have been heard; the loud parts are those heard by then. What is found does not depend
on how the recording is divided into blocks.
"""

import numpy as np

from wav2vec2.audio.background import Widener, steady_noise
from wav2vec2.audio.pauses import (
    HOP,
    INAUDIBLE,
    LEAST_OUTSTANDING,
    NOISE_FRAMES,
    STANDS_OUT,
    WINDOW,
    decibels,
    speech_threshold,
)

_LEAST_CONTRAST = 15.0  # dB between the noise and the loud parts
_AHEAD = NOISE_FRAMES // 2
_SLICE = 80  # samples; both a frame's hop and its window are whole numbers of slices
_SLICES_A_HOP, _SLICES_A_WINDOW = HOP // _SLICE, WINDOW // _SLICE
_QUIETEST, _STEP = -100.0, 0.1  # dB: the lower end and the width of the histogram's bins


class EnergyMeter:
    """The energies of `pauses.frame_energies`, frame by frame as samples come."""

    def __init__(self) -> None:
        self._samples = np.zeros(0, np.float32)

    def push(self, waveform: np.ndarray) -> np.ndarray:
        """Take samples (S,), and return the energies (dB) of the frames whose windows they complete, float32."""
        samples = np.concatenate([self._samples, waveform])
        frames = max(0, (len(samples) - WINDOW) // HOP + 1)
        self._samples = samples[frames * HOP :]
        if not frames:
            return np.zeros(0, np.float32)
        used = samples[: (frames - 1) * HOP + WINDOW].astype(np.float64).reshape(-1, _SLICE)
        slices = np.square(used).sum(axis=1)
        windows = np.lib.stride_tricks.sliding_window_view(slices, _SLICES_A_WINDOW)[::_SLICES_A_HOP]
        return decibels(windows.sum(axis=1) / WINDOW)

    def finish(self) -> np.ndarray:
        """Return the energies of the last frames, whose windows are cut short by the end."""
        rest, self._samples = self._samples.astype(np.float64), np.zeros(0, np.float32)
        return decibels(np.array([np.square(rest[begin:]).mean() for begin in range(0, len(rest), HOP)]))


class SpeechDetector:
    """Marks the frames with speech as `pauses.speech_by_energy` does, a little later than it hears them.

    loud: the energy (dB) of the loud parts, if it is known; then the result is that of the whole recording at once.
    """

    def __init__(self, loud: float | None = None) -> None:
        self._loud = loud
        self._counts = np.zeros(round((60.0 - _QUIETEST) / _STEP), np.int64)
        self._counted = 0
        self._energies = np.zeros(0, np.float32)  # from `_AHEAD` frames before the first undecided one, where there are
        self._before = 0
        self._widener = Widener(INAUDIBLE)

    def push(self, energies: np.ndarray) -> np.ndarray:
        """Take the energies (dB) of the next frames; return the marks of the frames that can now be decided, bool."""
        self._energies = np.concatenate([self._energies, energies])
        marks = [np.zeros(0, bool)]
        while len(self._energies) >= self._before + NOISE_FRAMES + _AHEAD:
            marks.append(self._decide())
        return np.concatenate(marks)

    def finish(self) -> np.ndarray:
        """Return the marks of all frames that are left."""
        marks = [np.zeros(0, bool)]
        while len(self._energies) > self._before:
            marks.append(self._decide())
        return np.concatenate([*marks, self._widener.finish()])

    def _decide(self) -> np.ndarray:
        around = self._energies[: self._before + NOISE_FRAMES + _AHEAD]
        mine = around[self._before : self._before + NOISE_FRAMES]
        loud = self._loudness(around)
        steady = steady_noise(around, loud)[self._before : self._before + len(mine)]
        marks = self._widener.push((mine > _threshold(around, loud)) & ~steady, mine)
        kept = max(0, self._before + len(mine) - _AHEAD)
        self._energies, self._before = self._energies[kept:], self._before + len(mine) - kept
        self._counted -= kept
        return marks

    def _loudness(self, around: np.ndarray) -> float:
        """`pauses.loud_parts` of all energies up to the end of `around`, to a tenth of a decibel."""
        if self._loud is not None:
            return self._loud
        bins = ((around[self._counted :] - _QUIETEST) / _STEP).astype(np.int64)
        self._counts += np.bincount(np.clip(bins, 0, len(self._counts) - 1), minlength=len(self._counts))
        self._counted = len(around)
        floor, loud = _percentiles(self._counts, 0.05, 0.95)
        first = round((max(floor, INAUDIBLE) + STANDS_OUT - _QUIETEST) / _STEP)
        if self._counts[first:].sum() < LEAST_OUTSTANDING:
            return loud
        return max(loud, _STEP * first + _percentiles(self._counts[first:], 0.75)[0])


def _threshold(around: np.ndarray, loud: float) -> float:
    """`pauses.speech_threshold`; where speech hardly stands out of the noise, all that is not much quieter is speech.

    A recogniser that hears noise writes nothing. What it does not hear is lost.
    """
    if loud - float(np.percentile(around, 5)) < _LEAST_CONTRAST:
        return max(loud - 35.0, INAUDIBLE)
    return speech_threshold(around, loud)


def _percentiles(counts: np.ndarray, *shares: float) -> list[float]:
    """The energies (dB) below which these shares of a histogram lie, if its first bin is the quietest."""
    sums = np.cumsum(counts)
    return [_QUIETEST + _STEP * int(np.searchsorted(sums, share * sums[-1])) for share in shares]
