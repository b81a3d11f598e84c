"""Cuts of many recordings computed together: those of similar length share a batch, results come back in order.

A pool is a few batches of cuts. While one is computed, a thread reads the next. The first pools are small, so that the
first results come soon.

Legend: B rows of a batch, S samples, T frames.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.audio.recordings import Failure, Waveform
from wav2vec2.inference.cuts import Cut, Ended
from wav2vec2.inference.windows import batches_by_length
from wav2vec2.model.architecture import Architecture
from wav2vec2.model.window_moments import WindowMoments
from wav2vec2.progress import Advance, no_progress

Moments = Sequence[WindowMoments] | None
"""The group norm's statistics for each row, None for those of the rows themselves."""
BatchFunction = Callable[[Tensor, Tensor, Moments], Sequence[tuple[Tensor, ...]]]
"""Maps waveforms (B, S), lengths (B,) and moments to one or more tensors (T, ...) for each row."""

Computed = tuple[Cut, tuple[Tensor, ...]]
"""A cut with its outputs, and without its waveform."""
Event = Cut | Ended | Failure

_HEARD: Waveform = np.zeros(0, np.float32)


@dataclass(frozen=True)
class PoolSizes:
    """The largest pool: samples of audio, and number of cuts. batch: padded samples of a batch, at most."""

    batch: int
    samples: int
    cuts: int = 512


def computed_pools(
    events: Iterable[Event],
    architecture: Architecture,
    compute: BatchFunction,
    *,
    sizes: PoolSizes,
    device: torch.device,
    advance: Advance = no_progress,
) -> Iterator[list[Computed | Ended | Failure]]:
    """Yield the events in order, one list for each pool; a cut with its outputs, those of its kept frames, on the CPU.

    `events` is read in another thread, at most one pool ahead. `advance` is called with the seconds of audio that each
    batch has dealt with.
    """
    waiting = iter(events)
    samples = sizes.batch
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="audio") as reader:
        coming = reader.submit(_gathered, waiting, samples, sizes.cuts)
        while pool := coming.result():
            samples = min(2 * samples, sizes.samples)
            coming = reader.submit(_gathered, waiting, samples, sizes.cuts)
            computed = _computed(pool, architecture, compute, sizes.batch, device, advance)
            pool.clear()  # what waits for a search takes none of the audio with it
            yield computed


def _gathered(events: Iterator[Event], samples: int, most: int) -> list[Event]:
    pool: list[Event] = []
    held = count = 0
    for event in events:
        pool.append(event)
        if isinstance(event, Cut):
            held += len(event.waveform)
        else:
            count += 1
        if held >= samples or count >= most or len(pool) >= 2 * most:
            break
    return pool


def _computed(
    pool: list[Event],
    architecture: Architecture,
    compute: BatchFunction,
    budget: int,
    device: torch.device,
    advance: Advance,
) -> list[Computed | Ended | Failure]:
    cuts = [(place, event) for place, event in enumerate(pool) if isinstance(event, Cut)]
    results: list[Computed | Ended | Failure] = [event for event in pool if not isinstance(event, Cut)]
    outputs: dict[int, Computed] = {}
    for batch in batches_by_length([len(cut.waveform) for _, cut in cuts], budget):
        chosen = [cuts[index] for index in batch]
        audio = [cut.waveform for _, cut in chosen]
        moments = common_moments(audio, [cut.moments for _, cut in chosen], architecture, device)
        rows = compute(*padded(audio, device), moments)
        for (place, cut), tensors in zip(chosen, rows, strict=True):
            kept = slice(cut.skip, cut.skip + cut.keep)
            # copied, because a view would keep the whole batch in memory
            outputs[place] = (
                replace(cut, waveform=_HEARD),
                tuple(tensor[kept].to("cpu", copy=True) for tensor in tensors),
            )
        advance(sum(cut.heard for _, cut in chosen) / SAMPLE_RATE)
    rest = iter(results)
    ordered = [outputs[place] if place in outputs else next(rest) for place in range(len(pool))]
    advance(sum(event.heard for event in ordered if isinstance(event, Ended)) / SAMPLE_RATE)
    return ordered


def padded(waveforms: Sequence[Waveform], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return waveforms as a batch (B, S), filled with zeros, and their lengths (B,)."""
    lengths = torch.tensor([len(waveform) for waveform in waveforms])
    batch = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(waveform) for waveform in waveforms], batch_first=True)
    return batch.to(device), lengths.to(device)


def common_moments(
    waveforms: Sequence[Waveform],
    given: Sequence[WindowMoments | None],
    architecture: Architecture,
    device: torch.device,
) -> Moments:
    """Return the moments of all rows, if a row has others than its own."""
    if all(moments is None for moments in given):
        return None
    found = [
        moments or WindowMoments.of(torch.from_numpy(waveform), architecture)
        for waveform, moments in zip(waveforms, given, strict=True)
    ]
    return [WindowMoments(moments.products.to(device)) for moments in found]
