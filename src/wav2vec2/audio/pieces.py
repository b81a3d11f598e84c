"""The pieces of a recording that a recogniser sees: speech between pauses, found while the recording is being decoded.

A recogniser that was trained on utterances of a few seconds understands utterances of a few seconds. So a longer
recording is cut at its pauses, and long silence is left out. Speech without a pause that is longer than the model has
ever heard is cut at its quietest place. A word may lie across such a seam: the pieces on both sides are joined, and the
model sees some of the neighbour as context.

Legend: frames here are those of `audio.pauses`, 10 ms.
"""

from dataclasses import dataclass

import numpy as np

from wav2vec2.audio.pauses import FRAMES_PER_SECOND, HOP
from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.audio.speech_stream import EnergyMeter, SpeechDetector
from wav2vec2.errors import UserError

GRID = 320
"""Samples from one frame of the model to the next. Pieces that are joined lie on one grid of frames."""
_IN_SPEECH = 2  # frames at the ends of a pause whose windows reach into the speech beside it
LATER = 1
"""Speech begins and ends a frame later than its marks: an energy's window begins where its frame does."""
CLICK_FRAMES = 5
"""Shorter sounds between pauses are clicks, not speech."""
_SHORT_PAUSE = 0.15  # seconds; the silence within a word, before a plosive, is shorter
_KEPT_IN_SHORT = 5  # frames on either side of a cut in such a pause, at least: it may be a quiet sound
SHORTEST_LONGEST = 0.5
"""Seconds; the longest piece must be at least this long."""
_LENGTHS, _PAUSES, _MARGINS = (6.0, 16.0), (0.3, 0.8), (0.02, 0.1)
"""Seconds: of two longest pieces, of the pauses that end them, and of the silence beside speech that suits them."""


@dataclass(frozen=True)
class PieceRules:
    """How a recording is cut into pieces; all values in seconds. Raises UserError for impossible ones."""

    longest: float = 15.0
    """No piece is longer, its context included. A recording that is not longer is one piece, as it is."""
    pause: float = _PAUSES[0]
    """A shorter silence does not end a piece that can still grow; nor does one shorter than two margins."""
    margin: float = _MARGINS[0]
    """Silence kept on either side of speech, from what the energy tells."""
    context: float = 1.28
    """How much of the neighbour is seen at a seam without a pause; at most a quarter of the longest piece."""

    def __post_init__(self) -> None:
        if not SHORTEST_LONGEST <= self.longest < 1e6:
            raise UserError(f"pieces: the longest must last at least {SHORTEST_LONGEST} s, not {self.longest:g}")
        if not 0 <= self.margin < 10 or not 0 < self.pause < 100 or not 0 <= self.context < 1e6:
            raise UserError("pieces: margin (below 10 s) and context must be at least 0, pause (below 100 s) above 0")


@dataclass(frozen=True)
class Piece:
    """Samples [start, start + samples) of a recording.

    joined: it continues the piece before it, without a pause. before, after: the samples next to it that the model
    should see as context; 0 beside a pause. Where there is an `after`, `samples` is a multiple of `GRID`, as they are.
    """

    start: int
    samples: int
    joined: bool = False
    before: int = 0
    after: int = 0


def suited_pause(longest: float) -> float:
    """Return the pause in seconds that ends a piece of at most `longest` seconds: 0.3 to 0.8.

    A model that has heard long utterances has heard pauses in them, and understands what follows better from what came
    before.
    """
    return float(np.interp(longest, _LENGTHS, _PAUSES))


def suited_margin(longest: float) -> float:
    """Return how much silence in seconds to keep beside such pieces: 0.02 to 0.1."""
    return float(np.interp(longest, _LENGTHS, _MARGINS))


