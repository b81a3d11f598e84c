"""A CTC model with its vocabulary as a source of frames: recordings of any length in, best paths or log-probabilities
out.

Utterances are read when their batch comes, sorted by length within a pool. For greedy decoding only the best symbol of
each frame is kept, so that neither a long recording nor a large folder grows the memory. Batches do not change results:
the model ignores padding.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from wav2vec2.audio import SAMPLE_RATE
from wav2vec2.decode.greedy import best_path
from wav2vec2.decode.hypothesis import Emissions
from wav2vec2.errors import UserError
from wav2vec2.long_form import PooledFrames, Window, plan_windows
from wav2vec2.recordings import Failure, Recording, Waveform
from wav2vec2.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from wav2vec2.model.ctc import Wav2Vec2ForCTC

# Recordings that wait for each other so that batches can be sorted by length: this many batches of audio, this many
# files.
_POOL_BATCHES, _POOL_RECORDINGS = 16, 512


@dataclass(frozen=True)
class Frames:
    """What a recording's frames say. symbols: the best one of each frame; score: the log-probability (nats) of that
    path; log_probs: (T, V) nats, None where they were not asked for.
    """

    recording: Recording
    symbols: list[int]
    score: float
    log_probs: Emissions | None


class AcousticModel:
    """A CTC model with its vocabulary, put into evaluation mode on `device`; arguments and errors as `Transcriber`."""

    def __init__(
        self,
        model: "Wav2Vec2ForCTC | str | Path",
        *,
        vocabulary: Vocabulary | None = None,
        device: str = "auto",
        batch_seconds: float = 60.0,
        window_seconds: float = 30.0,
        context_seconds: float = 4.0,
    ) -> None:
        if not (0 < batch_seconds < math.inf and 0 <= 2 * context_seconds < window_seconds < math.inf):
            raise UserError("batch_seconds must be positive and window_seconds more than twice context_seconds")
        self.model, self.vocabulary = _model_and_vocabulary(model, vocabulary)
        self.architecture = self.model.architecture
        self.device = _device(device)
        self.model.to(self.device).eval()
        self._budget = int(batch_seconds * SAMPLE_RATE)
        frames_per_second = SAMPLE_RATE / self.architecture.stride
        self._context_frames = round(context_seconds * frames_per_second)
        self._window_frames = max(round(window_seconds * frames_per_second), 2 * self._context_frames + 1)

    @property
    def windows(self) -> tuple[int, int]:
        """Frames of a window and of its context."""
        return self._window_frames, self._context_frames

    def pools(self, recordings: Iterable[Recording | Failure], *, log_probs: bool) -> Iterator[list[Frames | Failure]]:
        """Yield what recordings say in their order, as many at once as were computed together; one that cannot be read
        is a Failure. log_probs: whether they are wanted; they take V floats a frame.
        """
        pool: list[Recording | Failure] = []
        waiting = 0
        for recording in recordings:
            pool.append(recording)
            waiting += 0 if isinstance(recording, Failure) else recording.samples
            if waiting >= _POOL_BATCHES * self._budget or len(pool) >= _POOL_RECORDINGS:
                yield self._compute(pool, log_probs)
                pool, waiting = [], 0
        if pool:
            yield self._compute(pool, log_probs)

    def _compute(self, pool: Sequence[Recording | Failure], log_probs: bool) -> list[Frames | Failure]:
        readable = [recording for recording in pool if isinstance(recording, Recording)]
        frames = PooledFrames(readable, self._windows, normalize=self.architecture.normalize_input)
        frames.compute(self._all_frames if log_probs else self._best_frames, budget=self._budget)
        results: list[Frames | Failure] = []
        row = 0
        for recording in pool:
            if isinstance(recording, Failure):
                results.append(recording)
                continue
            if row in frames.failures:
                results.append(Failure(recording.name, frames.failures[row]))
            else:
                symbols, score = frames.path(row)
                emissions = frames.log_probs(row, len(self.vocabulary)) if log_probs else None
                results.append(Frames(recording, symbols, score, emissions))
            row += 1
        return results

    def _windows(self, samples: int) -> list[Window]:
        sizes = {"window_frames": self._window_frames, "context_frames": self._context_frames}
        return plan_windows(samples, self.architecture, **sizes)

    def _best_frames(self, waveforms: Sequence[Waveform]) -> list[tuple[Tensor, ...]]:
        logits, frame_lengths = self._logits(waveforms)
        return list(best_path(logits, frame_lengths))

    def _all_frames(self, waveforms: Sequence[Waveform]) -> list[tuple[Tensor, ...]]:
        logits, frame_lengths = self._logits(waveforms)
        emissions = logits.float().log_softmax(-1).cpu()
        paths = best_path(logits, frame_lengths)
        return [(*path, emissions[row, : len(path[0])]) for row, path in enumerate(paths)]

    @torch.inference_mode()
    def _logits(self, waveforms: Sequence[Waveform]) -> tuple[Tensor, Tensor]:
        lengths = torch.tensor([len(waveform) for waveform in waveforms])
        batch = torch.zeros(len(waveforms), int(lengths.max()))
        for row, waveform in enumerate(waveforms):
            batch[row, : len(waveform)] = torch.from_numpy(waveform)
        logits, frame_lengths = self.model(batch.to(self.device), lengths.to(self.device))
        if logits.shape[-1] != len(self.vocabulary):
            sizes = f"{len(self.vocabulary)} symbols, the model's head {logits.shape[-1]}"
            raise UserError(f"vocabulary: has {sizes}; use the model's own")
        return logits, frame_lengths


def _model_and_vocabulary(
    source: "Wav2Vec2ForCTC | str | Path", vocabulary: Vocabulary | None
) -> tuple["Wav2Vec2ForCTC", Vocabulary]:
    model: Any = source
    if isinstance(source, (str, Path)):
        from wav2vec2.recognizer import load_recognizer

        model = load_recognizer(source)
        # The files say more than the model's list of symbols: what the unit is, and how transcripts were normalised.
        directory = Path(source).parent if Path(source).suffix in (".safetensors", ".bin") else Path(source)
        if vocabulary is None and hasattr(model, "blank") and (directory / "vocab.json").is_file():
            vocabulary = Vocabulary.load(directory)
    vocabulary = vocabulary or getattr(model, "symbol_table", None)  # an exported file carries the whole table
    if not hasattr(model, "blank"):
        raise UserError(f"{_name(source)}: has no CTC head and cannot write text; fine-tune it first")
    if vocabulary is None:
        if model.vocabulary is None:
            raise UserError(f"{_name(source)}: has no vocabulary; pass one, or use a model directory with vocab.json")
        vocabulary = Vocabulary.from_symbols(model.vocabulary, blank=model.blank)
    return model, vocabulary


def _name(source: Any) -> str:
    return str(source) if isinstance(source, (str, Path)) else "model"


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device {name!r} is not usable here; choose auto or cpu") from error
