"""Which frames of a live stream the model hears: speech with a margin on either side, and not the silence between.

Times are counted in hops of 10 ms from the beginning of the stream.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np

from wav2vec2.audio.background import BESIDE, PAUSE, grown, steady_noise
from wav2vec2.audio.pauses import FRAMES_PER_SECOND, INAUDIBLE
from wav2vec2.audio.pieces import LATER
from wav2vec2.inference.live.settings import LiveSettings

_CLICK = FRAMES_PER_SECOND // 20  # a shorter sound is a click, not speech
_PAUSE = FRAMES_PER_SECOND // 5  # a shorter gap is part of speech
_FADES = 0.002  # dB that the memory of the loudest moment loses in a hop
_AROUND = 5  # hops over which a quiet place is looked for


@dataclass
class Stretch:
    """Hops [begin, end) without a pause inside. pause: the silence before it, 0 at the begin of an utterance."""

    begin: int
    end: int
    pause: int = 0


class SpeechTracker:
    """Follows one stream: where an utterance begins, which of its stretches are speech, and how long it has been quiet.

    `stretches` are those of the current utterance with their margins; the last one grows. It is empty between
    utterances.
    """

    def __init__(self, settings: LiveSettings) -> None:
        self._margin = round(settings.margin * FRAMES_PER_SECOND)
        self._told_after = min(PAUSE, hops(settings.pause))
        self._loudest = INAUDIBLE
        self.stretches: list[Stretch] = []
        self.now = 0
        """Hops that were heard."""
        self.last_end = 0
        """The end of the last speech."""
        self._run = 0
        self._earliest = 0  # the end of what belongs to the utterance before
        self._energies: list[float] = []
        self._recent: deque[float] = deque(maxlen=BESIDE + 2 * _CLICK)

    @property
    def silence(self) -> int:
        """Hops since the last speech."""
        return self.now - self.last_end

    @property
    def begin(self) -> int:
        """The begin of the current utterance."""
        return self.stretches[0].begin

    def step(self, speech: bool, energy: float) -> None:
        """Hear one more hop, with its energy in dB."""
        self.now += 1
        self._recent.append(energy)
        self._loudest = max(energy, self._loudest - _FADES)
        spoke, self._run = self._run > 0, self._run + 1 if speech else 0
        if self.stretches:
            if spoke and not speech:
                self._forget_noise()
            self._energies.append(energy)
            near = self.now - 1 - self.last_end < _PAUSE
            if speech and (near or self._run >= _CLICK):
                self._resume()
            self.stretches[-1].end = max(self.stretches[-1].end, min(self.now, self.last_end + self._margin))
        elif self._run >= _CLICK:
            self._begin()

    def _begin(self) -> None:
        begin = max(self._earliest, self._onset() + LATER - self._margin)
        self.stretches = [Stretch(begin, self.now)]
        self.last_end = self.now
        self._energies = [energy_unknown] * (self.now - begin)

    def _resume(self) -> None:
        last = self.stretches[-1]
        # Asked at every hop of speech; only after a pause is there an onset to look for.
        after_pause = self.now - self._run - self.last_end >= _PAUSE
        if after_pause and (onset := self._onset()) - self.last_end >= _PAUSE:
            begin = max(last.end, onset + LATER - self._margin)
            if begin > last.end:
                self.stretches.append(Stretch(begin, self.now, onset - self.last_end))
        self.last_end = self.now

    def _forget_noise(self) -> None:
        """Let the speech end where a steady noise began, which is told from speech some time after it began."""
        if steady_noise(np.array(self._recent)[-PAUSE:], self._loudest).any():
            last = self.stretches[-1]
            self.last_end = max(last.begin, self.now - self._told_after)
            last.end = min(last.end, self.last_end + self._margin)

    def _onset(self) -> int:
        """Where the speech begins that is heard now: a little before it is louder than all noise."""
        run = self.now - self._run
        pause = np.array(self._recent)[max(0, len(self._recent) - self._run - BESIDE) : -self._run][::-1]
        pause = pause[: max(0, run - self.last_end)]
        return run - (grown(pause, INAUDIBLE) if len(pause) >= PAUSE else 0)

    def hear_all(self) -> None:
        """Count the silence at the end as speech, but for steady noise: the model has heard symbols in it."""
        last, noise = self.stretches[-1], np.flatnonzero(self.steady())
        if len(noise):
            onset = self.last_end + int(noise[-1]) + 1
            begin = max(last.end, onset + LATER - self._margin)
            self.stretches.append(Stretch(begin, self.now, onset - self.last_end))
        self.last_end = self.stretches[-1].end = self.now

    def steady(self) -> np.ndarray:
        """Mark the hops, bool (silence,), of the silence at the end that are a noise whose level hardly changes."""
        marks = np.zeros(self.silence, bool)
        known = np.array(self._energies[-self.silence :] if self.silence else [])
        marks[self.silence - len(known) :] = steady_noise(known, self._loudest)
        return marks

    def quietest(self, begin: int, end: int) -> float:
        """Return the least energy in dB of 50 ms between two hops of the utterance; inf without such a place."""
        offset = self.now - len(self._energies)
        energies = self._energies[max(0, begin - offset) : max(0, end - offset)]
        sums = [sum(energies[i : i + _AROUND]) for i in range(len(energies) - _AROUND + 1)]
        return min(sums, default=float("inf")) / _AROUND

    def cut(self, hop: int) -> None:
        """Let the current utterance begin at a hop."""
        self.stretches = [stretch for stretch in self.stretches[:-1] if stretch.end > hop] + self.stretches[-1:]
        self.stretches[0].begin = max(self.stretches[0].begin, hop)
        self._energies = self._energies[-(self.now - self.begin) :]

    def close(self) -> None:
        """End the utterance."""
        self._earliest = self.stretches[-1].end
        self.stretches, self._run, self._energies = [], 0, []


energy_unknown = 0.0
"""Energy in dB of the hops before the detector was sure: loud, so that nothing is cut there."""


def hops(seconds: float) -> int:
    """Return a duration in hops."""
    return round(seconds * FRAMES_PER_SECOND)
