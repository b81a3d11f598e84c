"""A CTC model with its vocabulary as a source of frames: recordings of any length in, best paths or log-probabilities
out.

Utterances are read when their batch comes, sorted by length within a pool. For greedy decoding only the best symbol of
each frame is kept, so that neither a long recording nor a large folder grows the memory. Batches do not change results:
the model ignores padding.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from wav2vec2.audio.recordings import Failure, Recording
from wav2vec2.decode.greedy import best_path
from wav2vec2.decode.hypothesis import Emissions
from wav2vec2.device import usable_device
from wav2vec2.errors import UserError
from wav2vec2.inference.frame_outputs import ComputeOptions, FrameOutputs, frame_outputs
from wav2vec2.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from wav2vec2.model.ctc import Wav2Vec2ForCTC

# Recordings that wait for each other so that batches can be sorted by length: this many batches of audio, this many
# files.
_POOL_BATCHES, _POOL_RECORDINGS = 16, 512
_EXPORTED = (".onnx", ".pt2")


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
    """A CTC model with its vocabulary, put into evaluation mode on its device.

    model: a `Wav2Vec2ForCTC`, or what `wav2vec2.load` reads. vocabulary: by default the model's own. computing: what
    `ComputeOptions` has (device, batch_seconds, window_seconds, context_seconds). Raises UserError for a model without
    CTC head or vocabulary, and for impossible sizes.
    """

    def __init__(
        self,
        model: "Wav2Vec2ForCTC | str | Path",
        *,
        vocabulary: Vocabulary | None = None,
        **computing: Any,
    ) -> None:
        try:
            options = ComputeOptions(**computing)
        except TypeError as error:
            raise UserError(str(error).replace("ComputeOptions.__init__()", type(self).__name__)) from None
        self._sizes = options.sizes
        self.model, self.vocabulary = _model_and_vocabulary(model, vocabulary)
        self.architecture = self.model.architecture
        self.device = usable_device(options.device)
        self.model.to(self.device).eval()

    @property
    def windows(self) -> tuple[int, int]:
        """Frames of a window and of its context."""
        return self._sizes.in_frames(self.architecture)

    def pools(self, recordings: Iterable[Recording | Failure], *, log_probs: bool) -> Iterator[list[Frames | Failure]]:
        """Yield what recordings say in their order, as many at once as were computed together; one that cannot be read
        is a Failure. log_probs: whether they are wanted; they take V floats a frame.
        """
        outputs = frame_outputs(
            recordings,
            self.architecture,
            partial(self._rows, log_probs=log_probs),
            sizes=self._sizes,
            device=self.device,
            pool_batches=_POOL_BATCHES,
            pool_recordings=_POOL_RECORDINGS,
        )
        for pool in outputs:
            yield [heard if isinstance(heard, Failure) else self._frames(heard, log_probs) for heard in pool]

    def _frames(self, heard: FrameOutputs, log_probs: bool) -> Frames:
        nothing = [torch.empty(0), torch.empty(0), torch.empty(0, len(self.vocabulary))]  # shorter than one frame
        symbols, scores, *emissions = heard.tensors or nothing[: 2 + log_probs]
        score = float(scores.double().sum())
        return Frames(heard.recording, symbols.tolist(), score, emissions[0].numpy() if emissions else None)

    @torch.inference_mode()
    def _rows(self, waveforms: Tensor, lengths: Tensor, *, log_probs: bool) -> list[tuple[Tensor, ...]]:
        """For each row its best path and that one's scores, then its log-probabilities where they are wanted."""
        logits, frame_lengths = self.model(waveforms, lengths)
        if logits.shape[-1] != len(self.vocabulary):
            sizes = f"{len(self.vocabulary)} symbols, the model's head {logits.shape[-1]}"
            raise UserError(f"vocabulary: has {sizes}; use the model's own")
        paths = best_path(logits, frame_lengths)
        if not log_probs:
            return list(paths)
        emissions = logits.float().log_softmax(-1).cpu()
        return [(*path, emissions[row, : len(path[0])]) for row, path in enumerate(paths)]


def _model_and_vocabulary(
    source: "Wav2Vec2ForCTC | str | Path", vocabulary: Vocabulary | None
) -> tuple["Wav2Vec2ForCTC", Vocabulary]:
    model: Any = source
    if isinstance(source, (str, Path)):
        model = load_recognizer(locate_recognizer(source))
    if not hasattr(model, "vocabulary"):
        raise UserError(f"{_name(source)}: has no CTC head and cannot write text; fine-tune it first")
    vocabulary = vocabulary or model.vocabulary
    if vocabulary is None:
        raise UserError(f"{_name(source)}: has no vocabulary; pass one, or use a model directory with vocab.json")
    return model, vocabulary


def _name(source: Any) -> str:
    return str(source) if isinstance(source, (str, Path)) else "model"


def locate_recognizer(source: str | Path) -> Path:
    """Return the local path of what `load_recognizer` reads: the hub's files lie in its cache.

    Raises UserError if nothing is there.
    """
    if Path(source).suffix in _EXPORTED:
        return Path(source)
    from wav2vec2.checkpoints.load import locate

    return locate(source)


def load_recognizer(source: str | Path) -> Any:
    """Return what `source` holds: an `OnnxModel` (.onnx), a `ProgramModel` (.pt2), or what `wav2vec2.load` reads.

    Raises UserError if it cannot be read.
    """
    suffix = Path(source).suffix
    if suffix == ".onnx":
        from wav2vec2.inference.exported import OnnxModel

        return OnnxModel(source)
    if suffix == ".pt2":
        from wav2vec2.inference.exported import ProgramModel

        return ProgramModel(source)
    from wav2vec2.checkpoints.load import load

    return load(source)
