"""Run a model over recordings of any length and collect its outputs frame by frame.

Long recordings are split into overlapping windows (`inference.windows`). Recordings are collected in a pool, so that
windows of similar length share a batch; results come back in the order of the input. A thread reads the next batch
while the current one is computed.

Legend: B utterances, S samples, T frames.
"""

import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.audio.recordings import Failure, Recording, Waveform, audio_files, open_recording
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.utterance import Utterance
from wav2vec2.data.waveforms import read_utterance
from wav2vec2.device import InferencePrecision, computing_in, product_type
from wav2vec2.errors import UserError
from wav2vec2.inference.windows import Window, WindowReader, WindowSizes, batches_by_length
from wav2vec2.model.architecture import Architecture
from wav2vec2.model.encoder import SharedEncoder
from wav2vec2.progress import Advance, no_progress

AudioSource = str | Path | bytes | NDArray[np.floating[Any]] | Tensor
"""A file, the bytes of an encoded one, or mono float samples at 16 kHz."""

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class ComputeOptions:
    """Where the model runs and how audio is batched."""

    device: str = "auto"
    """auto (a GPU if there is one), cpu, cuda, cuda:1, ..."""
    batch_seconds: float = 60.0
    """Seconds of audio in a batch, padding included; use less if memory runs out."""
    window_seconds: float = 30.0
    """Recordings longer than this are processed in overlapping windows of this length."""
    context_seconds: float = 4.0
    """Context at both ends of a window, whose own output is discarded."""
    precision: InferencePrecision = "auto"
    """bf16, fp16: matrix products in half precision, which is several times faster on a GPU and slower on most CPUs.
    auto: where speech is recognised, bf16 on a GPU that has it, and on a CPU a file model.onnx of wav2vec2 export that
    lies in the model's folder; otherwise float32."""

    def __post_init__(self) -> None:
        _ = self.sizes  # raises UserError for impossible sizes

    @property
    def sizes(self) -> WindowSizes:
        """The sizes of batches and windows."""
        return WindowSizes(self.batch_seconds, self.window_seconds, self.context_seconds)


BatchFunction = Callable[[Tensor, Tensor], Sequence[tuple[Tensor, ...]]]
"""Maps waveforms (B, S) and lengths (B,) to one or more tensors (T, ...) for each row."""


def in_precision(compute: BatchFunction, precision: InferencePrecision, device: torch.device) -> BatchFunction:
    """Return `compute` with its matrix products in `precision`; what it returns in half precision becomes float32.

    Raises UserError for a precision that the device does not have.
    """
    half = product_type(precision, device)
    if half is None:
        return compute

    def reduced(waveforms: Tensor, lengths: Tensor) -> list[tuple[Tensor, ...]]:
        with computing_in(half, device):
            rows = compute(waveforms, lengths)
        return [tuple(tensor.float() if tensor.dtype == half else tensor for tensor in row) for row in rows]

    return reduced


@dataclass(frozen=True)
class FrameOutputs:
    """The outputs for one recording: tensors (T, ...) on the CPU, in the order of the `BatchFunction`'s.

    `tensors` is empty if the recording is shorter than one frame.
    """

    recording: Recording
    tensors: list[Tensor]


def frame_outputs(
    recordings: Iterable[Recording | Failure],
    architecture: Architecture,
    compute: BatchFunction,
    *,
    sizes: WindowSizes,
    device: torch.device,
    pool_batches: int = 4,
    pool_recordings: int = 512,
    advance: Advance = no_progress,
) -> Iterator[list[FrameOutputs | Failure]]:
    """Yield the outputs of `compute` for each recording, in order, one list for each pool.

    A pool is computed when it holds `pool_batches` batches of audio or `pool_recordings` recordings. A recording that
    cannot be read gives a Failure, and the others go on. `advance` is called after each batch.
    """
    pool: list[Recording | Failure] = []
    samples = 0
    for recording in recordings:
        pool.append(recording)
        samples += 0 if isinstance(recording, Failure) else recording.samples
        if samples >= pool_batches * sizes.batch_samples or len(pool) >= pool_recordings:
            yield _Pool(pool, architecture, sizes).results(compute, sizes.batch_samples, device, advance)
            pool, samples = [], 0
    if pool:
        yield _Pool(pool, architecture, sizes).results(compute, sizes.batch_samples, device, advance)


def nonempty_outputs(pools: Iterable[list[FrameOutputs | Failure]]) -> Iterator[FrameOutputs | Failure]:
    """Yield the results of all pools one by one; a recording shorter than one frame becomes a Failure."""
    for pool in pools:
        for result in pool:
            if isinstance(result, FrameOutputs) and not result.tensors:
                name = result.recording.name
                yield Failure(name, f"{name}: is shorter than one frame; leave it out")
            else:
                yield result


def write_outputs(
    files: Mapping[Path, str],
    model: SharedEncoder,
    compute: BatchFunction,
    write: Callable[[FrameOutputs, str], object],
    *,
    compute_options: ComputeOptions,
) -> None:
    """Call `write` with the outputs of each file and its output name (see `output_names`).

    These are numbers that people keep, so the precision is float32 unless another one is asked for. A file that cannot
    be read, or is shorter than one frame, gets a line on stderr. Raises UserError at the end if there was one.
    """
    failed = 0
    names = {str(file): name for file, name in files.items()}
    device = next(model.parameters()).device
    precision = compute_options.precision
    compute = in_precision(compute, "float32" if precision == "auto" else precision, device)
    recordings = map(open_recording, files)
    pools = frame_outputs(recordings, model.architecture, compute, sizes=compute_options.sizes, device=device)
    for result in nonempty_outputs(pools):
        if isinstance(result, Failure):
            failed += 1
            print(result.message, file=sys.stderr)
        else:
            write(result, names[result.recording.name])
    if failed:
        raise UserError(f"{failed} of {len(files)} recordings failed; see the messages above")


class _Pool:
    """Recordings whose windows are sorted into batches together."""

    def __init__(self, recordings: Sequence[Recording | Failure], architecture: Architecture, sizes: WindowSizes):
        self._recordings: list[Recording | Failure] = list(recordings)
        self._readers: dict[int, WindowReader] = {}
        self._items: list[tuple[int, int, Window]] = []
        self._parts: dict[int, list[tuple[Tensor, ...]]] = {}
        self._frame_seconds = architecture.stride / SAMPLE_RATE
        for row, recording in enumerate(recordings):
            if isinstance(recording, Recording):
                plan = sizes.plan(recording.samples, architecture)
                self._readers[row] = WindowReader(recording, plan, epsilon=architecture.normalization_epsilon)
                self._items += [(row, place, window) for place, window in enumerate(plan)]
                self._parts[row] = [()] * len(plan)

    def results(
        self, compute: BatchFunction, budget: int, device: torch.device, advance: Advance
    ) -> list[FrameOutputs | Failure]:
        """Read and compute all windows in batches of at most `budget` padded samples, and join those of a recording."""
        plan = batches_by_length([window.samples for _, _, window in self._items], budget)
        with ThreadPoolExecutor(max_workers=1) as executor:
            coming = executor.submit(self._read, plan[0] if plan else [])
            for following in [*plan[1:], []]:
                ready = coming.result()
                coming = executor.submit(self._read, following)
                if ready:
                    batch, lengths = _padded([waveform for _, waveform in ready], device)
                    kept = self._keep([item for item, _ in ready], compute(batch, lengths))
                    advance(kept * self._frame_seconds)
        return [
            recording if isinstance(recording, Failure) else FrameOutputs(recording, self._join(row))
            for row, recording in enumerate(self._recordings)
        ]

    def _read(self, batch: list[int]) -> list[tuple[int, Waveform]]:
        ready = []
        for item in batch:
            row, _, window = self._items[item]
            recording = self._recordings[row]
            if isinstance(recording, Recording):
                try:
                    ready.append((item, self._readers[row].read(window)))
                except UserError as error:
                    self._recordings[row] = Failure(recording.name, str(error))
        return ready

    def _keep(self, items: list[int], computed: Sequence[tuple[Tensor, ...]]) -> int:
        """Keep the outputs of the windows `items`, without their context; returns the number of frames."""
        frames = 0
        for item, tensors in zip(items, computed, strict=True):
            row, place, window = self._items[item]
            kept = slice(window.skip, window.skip + window.keep)
            # copied, because a view would keep the whole batch in memory
            self._parts[row][place] = tuple(tensor[kept].to("cpu", copy=True) for tensor in tensors)
            frames += window.keep
        return frames

    def _join(self, row: int) -> list[Tensor]:
        return [torch.cat(pieces) for pieces in zip(*self._parts.pop(row), strict=True)]


def _padded(waveforms: Sequence[Waveform], device: torch.device) -> tuple[Tensor, Tensor]:
    lengths = torch.tensor([len(waveform) for waveform in waveforms])
    batch = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(w) for w in waveforms], batch_first=True)
    return batch.to(device), lengths.to(device)


def output_names(sources: Sequence[str]) -> dict[Path, str]:
    """Map the audio files that `sources` (files and folders) name to the stems of their output files.

    This is the stem of the audio file, preceded by the name of its folder where two stems are equal. A file that is
    named twice is there once. Raises UserError if two names are still equal, and for a folder without audio.
    """
    paths = list(dict.fromkeys(audio_files(sources)))
    taken = Counter(path.stem for path in paths)
    names = [path.stem if taken[path.stem] == 1 else f"{path.parent.name}-{path.stem}" for path in paths]
    for name, count in Counter(names).items():
        if count > 1:
            raise UserError(f"{name}: two recordings would be written under this name; run the command for each folder")
    return dict(zip(paths, names, strict=True))


def as_recording(source: AudioSource | Recording | Failure) -> Recording | Failure:
    """Open `source`, unless that has been done already."""
    return source if isinstance(source, Recording | Failure) else open_recording(source)


def utterance_recording(utterance: Utterance) -> Recording:
    """Return the audio of a manifest row as a recording named by its id; it is read when it is needed."""

    def read(start: int, count: int) -> Waveform:
        return read_utterance(replace(utterance, start=utterance.start + start, samples=count))

    return Recording(utterance.id, utterance.samples, read)


def transcribed_utterances(manifest: Manifest) -> Iterator[Utterance]:
    """Yield the rows of `manifest` that have a transcript, an empty one included."""
    return (utterance for utterance in manifest if utterance.text is not None)


def with_results(
    items: Iterable[Item], run: Callable[[Iterator[Item]], Iterable[Result]]
) -> Iterator[tuple[Item, Result]]:
    """Yield each item with its result, where `run` gives one result for each item in order but may read ahead."""
    waiting: deque[Item] = deque()

    def remembered() -> Iterator[Item]:
        for item in items:
            waiting.append(item)
            yield item

    for result in run(remembered()):
        yield waiting.popleft(), result
