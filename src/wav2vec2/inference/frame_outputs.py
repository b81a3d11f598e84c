"""What a model gives for every frame of recordings of any length: long ones in windows (see `long_form`), in batches.

Recordings wait in a pool for each other, so that batches can be sorted by length; results come in their order. While
one batch is computed, the next is read on a thread.

Legend: B utterances, S samples, T frames.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wav2vec2.audio.recordings import Failure, Recording, Waveform, audio_files, open_recording
from wav2vec2.errors import UserError
from wav2vec2.inference.windows import Window, WindowReader, WindowSizes, batches_by_length
from wav2vec2.model.architecture import Architecture
from wav2vec2.model.encoder import SharedEncoder


@dataclass(frozen=True, kw_only=True)
class ComputeOptions:
    """Where a model computes and how recordings are cut for it: in the options of every command that hears audio, and
    keywords of what does so in Python. Raises UserError for impossible sizes.
    """

    device: str = "auto"
    """auto takes a GPU if there is one; else cpu, cuda, cuda:1, ..."""
    batch_seconds: float = 60.0
    """Audio in one batch, padding included: less needs less memory."""
    window_seconds: float = 30.0
    """Longer recordings are read in windows of this length."""
    context_seconds: float = 4.0
    """Part of a window, at both of its ends, that only serves the rest as context."""

    def __post_init__(self) -> None:
        _ = self.sizes  # refuses impossible ones

    @property
    def sizes(self) -> WindowSizes:
        """The last three."""
        return WindowSizes(self.batch_seconds, self.window_seconds, self.context_seconds)

    def computing(self) -> dict[str, Any]:
        """These options alone, as keywords."""
        return {name: getattr(self, name) for name in COMPUTE_KEYWORDS}


COMPUTE_KEYWORDS = tuple(option.name for option in fields(ComputeOptions))

Compute = Callable[[Tensor, Tensor], Sequence[tuple[Tensor, ...]]]
"""(waveforms (B, S), lengths (B,)) -> for each row one or more tensors over its frames, (T, ...)."""


@dataclass(frozen=True)
class FrameOutputs:
    """The tensors (T, ...) of one recording, in the order in which `Compute` gives them, on the CPU; none at all for a
    recording shorter than one frame.
    """

    recording: Recording
    tensors: list[Tensor]


def frame_outputs(
    recordings: Iterable[Recording | Failure],
    architecture: Architecture,
    compute: Compute,
    *,
    sizes: WindowSizes,
    device: torch.device,
    pool_batches: int = 4,
    pool_recordings: int = 512,
) -> Iterator[list[FrameOutputs | Failure]]:
    """Yield what recordings give in their order, as many at once as were computed together; one that cannot be read is
    a Failure. A pool is full at that many batches of audio, or that many recordings.
    """
    pool: list[Recording | Failure] = []
    waiting = 0
    for recording in recordings:
        pool.append(recording)
        waiting += 0 if isinstance(recording, Failure) else recording.samples
        if waiting >= pool_batches * sizes.batch_samples or len(pool) >= pool_recordings:
            yield _Pool(pool, architecture, sizes).results(compute, sizes.batch_samples, device)
            pool, waiting = [], 0
    if pool:
        yield _Pool(pool, architecture, sizes).results(compute, sizes.batch_samples, device)


def write_outputs(
    files: Mapping[Path, str],
    model: SharedEncoder,
    compute: Compute,
    write: Callable[[FrameOutputs, str], object],
    *,
    options: ComputeOptions,
    lacking: str,
) -> None:
    """Give what each file has to `write`, with the file's name in `named_files`; one that cannot be read, or is shorter
    than one frame, gets a line on stderr.

    Raises UserError at the end if there was one: so many of all "have no `lacking`".
    """
    failed = 0
    names = {str(file): name for file, name in files.items()}
    device = next(model.parameters()).device
    pools = frame_outputs(map(open_recording, files), model.architecture, compute, sizes=options.sizes, device=device)
    for result in with_frames(pools):
        if isinstance(result, Failure):
            failed += 1
            print(result.message, file=sys.stderr)
        else:
            write(result, names[result.recording.name])
    if failed:
        raise UserError(f"{failed} of {len(files)} recordings have no {lacking}; the lines above say why")


def with_frames(pools: Iterable[list[FrameOutputs | Failure]]) -> Iterator[FrameOutputs | Failure]:
    """One after the other, those that are shorter than one frame as a Failure."""
    for pool in pools:
        for result in pool:
            if isinstance(result, FrameOutputs) and not result.tensors:
                name = result.recording.name
                yield Failure(name, f"{name}: is shorter than one frame; leave it out")
            else:
                yield result


class _Pool:
    """Recordings whose windows are sorted into batches together."""

    def __init__(self, recordings: Sequence[Recording | Failure], architecture: Architecture, sizes: WindowSizes):
        self._results: list[Recording | Failure] = list(recordings)
        self._readers: dict[int, WindowReader] = {}
        self._items: list[tuple[int, int, Window]] = []
        self._parts: dict[int, list[tuple[Tensor, ...]]] = {}
        for row, recording in enumerate(recordings):
            if isinstance(recording, Recording):
                plan = sizes.plan(recording.samples, architecture)
                self._readers[row] = WindowReader(recording, plan, normalize=architecture.normalize_input)
                self._items += [(row, place, window) for place, window in enumerate(plan)]
                self._parts[row] = [()] * len(plan)

    def results(self, compute: Compute, budget: int, device: torch.device) -> list[FrameOutputs | Failure]:
        """Read and compute every window, in batches of at most `budget` padded samples, and join each recording's."""
        plan = batches_by_length([window.samples for _, _, window in self._items], budget)
        with ThreadPoolExecutor(max_workers=1) as executor:
            coming = executor.submit(self._read, plan[0] if plan else [])
            for following in [*plan[1:], []]:
                ready = coming.result()
                coming = executor.submit(self._read, following)
                if ready:
                    batch, lengths = _padded([waveform for _, waveform in ready], device)
                    self._keep([item for item, _ in ready], compute(batch, lengths))
        return [r if isinstance(r, Failure) else FrameOutputs(r, self._join(i)) for i, r in enumerate(self._results)]

    def _read(self, batch: list[int]) -> list[tuple[int, Waveform]]:
        ready = []
        for item in batch:
            row, _, window = self._items[item]
            recording = self._results[row]
            if isinstance(recording, Recording):
                try:
                    ready.append((item, self._readers[row].read(window)))
                except UserError as error:
                    self._results[row] = Failure(recording.name, str(error))
        return ready

    def _keep(self, items: list[int], computed: Sequence[tuple[Tensor, ...]]) -> None:
        for item, tensors in zip(items, computed, strict=True):
            row, place, window = self._items[item]
            kept = slice(window.skip, window.skip + window.keep)
            # copied, because a view would hold the whole batch
            self._parts[row][place] = tuple(tensor[kept].to("cpu", copy=True) for tensor in tensors)

    def _join(self, row: int) -> list[Tensor]:
        return [torch.cat(pieces) for pieces in zip(*self._parts.pop(row), strict=True)]


def _padded(waveforms: Sequence[Waveform], device: torch.device) -> tuple[Tensor, Tensor]:
    lengths = torch.tensor([len(waveform) for waveform in waveforms])
    batch = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(w) for w in waveforms], batch_first=True)
    return batch.to(device), lengths.to(device)


def named_files(sources: Sequence[str]) -> dict[Path, str]:
    """Audio files, and those in folders, each with a file name without suffix for what is computed of it: its stem,
    with its folder's name before it where stems collide.

    Raises UserError if two are still the same, and for a folder without audio.
    """
    paths = audio_files(sources)
    taken = Counter(path.stem for path in paths)
    names = [path.stem if taken[path.stem] == 1 else f"{path.parent.name}-{path.stem}" for path in paths]
    for name, count in Counter(names).items():
        if count > 1:
            raise UserError(f"{name}: two recordings would be written under this name; run the command for each folder")
    return dict(zip(paths, names, strict=True))
