"""Noise between stretches of speech: where it is, as its level hardly changes, and how far speech reaches into it.

A threshold for a whole half minute takes a pause for speech if its noise is louder than that of other pauses, and
misses the quiet beginning of a word. So each pause is looked at by itself.

Frames are those of `audio.pauses`, of 10 ms.
"""

import numpy as np

PAUSE = 30
"""Frames of a pause at least, whose noise can be told from speech."""
_STEADY = 1.5
"""dB; the standard deviation of the energies of `PAUSE` frames of speech is larger, but for one hold in a thousand."""
_QUIETER = 15.0
"""dB; noise is at least so much quieter than the loud parts, or nothing tells it from a vowel that is held."""
BESIDE = 50
"""Frames of a pause, next to speech, that tell its level."""
_REACH = 10
"""Frames by which speech grows into a pause at most."""
_OUT, _SPREADS = 2.0, 6.0
"""dB above the median of a pause that are no longer its noise, or so many times from its lower quartile to its median.
The louder half of a pause may hold the beginnings and ends of words."""
_AROUND = BESIDE + _REACH
"""Whether a frame is speech depends on no frame further away."""


def steady_noise(energies: np.ndarray, loud: float) -> np.ndarray:
    """Mark the frames, bool (frames,), of pauses whose level hardly changes, whatever it is.

    energies: in dB, (frames,). loud: the energy of the recording's loud parts, in dB.
    """
    marks = np.zeros(len(energies), bool)
    if len(energies) < PAUSE:
        return marks
    stretches = np.lib.stride_tricks.sliding_window_view(energies, PAUSE)
    quiet = np.flatnonzero(stretches.max(axis=1) < loud - _QUIETER)
    found = quiet[stretches[quiet].std(axis=1, dtype=np.float64) < _STEADY]
    for offset in range(PAUSE):
        marks[found + offset] = True
    return marks


def widened(speech: np.ndarray, energies: np.ndarray, least: float) -> np.ndarray:
    """Return the marks `speech`, bool (frames,), grown into the pauses beside them to where these are only noise.

    energies: in dB, (frames,). least: dB; what is quieter is noise anyway.
    """
    wider = speech.copy()
    edges = np.flatnonzero(np.diff(np.concatenate([[True], speech, [True]]).astype(np.int8))).tolist()
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        if end - begin < PAUSE:
            continue
        if begin:
            wider[begin : begin + grown(energies[begin : min(end, begin + BESIDE)], least)] = True
        if end < len(speech):
            wider[end - grown(energies[max(begin, end - BESIDE) : end][::-1], least) : end] = True
    return wider


def grown(pause: np.ndarray, least: float) -> int:
    """Return by how many of a pause's first frames, at most a tenth of a second, the speech before it is longer.

    pause: their energies in dB, (frames,), as far as `BESIDE`. least: dB; what is quieter is noise anyway.
    """
    ordered = np.sort(pause)
    level, low = float(ordered[len(ordered) // 2]), float(ordered[len(ordered) // 4])
    over = pause[:_REACH] > max(level + max(_OUT, _SPREADS * (level - low)), least)
    return _REACH if over.all() else int(np.argmin(over))


class Widener:
    """`widened` for marks that come one after another."""

    def __init__(self, least: float) -> None:
        self._least = least
        self._speech, self._energies = np.zeros(0, bool), np.zeros(0, np.float32)
        self._told = 0  # how many of these were returned

    def push(self, speech: np.ndarray, energies: np.ndarray) -> np.ndarray:
        """Take the next marks and their frames' energies; return the grown marks that are now known, bool."""
        self._speech = np.concatenate([self._speech, speech])
        self._energies = np.concatenate([self._energies, energies])
        return self._until(len(self._speech) - _AROUND)

    def finish(self) -> np.ndarray:
        """Return the grown marks that are left."""
        return self._until(len(self._speech))

    def _until(self, known: int) -> np.ndarray:
        if known <= self._told:
            return np.zeros(0, bool)
        marks = widened(self._speech, self._energies, self._least)[self._told : known]
        passed = max(0, known - _AROUND)
        self._speech, self._energies = self._speech[passed:], self._energies[passed:]
        self._told = known - passed
        return marks
