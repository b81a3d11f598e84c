"""What the model sees of a recording: its pieces (`audio.pieces`), or overlapping windows of all of it, as it is read.

A recording is decoded from its beginning to its end; only what the next cuts need is kept. Where statistics of the
whole recording are needed (the mean and variance of normalised input, and the moments of the first convolution's
windows for the group norm), it is decoded twice.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from wav2vec2.audio.normalize import normalize_waveform
from wav2vec2.audio.pieces import GRID, Piece, PieceFinder, PieceRules, longest_samples
from wav2vec2.audio.recordings import AnyRecording, Failure, Waveform
from wav2vec2.errors import UserError
from wav2vec2.inference.windows import Statistics, WindowSizes
from wav2vec2.model.architecture import Architecture
from wav2vec2.model.window_moments import WindowMoments


@dataclass(frozen=True)
class Cut:
    """A part of a recording. The model sees `waveform`, and gives frames: `skip` are dropped, the next `keep` kept.

    start: the sample where the first kept frame begins. joined: the kept frames follow those of the cut
    before it, and a word may lie across. heard: samples of the recording that are done with this cut, since the one
    before. moments: statistics for the group norm, if not those of the waveform itself.
    """

    recording: AnyRecording
    waveform: Waveform
    start: int
    skip: int
    keep: int
    joined: bool = False
    heard: int = 0
    moments: WindowMoments | None = None


@dataclass(frozen=True)
class Ended:
    """The end of a recording. heard: samples after its last cut."""

    recording: AnyRecording
    heard: int


@dataclass(frozen=True)
class CutRules:
    """How recordings are cut. pieces: None for windows over all of a recording, with its statistics.

    statistics: of what input is normalised, and the first layer's group norm: each piece, or the whole recording.
    """

    architecture: Architecture
    sizes: WindowSizes
    pieces: PieceRules | None = None
    statistics: Statistics = "piece"


def cuts(recording: AnyRecording | Failure, rules: CutRules) -> Iterator[Cut | Ended | Failure]:
    """Yield the cuts of a recording and its end, or a Failure where it cannot be read."""
    if isinstance(recording, Failure):
        yield recording
        return
    # Pieces lie on a grid of samples that some unusual models do not share.
    by_pieces = rules.pieces is not None and rules.architecture.stride == GRID
    heard = 0
    try:
        for cut in _pieces(recording, rules) if by_pieces else _windows(recording, rules):
            heard += cut.heard
            yield cut
    except UserError as error:
        yield Failure(recording.name, str(error))
        return
    yield Ended(recording, recording.samples - heard)


class _Ring:
    """The last samples of a stream, by their place in the recording."""

    def __init__(self) -> None:
        self._samples = np.zeros(0, np.float32)
        self._begin = 0

    @property
    def end(self) -> int:
        return self._begin + len(self._samples)

    def push(self, block: Waveform, needed_from: int) -> None:
        """Add a block, and forget what lies before `needed_from`."""
        passed = min(max(0, needed_from - self._begin), len(self._samples))
        self._samples = np.concatenate([self._samples[passed:], block])
        self._begin += passed

    def read(self, start: int, samples: int) -> Waveform:
        return self._samples[start - self._begin : start - self._begin + samples].copy()


class _Whole:
    """Statistics of a recording, gathered block by block; all sums in float64."""

    def __init__(self, architecture: Architecture) -> None:
        self._architecture = architecture
        kernel = architecture.conv_kernels[0]
        self._stride, self._products = architecture.conv_strides[0], torch.zeros(kernel + 1, kernel + 1).double()
        self._kernel = kernel
        self._rest = np.zeros(0, np.float32)
        self._sum = self._squares = 0.0
        self.samples = 0

    def push(self, block: Waveform) -> None:
        wide = block.astype(np.float64)
        self._sum, self._squares = self._sum + float(wide.sum()), self._squares + float(np.square(wide).sum())
        self.samples += len(block)
        if self._architecture.conv_norm == "group":
            joined = np.concatenate([self._rest, block])
            self._products += WindowMoments.of(torch.from_numpy(joined), self._architecture).products
            windows = max(0, (len(joined) - self._kernel) // self._stride + 1)
            self._rest = joined[windows * self._stride :]

    def normalized(self, waveform: Waveform) -> Waveform:
        """Normalise a part with the mean and variance of the whole, if the model expects normalised input."""
        if self._architecture.normalization_epsilon is None:
            return waveform
        mean, deviation = self._scale()
        return np.asarray((waveform - mean) / deviation, dtype=np.float32)

    def moments(self) -> WindowMoments | None:
        """The moments of all windows, of the samples as the model sees them; None where it has no use for them."""
        if self._architecture.conv_norm != "group" or not self._products[-1, -1]:
            return None
        if self._architecture.normalization_epsilon is None:
            return WindowMoments(self._products)
        mean, deviation = self._scale()
        change = torch.eye(self._kernel + 1, dtype=torch.float64) / deviation
        change[-1] = -mean / deviation
        change[-1, -1] = 1.0
        return WindowMoments(change.T @ self._products @ change)

    def _scale(self) -> tuple[float, float]:
        mean = self._sum / max(self.samples, 1)
        variance = max(self._squares / max(self.samples, 1) - mean * mean, 0.0)
        return mean, float(np.sqrt(variance + (self._architecture.normalization_epsilon or 0.0)))


def _own(waveform: Waveform, architecture: Architecture) -> Waveform:
    """Normalise a part by its own statistics, if the model expects normalised input."""
    epsilon = architecture.normalization_epsilon
    return waveform if epsilon is None else np.asarray(normalize_waveform(waveform, epsilon), dtype=np.float32)


def _beginning(blocks: Iterator[Waveform], longest: int) -> tuple[list[Waveform], bool]:
    """Read until there are more than `longest` samples; returns the blocks, and whether the recording ended before."""
    found: list[Waveform] = []
    samples = 0
    for block in blocks:
        found.append(block)
        samples += len(block)
        if samples > longest:
            return found, False
    return found, True


def _one(recording: AnyRecording, blocks: list[Waveform], architecture: Architecture) -> Iterator[Cut]:
    """A short recording as it is; nothing if it has no frame."""
    waveform = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
    if frames := architecture.frame_length(len(waveform)):
        yield Cut(recording, _own(waveform, architecture), 0, 0, frames, heard=len(waveform))


def _measured(blocks: Iterator[Waveform], beginning: list[Waveform], architecture: Architecture) -> _Whole:
    """Read a recording to its end for its statistics."""
    statistics = _Whole(architecture)
    for block in beginning:
        statistics.push(block)
    for block in blocks:
        statistics.push(block)
    return statistics


def _windows(recording: AnyRecording, rules: CutRules) -> Iterator[Cut]:
    a = rules.architecture
    blocks = recording.blocks()
    window_frames, _ = rules.sizes.in_frames(a)
    beginning, ended = _beginning(blocks, (window_frames - 1) * a.stride + a.receptive_field)
    if ended:
        yield from _one(recording, beginning, a)
        return
    statistics = _measured(blocks, beginning, a)
    moments, ring = statistics.moments(), _Ring()
    blocks, heard = recording.blocks(), 0
    for window in rules.sizes.plan(statistics.samples, a):
        while ring.end < window.start + window.samples:
            block = next(blocks, None)
            if block is None:
                raise UserError(f"{recording.name}: has changed while it was read; try again")
            ring.push(block, window.start)
        start = window.start + window.skip * a.stride
        done = min(start + window.keep * a.stride, statistics.samples)
        waveform = statistics.normalized(ring.read(window.start, window.samples))
        yield Cut(recording, waveform, start, window.skip, window.keep, start > 0, heard=done - heard, moments=moments)
        heard = done
    for _ in blocks:  # to the end, where warnings are known
        pass


def _pieces(recording: AnyRecording, rules: CutRules) -> Iterator[Cut]:
    assert rules.pieces is not None
    a = rules.architecture
    blocks = recording.blocks()
    beginning, ended = _beginning(blocks, longest_samples(rules.pieces))
    if ended:
        yield from _one(recording, beginning, a)
        return
    statistics = None
    if rules.statistics == "recording":
        statistics = _measured(blocks, beginning, a)
        blocks, beginning = recording.blocks(), []
    moments = None if statistics is None else statistics.moments()
    ring, heard = _Ring(), 0
    for piece in _found(_chained(beginning, blocks), PieceFinder(rules.pieces), ring):
        if cut := _cut(recording, piece, ring, a, statistics, moments, heard):
            heard += cut.heard
            yield cut


def _found(blocks: Iterator[Waveform], finder: PieceFinder, ring: _Ring) -> Iterator[Piece]:
    """Yield the pieces as they are found; `ring` holds their samples until the next one is asked for."""
    for block in blocks:
        ring.push(block, finder.needed_from)
        yield from finder.push(block)
    yield from finder.finish()


def _chained(first: list[Waveform], rest: Iterator[Waveform]) -> Iterator[Waveform]:
    while first:
        yield first.pop(0)
    yield from rest


def _cut(
    recording: AnyRecording,
    piece: Piece,
    ring: _Ring,
    a: Architecture,
    statistics: _Whole | None,
    moments: WindowMoments | None,
    heard: int,
) -> Cut | None:
    """The piece with its context; None if it has no frame."""
    waveform = ring.read(piece.start - piece.before, piece.before + piece.samples + piece.after)
    skip = piece.before // a.stride
    keep = piece.samples // a.stride if piece.after else a.frame_length(len(waveform)) - skip
    if keep <= 0:
        return None
    shown = _own(waveform, a) if statistics is None else statistics.normalized(waveform)
    end = piece.start + piece.samples
    return Cut(recording, shown, piece.start, skip, keep, piece.joined, max(0, end - heard), moments)
