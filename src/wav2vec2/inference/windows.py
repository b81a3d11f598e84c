"""Split long recordings into overlapping windows: which samples a window reads, and which of its frames are kept.

All windows of a recording have the same length. A window contributes the frames of its centre; the `context` frames at
either end, where the model sees too little of the neighbourhood, are discarded. Windows start on multiples of the frame
stride, so that each kept frame covers exactly the samples it has in the whole recording, and every frame is kept once.
Memory therefore depends on the length of the window, not of the recording. The result differs from a single pass over
the recording in two ways: attention ends at the window, and so do the statistics of the group-norm family's first
layer.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from wav2vec2.audio.normalize import normalize_waveform
from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.audio.recordings import Recording, Waveform
from wav2vec2.errors import UserError
from wav2vec2.model.architecture import Architecture

_STATISTICS_BLOCK = 60 * SAMPLE_RATE


@dataclass(frozen=True)
class WindowSizes:
    """Seconds of padded audio in a batch, of a window, and of the context at either end of it.

    Raises UserError for impossible sizes.
    """

    batch: float = 60.0
    window: float = 30.0
    context: float = 4.0

    def __post_init__(self) -> None:
        if not (0 < self.batch < math.inf and 0 <= 2 * self.context < self.window < math.inf):
            raise UserError("batch_seconds must be positive and window_seconds more than twice context_seconds")

    @property
    def batch_samples(self) -> int:
        """Samples of a batch, padding included, at most."""
        return int(self.batch * SAMPLE_RATE)

    def in_frames(self, architecture: Architecture) -> tuple[int, int]:
        """Return the frames of a window, and of the context at either end of it."""
        per_second = SAMPLE_RATE / architecture.stride
        context = round(self.context * per_second)
        return max(round(self.window * per_second), 2 * context + 1), context

    def plan(self, samples: int, architecture: Architecture) -> "list[Window]":
        """Return the windows of a recording of `samples` samples (see `plan_windows`)."""
        window, context = self.in_frames(architecture)
        return plan_windows(samples, architecture, window_frames=window, context_frames=context)


@dataclass(frozen=True)
class Window:
    """Samples [start, start + samples) of a recording; the first `skip` frames are discarded, the next `keep` kept."""

    start: int
    samples: int
    skip: int
    keep: int


def plan_windows(samples: int, architecture: Architecture, *, window_frames: int, context_frames: int) -> list[Window]:
    """Split a recording of `samples` samples; one window if that has enough frames, none if there is no frame.

    Raises ValueError unless context_frames >= 0 and window_frames > 2 * context_frames.
    """
    if context_frames < 0 or window_frames <= 2 * context_frames:
        raise ValueError("a window must be longer than its context on both sides")
    total = architecture.frame_length(samples)
    if total == 0:
        return []
    if total <= window_frames:
        return [Window(0, samples, 0, total)]
    centre = window_frames - 2 * context_frames
    count = -(-(total - window_frames) // centre) + 1
    size = (window_frames - 1) * architecture.stride + architecture.receptive_field
    edges = [0, *(index * centre + context_frames for index in range(1, count)), total]
    windows = []
    for index, (first, last) in enumerate(pairwise(edges)):
        # The last window starts earlier so that it has full length: more left context, no padding in batches.
        start = min(index * centre, total - window_frames)
        windows.append(Window(start * architecture.stride, size, first - start, last - first))
    return windows


class WindowReader:
    """Reads the windows of one recording; with `epsilon`, to zero mean and unit variance over the whole recording."""

    def __init__(self, recording: Recording, windows: list[Window], *, epsilon: float | None) -> None:
        self._recording = recording
        self._whole = len(windows) == 1
        self._epsilon = epsilon
        self._scale: tuple[float, float] | None = None

    def read(self, window: Window) -> Waveform:
        """Return the window's samples, (window.samples,) float32.

        Raises UserError if the recording cannot be read, is shorter than announced, or holds values that are not
        finite.
        """
        recording = self._recording
        waveform = np.asarray(recording.read(window.start, window.samples), dtype=np.float32)
        if len(waveform) != window.samples:
            raise UserError(
                f"{recording.name}: ends before its {recording.samples} samples; prepare or export it again"
            )
        if not np.isfinite(waveform).all():
            raise UserError(f"{recording.name}: holds values that are not finite; export it again")
        if self._epsilon is None:
            return waveform
        if self._whole:
            return np.asarray(normalize_waveform(waveform, self._epsilon), dtype=np.float32)
        if self._scale is None:
            self._scale = self._statistics(self._epsilon)
        mean, deviation = self._scale
        return ((waveform - mean) / deviation).astype(np.float32)

    def _statistics(self, epsilon: float) -> tuple[float, float]:
        """Mean and standard deviation of the recording, as in `normalize_waveform`, read block by block."""
        total = squares = 0.0
        count = 0
        for start in range(0, self._recording.samples, _STATISTICS_BLOCK):
            block = self._recording.read(start, min(_STATISTICS_BLOCK, self._recording.samples - start)).astype(
                np.float64
            )
            total, squares, count = total + block.sum(), squares + np.square(block).sum(), count + len(block)
        mean = total / max(count, 1)
        variance = max(squares / max(count, 1) - mean * mean, 0.0)
        return mean, float(np.sqrt(variance + epsilon))


def batches_by_length(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Group indices, longest first, so that the padded size of a group (longest times number) is at most `budget`.

    A length above the budget is a group of its own.
    """
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        if batches and lengths[batches[-1][0]] * (len(batches[-1]) + 1) <= budget:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches
