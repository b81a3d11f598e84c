"""What one run measured, and the numbers that follow from it."""

import statistics
from dataclasses import dataclass

from wav2vec2.train.benchmark.reading import Heard


@dataclass(frozen=True)
class Sides:
    """Seconds and CPU seconds of every turn of each side, and its memory in bytes at the peak."""

    turns: dict[str, list[tuple[float, float]]]
    peaks: dict[str, int]

    @property
    def peer(self) -> str | None:
        """The other side, if there is one."""
        return next((side for side in self.turns if side != "wav2vec2"), None)

    def ratio(self, which: int) -> float:
        """Median over batches of the peer's seconds (0) or CPU seconds (1) by ours."""
        ours, theirs = self.turns["wav2vec2"], self.turns[self.peer or "wav2vec2"]
        return statistics.median(b[which] / a[which] for a, b in zip(ours, theirs, strict=True))


@dataclass(frozen=True)
class Result:
    """One setting of the allocator. Every list has an entry for each batch."""

    keeps_freed_memory: bool
    audio: list[float]
    """Seconds of audio in a step."""
    shapes: list[list[int]]
    """Samples of each utterance."""
    repeat: int
    """Steps of a turn."""
    sides: Sides
    ceiling: float
    """Operations a second in plain products."""
    parts: dict[str, float]
    """Seconds of each part and direction of a step of ours."""
    operations: list[dict[str, tuple[float, float]]] | None
    """Operations of each part, forward and backward; None for a variant of the model."""
    heard: Heard | None
    """Steps on a manifest's audio as it was read."""

    def speed(self, side: str = "wav2vec2") -> float:
        """Median seconds of audio a second."""
        taken = self.sides.turns[side]
        return statistics.median(a * self.repeat / t[0] for a, t in zip(self.audio, taken, strict=True))

    @property
    def step_seconds(self) -> float:
        """Median seconds of a step of ours."""
        return statistics.median(t[0] / self.repeat for t in self.sides.turns["wav2vec2"])

    @property
    def padding(self) -> float:
        """Share of the samples that are padding."""
        held = sum(map(sum, self.shapes))
        return 1.0 - held / sum(len(one) * max(one) for one in self.shapes)

    @property
    def flops_per_audio_second(self) -> float | None:
        """Operations of a step for a second of its audio."""
        if self.operations is None:
            return None
        return sum(sum(map(sum, step.values())) for step in self.operations) / sum(self.audio)

    @property
    def flops_per_second(self) -> float | None:
        """Operations that the model needs, by the time that its steps take."""
        per_second = self.flops_per_audio_second
        return None if per_second is None else per_second * self.speed()

    def share_of_flops(self, part: str, direction: int) -> float:
        """Share of a part's forward (0) or backward (1) pass in all operations."""
        assert self.operations is not None
        everything = sum(sum(map(sum, step.values())) for step in self.operations)
        return sum(step[part][direction] for step in self.operations) / everything
