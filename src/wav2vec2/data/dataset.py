"""The data loader: worker processes read the planned batches as micro-batches of padded waveforms, in planned order.

Workers are sent rows of the manifest, never the manifest, and keep no decoded audio (except in ``DecodedAudio``): each
crop is read from its file or byte range when it is needed. A file that cannot be read leaves its row out of the batch
and is reported; the other rows keep their index in the global batch.
"""

import dataclasses
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from wav2vec2.audio.normalize import normalize_waveform
from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.audio.recordings import Waveform
from wav2vec2.data.decoded_audio import DecodedAudio
from wav2vec2.data.edges import Edges
from wav2vec2.data.locality import deal_home, homes
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.sampler import GlobalBatch, Integers, Plan, Position, deal
from wav2vec2.data.utterance import Utterance
from wav2vec2.data.waveforms import Fetched, fetch, read_utterance
from wav2vec2.device import moved
from wav2vec2.errors import UserError, cause

Batch = TypeVar("Batch", covariant=True)


@dataclass(frozen=True)
class Row:
    """One row of a micro-batch: what a worker needs to read it."""

    utterance: Utterance
    row: int
    """Index in the global batch."""
    start: int
    """First sample of the crop, counted from the utterance's beginning."""
    samples: int
    """Length of the crop."""
    index: int = 0
    """The utterance's row in the manifest."""
    edges: Edges | None = None
    """What becomes of the silence at its ends; then the crop is the whole utterance."""


@dataclass(frozen=True)
class MicroBatch:
    """The rows that one rank reads for one forward pass, possibly none. Legend: B rows, S samples of the longest."""

    waveforms: Tensor
    """(B, S) float32, zero beyond each row's length."""
    lengths: Tensor
    """(B,) int64, in samples."""
    rows: Tensor
    """(B,) int64, index of each row in the global batch."""
    ids: tuple[str, ...]
    texts: tuple[str | None, ...]
    bad: tuple[str, ...] = ()
    """One line for each row that could not be read."""
    full: bool = False
    """Whether all rows are as long as the waveforms. Nothing is padded then, and no mask is needed."""
    absent: bool = False
    """Whether the rows are a stand-in, whose results do not count."""
    static: bool = False
    """Whether this shape is one of the few that the plan repeats (``batch.buckets``)."""

    @property
    def amount(self) -> Tensor:
        """Seconds of audio, without padding."""
        return self.lengths.sum() / SAMPLE_RATE

    @property
    def padded_amount(self) -> float:
        """Seconds of audio, with padding."""
        return self.waveforms.numel() / SAMPLE_RATE

    def stand_in(self) -> "MicroBatch":
        """Return a second of made-up sound, for a process without rows to take part in a pass of all."""
        rows, samples = self.rows.new_zeros(1), torch.arange(SAMPLE_RATE, device=self.rows.device)
        waveform = (0.37 * samples).sin()[None].to(self.waveforms.dtype)
        return MicroBatch(waveform, rows + SAMPLE_RATE, rows, ids=("",), texts=("",), absent=True)

    def pin_memory(self) -> "MicroBatch":
        """Return a copy in page-locked memory; torch's loader calls it on CUDA machines."""
        pinned = {name: getattr(self, name).pin_memory() for name in ("waveforms", "lengths", "rows")}
        return dataclasses.replace(self, **pinned)

    def to(self, device: torch.device, dtype: torch.dtype = torch.float32) -> Self:
        """Return the batch on a device, its waveforms in ``dtype``."""
        return dataclasses.replace(
            self,
            waveforms=self.waveforms.to(device, dtype, non_blocking=True),
            lengths=moved(self.lengths, device),
            rows=moved(self.rows, device),
        )


@dataclass(frozen=True)
class Update(Generic[Batch]):
    """One rank's micro-batches of one global batch. ``following`` is the position of the next global batch."""

    micro_batches: Sequence[Batch]
    following: Position


@dataclass(frozen=True)
class _Request:
    rows: tuple[Row, ...]
    last: bool
    following: Position
    length: int | None = None
    static: bool = False


class _Reader(Dataset[tuple[MicroBatch, bool, Position]]):
    """Reads the micro-batch of a request; the only object that is sent to the workers."""

    def __init__(self, epsilon: float | None, decoded: DecodedAudio | None) -> None:
        self._epsilon, self._decoded = epsilon, decoded

    def __getitem__(self, request: Any) -> tuple[MicroBatch, bool, Position]:
        batch = read_rows(request.rows, epsilon=self._epsilon, decoded=self._decoded, length=request.length)
        batch = dataclasses.replace(batch, static=request.static and not batch.bad)
        return batch, request.last, request.following


def read_rows(
    rows: tuple[Row, ...], *, epsilon: float | None, decoded: DecodedAudio | None = None, length: int | None = None
) -> MicroBatch:
    """Read rows and pad them to the longest, or to ``length``.

    Args:
        rows: what to read.
        epsilon: give each whole utterance zero mean and unit variance before it is cropped; None: leave it as it is.
        decoded: where decoded utterances are kept, if anywhere.
        length: samples of the padded rows; None: as many as the longest has.
    """
    kept: list[tuple[Row, Waveform]] = []
    bad: list[str] = []
    fetched = fetch(row.utterance for row in rows if decoded is None or not decoded.has(row.index))
    for row in rows:
        try:
            kept.append((row, _read_row(row, epsilon, decoded, fetched)))
        except UserError as error:
            bad.append(f"{row.utterance.id}: {error}")
    lengths = [len(waveform) for _, waveform in kept]
    waveforms = torch.zeros(len(kept), max(lengths, default=0) if length is None else length)
    for index, (_, waveform) in enumerate(kept):
        waveforms[index, : len(waveform)] = torch.from_numpy(waveform)
    return MicroBatch(
        waveforms=waveforms,
        lengths=torch.tensor(lengths, dtype=torch.int64),
        rows=torch.tensor([row.row for row, _ in kept], dtype=torch.int64),
        ids=tuple(row.utterance.id for row, _ in kept),
        texts=tuple(row.utterance.text for row, _ in kept),
        bad=tuple(bad),
        full=all(samples == waveforms.shape[1] for samples in lengths),
    )