class PieceFinder:
    """Finds the pieces of one recording.

    `push` takes samples as they come. Memory is bounded: by the longest piece, and the time in which speech is
    detected. The pieces do not depend on how the recording is divided into blocks.
    """

    def __init__(self, rules: PieceRules) -> None:
        self._longest = int(rules.longest * FRAMES_PER_SECOND)
        self._margin = self._lead = int(rules.margin * FRAMES_PER_SECOND)  # `_lead`: before the next piece
        self._close = max(2 * LATER, int(rules.pause * FRAMES_PER_SECOND) - _IN_SPEECH, 2 * self._margin)
        self._short = min(self._close, int(_SHORT_PAUSE * FRAMES_PER_SECOND))
        # A frame of the model at least: the last one before a seam reaches beyond it.
        self._context = max(_even(min(int(rules.context * FRAMES_PER_SECOND), self._longest // 4)), GRID // HOP)
        self._meter, self._detector = EnergyMeter(), SpeechDetector()
        self._energies = np.zeros(0, np.float32)  # of the frames from `_origin` on, as far as they are heard
        self._speech = np.zeros(0, bool)  # their marks, as far as they are decided
        self._origin = 0  # frame after the last piece, or later
        self._joined = False
        self._heard = 0
        self._final = False

    @property
    def needed_from(self) -> int:
        """The first sample that a later piece, or its context, may need."""
        return max(0, self._origin - (self._context if self._joined else 0) - self._lead - 1) * HOP

    def push(self, waveform: np.ndarray) -> list[Piece]:
        """Take the next samples (S,) at 16 kHz; return the pieces that are now known, in order."""
        self._heard += len(waveform)
        energies = self._meter.push(waveform)
        return self._decided(energies, self._detector.push(energies))

    def finish(self) -> list[Piece]:
        """Return the pieces that are left, at the end of the recording."""
        energies = self._meter.finish()
        marks = np.concatenate([self._detector.push(energies), self._detector.finish()])
        self._final = True
        return self._decided(energies, marks)

    def _decided(self, energies: np.ndarray, marks: np.ndarray) -> list[Piece]:
        self._energies = np.concatenate([self._energies, energies])
        self._speech = np.concatenate([self._speech, marks])
        pieces: list[Piece] = []
        while self._advance(pieces):
            pass
        return pieces

    def _advance(self, pieces: list[Piece]) -> bool:
        """Find the next piece, or drop what is none; returns whether there may be more to find."""
        speech, heard = self._speech, len(self._speech)
        first = 0 if self._joined else int(np.argmax(speech)) if speech.any() else heard
        if first == heard:
            self._drop(max(0, heard - self._lead - 1))
            return False
        begin = first if self._joined else max(0, first + LATER - self._lead)
        limit = begin + self._longest - (self._context if self._joined else 0)
        gaps = [(start, end) for start, end in _gaps(speech, first) if start <= limit]
        ended = next((gap for gap in gaps if gap[1] - gap[0] >= self._close), None)
        if ended is None and self._final and gaps and gaps[-1][1] == heard:
            ended = gaps[-1]
        if ended is None and self._final and heard <= limit:
            ended = heard, heard
        if ended is not None:
            end = min(ended[0] + min(LATER + self._margin, ended[1] - ended[0]), heard)
            if self._joined or ended[0] - first >= CLICK_FRAMES:
                self._add(pieces, begin, min(end, max(limit, ended[0])))
            self._joined, self._lead = False, self._margin
            self._drop(end)
            return True
        if heard < limit + self._close and not self._final:
            return False
        self._split(pieces, begin, limit, gaps)
        return True

    def _split(self, pieces: list[Piece], begin: int, limit: int, gaps: list[tuple[int, int]]) -> None:
        """Cut speech that is longer than any piece: at its longest short pause, or else where it is quietest."""
        half = begin + (limit - begin) // 2
        pauses = [(end - start, start) for start, end in gaps if start >= half and end - start >= self._short]
        if pauses:
            length, start = max(pauses)
            kept = max(self._margin, _KEPT_IN_SHORT)
            end = min(start + LATER + min(kept, length // 2 - LATER), limit)
            self._add(pieces, begin, end)
            self._joined, self._lead = False, kept
            self._drop(end)
            return
        last = limit - self._context
        low = begin + (last - begin) // 2
        smooth = np.convolve(self._energies[low:last], np.full(5, 0.2), mode="same")
        # The convolution pads with 0 dB, which is loud, so the edges are never the quietest.
        cut = low + int(np.argmin(smooth))
        cut -= (cut - begin) % 2
        self._add(pieces, begin, cut, after=self._context * HOP)
        self._joined, self._lead = True, self._margin
        self._drop(cut)

    def _add(self, pieces: list[Piece], begin: int, end: int, *, after: int = 0) -> None:
        start = (self._origin + begin) * HOP
        last = min((self._origin + end) * HOP, self._heard)
        before = min(self._context * HOP, start) if self._joined else 0
        if last > start:
            pieces.append(Piece(start, last - start, self._joined, before, after))

    def _drop(self, frames: int) -> None:
        self._origin += frames
        self._speech, self._energies = self._speech[frames:], self._energies[frames:]


def longest_samples(rules: PieceRules) -> int:
    """Return the samples of the longest recording that is one piece."""
    return int(rules.longest * SAMPLE_RATE)


def _gaps(speech: np.ndarray, first: int) -> list[tuple[int, int]]:
    """Return the runs of frames without speech from frame `first` on, as (start, end)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[True], speech[first:], [True]]).astype(np.int8)))
    return [(first + start, first + end) for start, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)]


def _even(frames: int) -> int:
    return frames - frames % 2
