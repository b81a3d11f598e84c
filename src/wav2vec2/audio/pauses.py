"""Cutting long recordings at pauses, for `wav2vec2 prepare ... --segment`.

1. A voice activity detector marks the 10 ms frames that hold speech: `speech_by_energy`, which compares the energy of
   25 ms windows with the recording's own noise, or `silero.speech_by_silero`, the Silero network (an extra).
2. `pause_segments` cuts at pauses. Neighbouring stretches of speech are joined up to the length of the longest
   segment allowed; long silence is left out, but a margin around speech is kept.

`audio.pieces` does the same for recognition, while a recording is being decoded.

`prepare` sets the longest segment (`--max-seconds`) and the detector (`--vad`); the other numbers are the defaults of
`Segmentation`.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from wav2vec2.audio.background import steady_noise, widened
from wav2vec2.audio.read import SAMPLE_RATE

HOP = 160
WINDOW = 400
FRAMES_PER_SECOND = SAMPLE_RATE // HOP
NOISE_FRAMES = 30 * FRAMES_PER_SECOND
"""Frames for which the noise floor is estimated together, from these and half as many before and after them."""

INAUDIBLE = -75.0
"""dB; nothing quieter counts as speech."""
STANDS_OUT, LEAST_OUTSTANDING = 10.0, FRAMES_PER_SECOND // 2
"""dB above the noise floor of a frame that stands out, and how many such frames are more than a click."""

Detector = Literal["energy", "silero"]


@dataclass(frozen=True)
class Segmentation:
    """How a long recording is cut into segments; all values in seconds."""

    longest: float = 30.0
    """No segment is longer."""
    shortest: float = 1.0
    """A shorter segment is joined to a neighbour if the result is not too long."""
    pause: float = 0.2
    """A shorter gap between stretches of speech is not a pause."""
    margin: float = 0.25
    """How much silence is kept on either side of speech; longer silence is left out."""


def frame_energies(waveform: np.ndarray) -> np.ndarray:
    """Return the energy of each 10 ms frame in dB (0 dB: a full-scale square wave), float32 (ceil(samples/160),).

    A frame's window of 400 samples starts where the frame does; the last windows are shorter.
    """
    squares = np.concatenate([[0.0], np.cumsum(waveform.astype(np.float64) ** 2)])
    begins = np.arange(0, len(waveform), HOP)
    ends = np.minimum(begins + WINDOW, len(waveform))
    power = (squares[ends] - squares[begins]) / np.maximum(ends - begins, 1)
    return decibels(power)


def decibels(power: np.ndarray) -> np.ndarray:
    """Return mean squares in dB, float32, -100 for silence."""
    return np.asarray(10.0 * np.log10(np.maximum(power, 1e-10)), dtype=np.float32)


def speech_by_energy(energies: np.ndarray) -> np.ndarray:
    """Mark the frames with speech, bool (frames,): those above a threshold between the noise floor and the loud parts.

    The noise floor is estimated anew every half minute, so that a change of background noise has no effect far away.
    Noise of a level that hardly changes is no speech above it, either, and speech is followed into the pauses beside it
    (`audio.background`).
    """
    speech = np.zeros(len(energies), dtype=bool)
    loud = loud_parts(energies)
    for begin in range(0, len(energies), NOISE_FRAMES):
        first = max(0, begin - NOISE_FRAMES // 2)
        around = energies[first : begin + NOISE_FRAMES + NOISE_FRAMES // 2]
        marks = (around > speech_threshold(around, loud)) & ~steady_noise(around, loud)
        speech[begin : begin + NOISE_FRAMES] = marks[begin - first : begin - first + NOISE_FRAMES]
    return widened(speech, energies, INAUDIBLE)


def loud_parts(energies: np.ndarray) -> float:
    """Return the energy (dB) of the loud parts of a recording: its 95th percentile.

    Where less than a twentieth is speech, that would be the noise. So it is at least the upper quartile of what stands
    out of the noise, if that is half a second or more.
    """
    if not len(energies):
        return 0.0
    floor, loud = np.percentile(energies, [5, 95])
    outstanding = energies[energies > max(floor, INAUDIBLE) + STANDS_OUT]
    return float(max(loud, np.percentile(outstanding, 75)) if len(outstanding) >= LEAST_OUTSTANDING else loud)


def speech_threshold(around: np.ndarray, loud: float) -> float:
    """Return the energy (dB) above which a frame is speech: from the energies around it, and that of the loud parts."""
    return threshold_between(float(np.percentile(around, 5)), loud)


def threshold_between(floor: float, loud: float) -> float:
    """Return the energy (dB) above which a frame is speech, between a noise floor and the loud parts."""
    # A third of the way up, at least 6 dB above the floor, but below the loud parts: a recording without pauses is
    # all speech.
    over_floor = min(floor + max(6.0, (loud - floor) / 3), loud - 6.0)
    return max(over_floor, loud - 35.0, INAUDIBLE)


def pause_segments(
    speech: np.ndarray, energies: np.ndarray, samples: int, rules: Segmentation = Segmentation()
) -> list[tuple[int, int]]:
    """Cut a recording into segments, as (start, samples) at 16 kHz, in order and without overlap.

    Args:
        speech: which 10 ms frames hold speech.
        energies: their energies in dB; a stretch of speech that is too long is cut at its quietest place.
        samples: length of the recording.
        rules: how to cut.

    Neighbouring stretches of speech are joined while the result is at most `rules.longest` and either the pause between
    them is shorter than a second or one of them is shorter than `rules.shortest`. A recording without speech has no
    segments.
    """
    longest = max(2, int(rules.longest * FRAMES_PER_SECOND))
    spans = _stretches(speech, rules)
    pieces = [piece for begin, end in spans for piece in _split(begin, end, energies, longest)]
    joined: list[tuple[int, int]] = []
    for begin, end in pieces:
        if joined:
            last_begin, last_end = joined[-1]
            # A second of silence ends a segment, unless the stretch before or after it is very short.
            short = min(end - begin, last_end - last_begin) < rules.shortest * FRAMES_PER_SECOND
            if end - last_begin <= longest and (begin - last_end < FRAMES_PER_SECOND or short):
                joined[-1] = (last_begin, end)
                continue
        joined.append((begin, end))
    return [(begin * HOP, min(end * HOP, samples) - begin * HOP) for begin, end in joined if begin * HOP < samples]


def _stretches(speech: np.ndarray, rules: Segmentation) -> list[tuple[int, int]]:
    """Return frame ranges of speech: gaps shorter than `rules.pause` are filled, margins added without overlap."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], speech, [False]]).astype(np.int8)))
    stretches: list[tuple[int, int]] = []
    pause = int(rules.pause * FRAMES_PER_SECOND)
    for begin, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if stretches and begin - stretches[-1][1] < pause:
            stretches[-1] = (stretches[-1][0], end)
        else:
            stretches.append((begin, end))
    # Anything under 50 ms is a click, not speech.
    stretches = [(begin, end) for begin, end in stretches if end - begin >= FRAMES_PER_SECOND // 20]
    margin = int(rules.margin * FRAMES_PER_SECOND)
    padded: list[tuple[int, int]] = []
    for index, (begin, end) in enumerate(stretches):
        before = (begin - stretches[index - 1][1]) // 2 if index else begin
        after = (stretches[index + 1][0] - end + 1) // 2 if index + 1 < len(stretches) else len(speech) - end
        padded.append((begin - min(margin, before), end + min(margin, after)))
    return padded


def _split(begin: int, end: int, energies: np.ndarray, longest: int) -> list[tuple[int, int]]:
    """Cut a range into pieces of at most `longest` frames, each at the quietest 50 ms of its second half."""
    pieces: list[tuple[int, int]] = []
    while end - begin > longest:
        low = begin + longest // 2
        smooth = np.convolve(energies[low : begin + longest], np.full(5, 0.2), mode="same")
        # The convolution pads with 0 dB, which is loud, so the edges are never the quietest.
        cut = low + int(np.argmin(smooth[:-1])) + 1
        pieces.append((begin, cut))
        begin = cut
    pieces.append((begin, end))
    return pieces