def _read_row(row: Row, epsilon: float | None, decoded: DecodedAudio | None, fetched: Fetched) -> Waveform:
    if epsilon is None and decoded is None and row.edges is None:
        piece = dataclasses.replace(row.utterance, start=row.utterance.start + row.start, samples=row.samples)
        return read_utterance(piece, fetched)
    if decoded is None:
        whole = read_utterance(row.utterance, fetched)
    else:
        whole = decoded.waveform(row.index, lambda: read_utterance(row.utterance, fetched))
    whole = whole if row.edges is None else row.edges.of(whole, row.utterance.text)
    whole = whole if epsilon is None else normalize_waveform(whole, epsilon)
    return np.ascontiguousarray(whole[row.start : row.start + row.samples] if row.edges is None else whole)


@dataclass
class UpdateLoader:
    """Yields an :class:`Update` for each global batch of a plan, read ahead by ``workers`` processes (0: this process).

    Call :meth:`updates` once; the processes live as long as the iterator.
    """

    manifest: Manifest
    plan: Plan
    epsilon: float | None
    rank: int = 0
    world: int = 1
    workers: int = 1
    prefetch: int = 4
    """Micro-batches that each worker reads ahead."""
    pin_memory: bool = False
    decoded: DecodedAudio | None = None
    near: int = 0
    """Ranks of a node, if files are to be read by the same node again; 0: that does not matter."""
    unit: str = "seconds"

    def updates(self, position: Position) -> Iterator[Update[MicroBatch]]:
        """Yield updates without end, from a position on."""
        micro_batches: list[MicroBatch] = []
        for micro_batch, last, following in self._batches(_Requests(self, position)):
            micro_batches.append(micro_batch)
            if last:
                yield Update(micro_batches, following)
                micro_batches = []

    def _batches(self, requests: "_Requests") -> Iterator[tuple[MicroBatch, bool, Position]]:
        loader: DataLoader[Any] = DataLoader(
            _Reader(self.epsilon, self.decoded),
            sampler=requests,
            batch_size=None,
            num_workers=self.workers,
            prefetch_factor=self.prefetch if self.workers else None,
            worker_init_fn=prepare_worker,
            pin_memory=self.pin_memory,
        )
        try:
            yield from loader
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise UserError(
                f"a process that reads audio died, most often for lack of memory ({cause(error)}); lower batch.workers "
                "or batch.prefetch, or give the machine more shared memory (/dev/shm), and run the same command again"
            ) from None

    def requests(self, position: Position) -> Iterator[_Request]:
        """Yield this rank's requests without end, planned one global batch at a time."""
        for batch in self.plan.walk(position):
            shares = self._shares(batch)
            for number, share in enumerate(shares):
                rows = tuple(
                    Row(
                        self.manifest.utterance(int(batch.utterances[row])),
                        int(row),
                        int(batch.starts[row]),
                        int(batch.samples[row]),
                        int(batch.utterances[row]),
                        batch.edges[row] if batch.edges else None,
                    )
                    for row in share
                )
                static = batch.length is not None and len(rows) == len(range(self.rank, batch.group_rows, self.world))
                yield _Request(rows, number == len(shares) - 1, batch.following, batch.length, static)

    def _shares(self, batch: GlobalBatch) -> list[Integers]:
        if not self.near or self.world <= self.near or self.world % self.near:
            return deal(batch.groups, self.rank, self.world)
        paths = [self.manifest.path(int(row)) for row in batch.utterances]
        home = homes(paths, self.world // self.near)
        return deal_home(batch.groups, home, self.rank, self.world, self.near)


class _Requests(Sampler[_Request]):
    """The endless sampler from which torch's DataLoader takes requests, in the main process."""

    def __init__(self, loader: UpdateLoader, position: Position) -> None:
        self._loader, self._position = loader, position

    def __iter__(self) -> Iterator[_Request]:
        return self._loader.requests(self._position)


def prepare_worker(_: int) -> None:
    """Limit a worker to one thread, since more would compete for the cores; leave signals to the main process."""
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def fixed_batches(
    manifest: Manifest,
    micro_samples: int,
    *,
    epsilon: float | None,
    rank: int = 0,
    world: int = 1,
    max_samples: int | None = None,
) -> Iterator[MicroBatch]:
    """Yield batches that hold every utterance once, from long to short, for validation.

    A row's index is its row in the manifest, so that random draws are the same in every validation. Utterances longer
    than ``max_samples`` are cut to their first ``max_samples``. Each rank takes every ``world``-th utterance. All get
    the same number of batches, the last of which may be empty.
    """
    limit = np.iinfo(np.int64).max if max_samples is None else max_samples
    lengths = np.minimum(manifest.samples, limit)
    order = np.argsort(-lengths, kind="stable")
    first = 0
    while first < len(order):
        count = world * max(1, micro_samples // max(1, int(lengths[order[first]])))
        members = order[first : first + count][rank::world]
        rows = tuple(Row(manifest.utterance(int(i)), int(i), 0, int(lengths[i])) for i in members)
        yield read_rows(rows, epsilon=epsilon)
        first += count
