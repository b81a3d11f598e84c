"""Long recordings cut at pauses: a voice activity detector of signal energy, and Silero's as an extra.

Energies are those of 25 ms windows every 10 ms. Speech is what stands clear of the recording's own noise floor; pauses
between are where cuts may fall. Long silence is left out, a margin around speech is kept.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.errors import UserError

HOP = 160
WINDOW = 400
FRAMES_PER_SECOND = SAMPLE_RATE // HOP

_INAUDIBLE = -75.0  # dB

Detector = Literal["energy", "silero"]


@dataclass(frozen=True)
class Segmentation:
    """How long recordings are cut. All times in seconds.

    A segment is at most `longest` and, if the pauses allow, not under `shortest`. A pause lasts at least `pause`; of
    silence longer than twice `margin` only a margin on either side of speech is kept.
    """

    longest: float = 30.0
    shortest: float = 1.0
    pause: float = 0.2
    margin: float = 0.25


def frame_energies(waveform: np.ndarray) -> np.ndarray:
    """Energy in dB (full-scale square wave = 0) of a waveform's 10 ms frames: float32 (ceil(samples/160),).

    Each frame's window of 400 samples begins with it; the last ones are shorter.
    """
    squares = np.concatenate([[0.0], np.cumsum(waveform.astype(np.float64) ** 2)])
    begins = np.arange(0, len(waveform), HOP)
    ends = np.minimum(begins + WINDOW, len(waveform))
    power = (squares[ends] - squares[begins]) / np.maximum(ends - begins, 1)
    return np.asarray(10.0 * np.log10(np.maximum(power, 1e-10)), dtype=np.float32)


def speech_by_energy(energies: np.ndarray) -> np.ndarray:
    """Which frames hold speech, bool (frames,): those over a threshold between the noise floor and the loud parts.

    The floor is followed in windows of half a minute, so a change of the background does not spoil the rest of a file.
    """
    speech = np.zeros(len(energies), dtype=bool)
    window = 30 * FRAMES_PER_SECOND
    loud = float(np.percentile(energies, 95)) if len(energies) else 0.0
    for begin in range(0, len(energies), window):
        around = energies[max(0, begin - window // 2) : begin + window + window // 2]
        floor = float(np.percentile(around, 5))
        # A third of the way up and at least 6 dB, but under the loud parts: a recording without pauses is all speech.
        over_floor = min(floor + max(6.0, (loud - floor) / 3), loud - 6.0)
        threshold = max(over_floor, loud - 35.0, _INAUDIBLE)
        speech[begin : begin + window] = energies[begin : begin + window] > threshold
    return speech


def speech_by_silero(waveform: np.ndarray, model: Any) -> np.ndarray:
    """Which 10 ms frames hold speech, bool (ceil(samples/160),), by the Silero network (`load_silero`)."""
    import silero_vad
    import torch

    spans = silero_vad.get_speech_timestamps(torch.from_numpy(waveform), model, sampling_rate=SAMPLE_RATE)
    speech = np.zeros(-(-len(waveform) // HOP), dtype=bool)
    for span in spans:
        speech[span["start"] // HOP : -(-span["end"] // HOP)] = True
    return speech


def load_silero() -> Any:
    """The Silero voice activity network. Raises UserError when the extra is not installed."""
    try:
        import silero_vad
    except ImportError:
        raise UserError("--vad silero: needs the extra wav2vec2[silero]: install it or use --vad energy") from None
    return silero_vad.load_silero_vad()


def pause_segments(
    speech: np.ndarray, energies: np.ndarray, samples: int, rules: Segmentation = Segmentation()
) -> list[tuple[int, int]]:
    """Cut a recording into segments, as (start, samples) at 16 kHz, in order and without overlap.

    Args:
        speech: which 10 ms frames hold speech.
        energies: their energies in dB; where no pause comes in time, the cut falls on the quietest frame.
        samples: length of the recording.
        rules: the lengths wanted.

    Neighbouring stretches of speech are joined while they fit into `rules.longest` and the pause between them is
    shorter than a second. A recording without any speech has no segments.
    """
    longest = max(2, int(rules.longest * FRAMES_PER_SECOND))
    spans = _stretches(speech, rules)
    pieces = [piece for begin, end in spans for piece in _split(begin, end, energies, longest)]
    joined: list[tuple[int, int]] = []
    for begin, end in pieces:
        if joined:
            last_begin, last_end = joined[-1]
            # A short remainder joins its neighbour even over a long silence; else a second of silence ends a segment.
            short = min(end - begin, last_end - last_begin) < rules.shortest * FRAMES_PER_SECOND
            if end - last_begin <= longest and (begin - last_end < FRAMES_PER_SECOND or short):
                joined[-1] = (last_begin, end)
                continue
        joined.append((begin, end))
    return [(begin * HOP, min(end * HOP, samples) - begin * HOP) for begin, end in joined if begin * HOP < samples]


def _stretches(speech: np.ndarray, rules: Segmentation) -> list[tuple[int, int]]:
    """Frame ranges of speech, with pauses under `rules.pause` filled and margins added, not overlapping."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], speech, [False]]).astype(np.int8)))
    stretches: list[tuple[int, int]] = []
    pause = int(rules.pause * FRAMES_PER_SECOND)
    for begin, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if stretches and begin - stretches[-1][1] < pause:
            stretches[-1] = (stretches[-1][0], end)
        else:
            stretches.append((begin, end))
    # Clicks: nothing under 50 ms is speech.
    stretches = [(begin, end) for begin, end in stretches if end - begin >= FRAMES_PER_SECOND // 20]
    margin = int(rules.margin * FRAMES_PER_SECOND)
    padded: list[tuple[int, int]] = []
    for index, (begin, end) in enumerate(stretches):
        before = (begin - stretches[index - 1][1]) // 2 if index else begin
        after = (stretches[index + 1][0] - end + 1) // 2 if index + 1 < len(stretches) else len(speech) - end
        padded.append((begin - min(margin, before), end + min(margin, after)))
    return padded


def _split(begin: int, end: int, energies: np.ndarray, longest: int) -> list[tuple[int, int]]:
    """Pieces of at most `longest` frames, cut at the quietest place (over 50 ms) in the second half of each."""
    pieces: list[tuple[int, int]] = []
    while end - begin > longest:
        low = begin + longest // 2
        smooth = np.convolve(energies[low : begin + longest], np.full(5, 0.2), mode="same")
        # mode "same" sees zeros (loud) beyond the edges, so the edges are never the quietest.
        cut = low + int(np.argmin(smooth[:-1])) + 1
        pieces.append((begin, cut))
        begin = cut
    pieces.append((begin, end))
    return pieces
