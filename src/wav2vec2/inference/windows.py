"""How recordings are cut: settings of pieces, and overlapping windows of everything.

All windows of a recording have the same length. A window contributes the frames of its centre; the `context` frames at
either end, where the model sees too little of the neighbourhood, are discarded. Windows start on multiples of the frame
stride, so that each kept frame covers exactly the samples it has in the whole recording, and every frame is kept once.
Memory therefore depends on the length of the window, not of the recording. With the statistics of the whole recording
(`inference.cuts`) the feature encoder gives what it gives in a single pass; attention ends at the window.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeAlias

from wav2vec2.audio.pieces import SHORTEST_LONGEST, PieceRules, suited_margin, suited_pause
from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.decode.presets import Preset
from wav2vec2.errors import UserError
from wav2vec2.model.architecture import Architecture


@dataclass(frozen=True)
class WindowSizes:
    """Seconds of padded audio in a batch, of a window, and of the context at either end of it.

    batch: None for what suits the device. Raises UserError for impossible sizes.
    """

    batch: float | None = None
    window: float = 30.0
    context: float = 4.0

    def __post_init__(self) -> None:
        if not (0 < self.batch_on("cpu") < math.inf and 0 <= 2 * self.context < self.window < math.inf):
            raise UserError("batch_seconds must be positive and window_seconds more than twice context_seconds")

    def batch_on(self, device_type: str) -> float:
        """Return the seconds of a batch. On a CPU smaller ones are as fast and need less memory."""
        suited = 20.0 if device_type == "cpu" else 60.0
        return suited if self.batch is None else self.batch

    def batch_samples(self, device_type: str) -> int:
        """Return the samples of a batch on a device, padding included, at most."""
        return int(self.batch_on(device_type) * SAMPLE_RATE)

    def in_frames(self, architecture: Architecture) -> tuple[int, int]:
        """Return the frames of a window, and of the context at either end of it."""
        per_second = SAMPLE_RATE / architecture.stride
        context = round(self.context * per_second)
        window = max(round(self.window * per_second), 2 * context + 1)
        # Half the kernel of the positional convolution (1.28 s): with less, kept frames would see padding.
        least = architecture.pos_conv_kernel // 2
        return window, max(context, least) if window > 4 * least else context

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


Statistics: TypeAlias = Literal["piece", "recording"]

LONGEST_UNKNOWN = 20.0
"""Seconds of the longest piece for a model that does not say what it has heard. Nearly all utterances of LibriSpeech,
with which most published models were fine-tuned, are shorter."""


@dataclass(frozen=True)
class PieceSettings:
    """See `ComputeOptions`; all lengths in seconds. None: not chosen."""

    pieces: Literal["speech", "none"] = "speech"
    longest: float | None = None
    pause: float | None = None
    margin: float | None = None
    statistics: Statistics | None = None

    @classmethod
    def of(cls, preset: Preset) -> "PieceSettings":
        """Return what a preset says."""
        return cls(pause=preset.pause, margin=preset.margin, statistics=preset.statistics)

    def over(self, other: "PieceSettings") -> "PieceSettings":
        """Return these settings, and those of `other` where nothing is chosen here."""
        return PieceSettings(
            self.pieces,
            other.longest if self.longest is None else self.longest,
            other.pause if self.pause is None else self.pause,
            other.margin if self.margin is None else self.margin,
            self.statistics or other.statistics,
        )

    def rules(self, longest_heard: float | None, sizes: WindowSizes) -> PieceRules | None:
        """Return the rules for a model, None for windows over everything. Raises UserError for impossible values.

        longest_heard: see `Wav2Vec2ForCTC`.
        """
        longest = self.longest
        if longest is None:
            longest = max(SHORTEST_LONGEST, min(longest_heard or LONGEST_UNKNOWN, sizes.window))
        pause = suited_pause(longest) if self.pause is None else self.pause
        margin = suited_margin(longest) if self.margin is None else self.margin
        rules = PieceRules(longest, pause, margin, sizes.context)
        return rules if self.pieces == "speech" else None


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
