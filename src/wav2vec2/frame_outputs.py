"""What a model gives for every frame of recordings of any length: long ones in windows (see `long_form`), in batches.

Legend: B utterances, T frames.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from wav2vec2.audio import SAMPLE_RATE
from wav2vec2.errors import UserError
from wav2vec2.long_form import Window, WindowReader, batches_by_length, plan_windows
from wav2vec2.model.architecture import Architecture
from wav2vec2.recordings import Failure, Recording

_POOL_BATCHES = 4

Compute = Callable[[Tensor, Tensor], list[Tensor]]
"""(waveforms (B, S), lengths (B,)) -> one or more tensors (B, T, ...) of frames."""


@dataclass(frozen=True)
class WindowSizes:
    """In seconds, as in `transcribe`: padded audio in a batch, a window, and its context at both ends.

    Raises UserError for impossible sizes.
    """

    batch: float = 60.0
    window: float = 30.0
    context: float = 4.0

    def __post_init__(self) -> None:
        if not (0 < self.batch < math.inf and 0 <= 2 * self.context < self.window < math.inf):
            raise UserError("batch_seconds must be positive and window_seconds more than twice context_seconds")


@dataclass(frozen=True)
class FrameOutputs:
    """The tensors (T, ...) of one recording, in the order in which `Compute` gives them, on the CPU."""

    source: str
    tensors: list[Tensor]


def frame_outputs(
    recordings: Iterable[Recording | Failure],
    architecture: Architecture,
    compute: Compute,
    *,
    sizes: WindowSizes,
    device: torch.device,
) -> Iterator[FrameOutputs | Failure]:
    """Yield one result for each recording, in order; one that cannot be read, or has no frame, gives a Failure."""
    pool: list[Recording | Failure] = []
    waiting, budget = 0, int(sizes.batch * SAMPLE_RATE)
    for recording in recordings:
        pool.append(recording)
        waiting += 0 if isinstance(recording, Failure) else recording.samples
        if waiting >= _POOL_BATCHES * budget:
            yield from _Pool(pool, architecture, sizes).results(compute, budget, device)
            pool, waiting = [], 0
    yield from _Pool(pool, architecture, sizes).results(compute, budget, device)


class _Pool:
    """Recordings whose windows are sorted into batches together."""

    def __init__(self, recordings: Sequence[Recording | Failure], architecture: Architecture, sizes: WindowSizes):
        self.recordings = recordings
        per_second = SAMPLE_RATE / architecture.stride
        context = round(sizes.context * per_second)
        window = max(round(sizes.window * per_second), 2 * context + 1)
        self.failures: dict[int, str] = {}
        self.readers: dict[int, WindowReader] = {}
        self.items: list[tuple[int, Window]] = []
        self.parts: dict[int, dict[int, list[Tensor]]] = {}
        for row, recording in enumerate(recordings):
            if isinstance(recording, Failure):
                continue
            plan = plan_windows(recording.samples, architecture, window_frames=window, context_frames=context)
            if not plan:
                self.failures[row] = f"{recording.name}: is shorter than one frame; leave it out"
            self.readers[row] = WindowReader(recording, plan, normalize=architecture.normalize_input)
            self.items += [(row, part) for part in plan]
            self.parts[row] = {}

    def results(self, compute: Compute, budget: int, device: torch.device) -> Iterator[FrameOutputs | Failure]:
        """Read and compute everything, then yield in order."""
        for batch in batches_by_length([window.samples for _, window in self.items], budget):
            self._compute([self.items[item] for item in batch], compute, device)
        for row, recording in enumerate(self.recordings):
            if isinstance(recording, Failure):
                yield recording
            elif row in self.failures:
                yield Failure(recording.name, self.failures[row])
            else:
                parts = self.parts.pop(row)
                joined = zip(*(parts[start] for start in sorted(parts)), strict=True)
                yield FrameOutputs(recording.name, [torch.cat(pieces) for pieces in joined])

    @torch.inference_mode()
    def _compute(self, items: list[tuple[int, Window]], compute: Compute, device: torch.device) -> None:
        ready: list[tuple[int, Window]] = []
        waveforms: list[Tensor] = []
        for row, window in items:
            if row in self.failures:
                continue
            try:
                waveforms.append(torch.from_numpy(self.readers[row].read(window)))
                ready.append((row, window))
            except UserError as error:
                self.failures[row] = str(error)
        if not ready:
            return
        lengths = torch.tensor([len(waveform) for waveform in waveforms], device=device)
        batch = torch.nn.utils.rnn.pad_sequence(waveforms, batch_first=True).to(device)
        outputs = [tensor.cpu() for tensor in compute(batch, lengths)]
        for place, (row, window) in enumerate(ready):
            kept = slice(window.skip, window.skip + window.keep)
            self.parts[row][window.start + window.skip] = [tensor[place, kept].clone() for tensor in outputs]


def usable_device(name: str) -> torch.device:
    """The device that `name` means; auto takes a GPU if there is one. Raises UserError for one that is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError):
        raise UserError(f"device {name!r} is not usable here; choose auto or cpu") from None


def output_names(sources: Sequence[str]) -> list[str]:
    """A file name without suffix for each source: its stem, with its folder's name before it where stems collide.

    Raises UserError if two are still the same.
    """
    from collections import Counter
    from pathlib import Path

    paths = [Path(source) for source in sources]
    taken = Counter(path.stem for path in paths)
    names = [path.stem if taken[path.stem] == 1 else f"{path.parent.name}-{path.stem}" for path in paths]
    for name, count in Counter(names).items():
        if count > 1:
            raise UserError(f"{name}: two recordings would be written under this name; run the command for each folder")
    return names
