"""Long recordings in windows: which samples each window reads, and which of its frames are kept.

A recording longer than one window is read in windows of equal length that overlap. Each gives the frames of its
centre and lends `context` frames on either side, where the model sees too little of the neighbourhood. Windows start
on multiples of the frame stride, so every kept frame has exactly the samples that it would have in the whole
recording, and together the kept frames are all its frames, each once. Memory therefore depends on the window, not on
the recording. What differs from one pass over the whole is attention beyond the window, and in the group-norm family
the first layer's statistics.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from wav2vec2.audio import SAMPLE_RATE, normalize_waveform
from wav2vec2.errors import UserError
from wav2vec2.model.architecture import Architecture
from wav2vec2.recordings import Recording, Waveform

_NORMALIZATION_EPS = 1e-5
_STATISTICS_BLOCK = 60 * SAMPLE_RATE


@dataclass(frozen=True)
class Window:
    """Samples [start, start + samples) of a recording; of its frames, `keep` are kept after the first `skip`."""

    start: int
    samples: int
    skip: int
    keep: int


def plan_windows(samples: int, architecture: Architecture, *, window_frames: int, context_frames: int) -> list[Window]:
    """Cut a recording of `samples` samples; one window if it has at most `window_frames` frames, none if it has no
    frame.

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
        # The last window moves back to full length: more left context, and batches without padding.
        start = min(index * centre, total - window_frames)
        windows.append(Window(start * architecture.stride, size, first - start, last - first))
    return windows


class WindowReader:
    """Reads the windows of one recording, normalised over the whole recording where the model wants that."""

    def __init__(self, recording: Recording, windows: list[Window], *, normalize: bool) -> None:
        self._recording = recording
        self._whole = len(windows) == 1
        self._normalize = normalize
        self._scale: tuple[float, float] | None = None

    def read(self, window: Window) -> Waveform:
        """Return the window's samples, (window.samples,) float32.

        Raises UserError if the recording cannot be read, is shorter than its header says, or holds values that are
        not finite.
        """
        recording = self._recording
        waveform = np.asarray(recording.read(window.start, window.samples), dtype=np.float32)
        if len(waveform) != window.samples:
            raise UserError(
                f"{recording.name}: ends before its {recording.samples} samples; prepare or export it again"
            )
        if not np.isfinite(waveform).all():
            raise UserError(f"{recording.name}: holds values that are not finite; export it again")
        if not self._normalize:
            return waveform
        if self._whole:
            return np.asarray(normalize_waveform(waveform), dtype=np.float32)
        if self._scale is None:
            self._scale = self._statistics()
        mean, deviation = self._scale
        return ((waveform - mean) / deviation).astype(np.float32)

    def _statistics(self) -> tuple[float, float]:
        """Mean and deviation over the whole recording, as `normalize_waveform` has them, in one pass of bounded
        memory.
        """
        total = squares = 0.0
        count = 0
        for start in range(0, self._recording.samples, _STATISTICS_BLOCK):
            block = self._recording.read(start, min(_STATISTICS_BLOCK, self._recording.samples - start)).astype(
                np.float64
            )
            total, squares, count = total + block.sum(), squares + np.square(block).sum(), count + len(block)
        mean = total / max(count, 1)
        variance = max(squares / max(count, 1) - mean * mean, 0.0)
        return mean, float(np.sqrt(variance + _NORMALIZATION_EPS))


class PooledFrames:
    """What the frames of every recording of a pool say, computed in batches of similar length.

    While it works on one batch, the next is read on a thread. failures: the message for each recording (by its place)
    that could not be read.
    """

    def __init__(
        self, recordings: Sequence[Recording], windows: Callable[[int], list[Window]], *, normalize: bool
    ) -> None:
        self.failures: dict[int, str] = {}
        plans = [windows(recording.samples) for recording in recordings]
        self._readers = [
            WindowReader(recording, plan, normalize=normalize)
            for recording, plan in zip(recordings, plans, strict=True)
        ]
        self._items = [(row, place, window) for row, plan in enumerate(plans) for place, window in enumerate(plan)]
        self._parts: list[list[tuple[Tensor, ...]]] = [[()] * len(plan) for plan in plans]

    def compute(self, frames: Callable[[list[Waveform]], list[tuple[Tensor, ...]]], *, budget: int) -> None:
        """Read every window and pass it on, in batches of at most `budget` padded samples.

        frames: maps waveforms to tensors over their frames, (T, ...): best symbols and their scores as of
        `decode.greedy.best_path`, then, where wanted, log-probabilities.
        """
        plan = batches_by_length([window.samples for _, _, window in self._items], budget)
        with ThreadPoolExecutor(max_workers=1) as executor:
            coming = executor.submit(self._read, plan[0] if plan else [])
            for following in [*plan[1:], []]:
                ready = coming.result()
                coming = executor.submit(self._read, following)
                if ready:
                    self._keep([item for item, _ in ready], frames([waveform for _, waveform in ready]))

    def _read(self, batch: list[int]) -> list[tuple[int, Waveform]]:
        ready = []
        for item in batch:
            row, _, window = self._items[item]
            if row not in self.failures:
                try:
                    ready.append((item, self._readers[row].read(window)))
                except UserError as error:
                    self.failures[row] = str(error)
        return ready

    def _keep(self, items: list[int], computed: list[tuple[Tensor, ...]]) -> None:
        for item, tensors in zip(items, computed, strict=True):
            row, place, window = self._items[item]
            kept = slice(window.skip, window.skip + window.keep)
            self._parts[row][place] = tuple(tensor[kept].clone() for tensor in tensors)  # a view holds the whole batch

    def path(self, row: int) -> tuple[list[int], float]:
        """The best symbol of each frame of a recording, its windows joined, and the path's log-probability in nats."""
        parts = [part for part in self._parts[row] if part]
        symbols = [symbol for part in parts for symbol in part[0].tolist()]
        return symbols, sum(float(part[1].double().sum()) for part in parts)

    def log_probs(self, row: int, width: int) -> NDArray[np.float32]:
        """The log-probabilities of a recording's frames, its windows joined, (T, width)."""
        parts = [part[2].numpy() for part in self._parts[row] if part]
        return np.concatenate([np.empty((0, width), dtype=np.float32), *parts])


def batches_by_length(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Group indices, longest first, so that a group's padded size (longest x number) stays within `budget`, or it is
    one alone.
    """
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        if batches and lengths[batches[-1][0]] * (len(batches[-1]) + 1) <= budget:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches
