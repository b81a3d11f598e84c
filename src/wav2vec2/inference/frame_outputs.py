"""Run a model over recordings of any length and collect its outputs frame by frame.

Long recordings are split into overlapping windows (`inference.cuts`), and those of several recordings are computed
together (`inference.pools`); results come back in the order of the input.

Legend: T frames.
"""

import itertools
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tyro.conf import arg

from wav2vec2.audio.recordings import AnyRecording, Failure, audio_files, stream_recording
from wav2vec2.device import InferencePrecision, computing_in, product_type
from wav2vec2.errors import UserError
from wav2vec2.inference.cuts import CutRules, Ended, cuts
from wav2vec2.inference.pools import BatchFunction, Moments, PoolSizes, computed_pools
from wav2vec2.inference.windows import PieceSettings, Statistics, WindowSizes
from wav2vec2.model.architecture import Architecture
from wav2vec2.model.encoder import SharedEncoder
from wav2vec2.progress import Advance, no_progress

AudioSource = str | Path | bytes | NDArray[np.floating[Any]] | Tensor
"""A file, the bytes of an encoded one, or mono float samples at 16 kHz."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def default_shown(metavar: str, default: str) -> object:
    """Show in --help the default of an option that a preset or the model may set."""
    return arg(metavar=metavar, help_behavior_hint=f"(default: {default})")


@dataclass(frozen=True)
class ComputeOptions:
    """Where the model runs and how audio is batched."""

    device: str = "auto"
    """auto (a GPU if there is one), cpu, cuda, cuda:1, ..."""
    batch_seconds: Annotated[float | None, default_shown("SECONDS", "60, on a CPU 20")] = None
    """Seconds of audio in a batch, padding included; use less if memory runs out."""
    window_seconds: float = 30.0
    """No piece is longer; with pieces none, longer recordings are processed in overlapping windows of this length."""
    context_seconds: float = 4.0
    """Context at both ends of a window, whose own output is discarded; at least 1.28 s where there is room."""
    precision: InferencePrecision = "auto"
    """bf16, fp16: matrix products in half precision, which is several times faster on a GPU and slower on most CPUs.
    auto: where speech is recognised, bf16 on a GPU that has it, and on a CPU a file model.onnx of wav2vec2 export that
    lies in the model's folder; otherwise float32."""
    pieces: Literal["speech", "none"] = "speech"
    """speech: what is longer than the utterances that the model has heard is cut at its pauses, and long silence is
    left out. none: all of a recording, in windows, with the statistics of the whole."""
    longest_piece: Annotated[float | None, default_shown("SECONDS", "what the model has heard, or 20")] = None
    """Longest piece, and longest recording that is not cut."""
    pause: Annotated[float | None, default_shown("SECONDS", "0.3 to 0.8, as pieces may be long")] = None
    """A shorter silence does not end a piece."""
    margin: Annotated[float | None, default_shown("SECONDS", "0.02 to 0.1, as pieces may be long")] = None
    """Silence kept on either side of a piece."""
    statistics: Annotated[Statistics | None, default_shown("{piece,recording}", "piece")] = None
    """What loudness and group norm are measured on. recording: the file is decoded twice."""

    def __post_init__(self) -> None:
        _ = self.sizes  # raises UserError for impossible sizes
        self.piece_settings.rules(None, self.sizes)

    @property
    def sizes(self) -> WindowSizes:
        """The sizes of batches and windows."""
        return WindowSizes(self.batch_seconds, self.window_seconds, self.context_seconds)

    @property
    def piece_settings(self) -> PieceSettings:
        """How recordings are cut, as far as it is chosen."""
        return PieceSettings(self.pieces, self.longest_piece, self.pause, self.margin, self.statistics)


def in_precision(compute: BatchFunction, precision: InferencePrecision, device: torch.device) -> BatchFunction:
    """Return `compute` with its matrix products in `precision`; what it returns in half precision becomes float32.

    Raises UserError for a precision that the device does not have.
    """
    half = product_type(precision, device)
    if half is None:
        return compute

    def reduced(waveforms: Tensor, lengths: Tensor, moments: Moments) -> list[tuple[Tensor, ...]]:
        with computing_in(half, device):
            rows = compute(waveforms, lengths, moments)
        return [tuple(tensor.float() if tensor.dtype == half else tensor for tensor in row) for row in rows]

    return reduced


@dataclass(frozen=True)
class FrameOutputs:
    """The outputs for one recording: tensors (T, ...) on the CPU, in the order of the `BatchFunction`'s.

    `tensors` is empty if the recording is shorter than one frame.
    """

    recording: AnyRecording
    tensors: list[Tensor]


def frame_outputs(
    recordings: Iterable[AnyRecording | Failure],
    architecture: Architecture,
    compute: BatchFunction,
    *,
    sizes: WindowSizes,
    device: torch.device,
    pool_batches: int = 4,
    pool_recordings: int = 512,
    advance: Advance = no_progress,
) -> Iterator[list[FrameOutputs | Failure]]:
    """Yield the outputs of `compute` for each recording, in order, one list for each pool (`inference.pools`).

    A long recording is computed in windows, with the statistics of all of it, so that the feature encoder's output is
    that of one pass. A recording that cannot be read gives a Failure, and the others go on. `advance` is called after
    each batch.
    """
    rules = CutRules(architecture, sizes)
    events = itertools.chain.from_iterable(cuts(recording, rules) for recording in recordings)
    batch = sizes.batch_samples(device.type)
    pool_sizes = PoolSizes(batch, pool_batches * batch, pool_recordings)
    parts: list[tuple[Tensor, ...]] = []
    for pool in computed_pools(events, architecture, compute, sizes=pool_sizes, device=device, advance=advance):
        results: list[FrameOutputs | Failure] = []
        for event in pool:
            if isinstance(event, tuple):
                parts.append(event[1])
                continue
            if isinstance(event, Ended):
                results.append(FrameOutputs(event.recording, [torch.cat(kind) for kind in zip(*parts, strict=True)]))
            else:
                results.append(event)
            parts = []
        if results:
            yield results


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
    recordings = map(stream_recording, files)
    pools = frame_outputs(recordings, model.architecture, compute, sizes=compute_options.sizes, device=device)
    for result in nonempty_outputs(pools):
        if isinstance(result, Failure):
            failed += 1
            print(result.message, file=sys.stderr)
        else:
            write(result, names[result.recording.name])
    if failed:
        raise UserError(f"{failed} of {len(files)} recordings failed; see the messages above")


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


def as_recording(source: AudioSource | AnyRecording | Failure) -> AnyRecording | Failure:
    """Return the recording that `source` is or names; a file is read later."""
    return source if isinstance(source, AnyRecording | Failure) else stream_recording(source)


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
