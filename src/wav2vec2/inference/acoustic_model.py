"""A CTC model with its vocabulary: from recordings of any length to best paths and log-probabilities.

Audio is read when its batch is computed, and batches are sorted by length within a pool. Greedy decoding needs only the
best symbol of each frame, so that memory grows neither with the length of a recording nor with the number of files.
The model ignores padding: results do not depend on how recordings are batched.
"""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, Union

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wav2vec2.audio.pieces import PieceRules
from wav2vec2.audio.recordings import AnyRecording, Failure
from wav2vec2.decode.build import print_notice
from wav2vec2.decode.greedy import best_path
from wav2vec2.decode.hypothesis import Emissions
from wav2vec2.device import product_type, usable_device
from wav2vec2.errors import UserError
from wav2vec2.inference.cuts import CutRules, Ended, cuts
from wav2vec2.inference.frame_outputs import ComputeOptions, FrameOutputs, frame_outputs, in_precision
from wav2vec2.inference.pools import BatchFunction, Computed, Moments, PoolSizes, computed_pools
from wav2vec2.inference.windows import PieceSettings
from wav2vec2.model.architecture import Architecture
from wav2vec2.model.encoder import SharedEncoder
from wav2vec2.progress import Advance, no_progress
from wav2vec2.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from wav2vec2.checkpoints.checkpoint import Model
    from wav2vec2.inference.exported import ExportedRecognizer
    from wav2vec2.model.ctc import Wav2Vec2ForCTC

# A pool is computed when it holds this many batches of audio or this many recordings: enough to sort them by length.
_POOL_BATCHES, _POOL_RECORDINGS = 16, 512
_CPU_POOL_BATCHES = 1  # where padding costs little; five minutes then take as much memory as hours
_MOST_BYTES = 1 << 28  # of log-probabilities in a pool
_EXPORTED = (".onnx", ".pt2")
_OWN_STATISTICS = (
    "the exported model measures the group norm of each part of a long recording by itself, and not of the whole; "
    "give the model directory in its place to have the statistics of the whole"
)


ModelSource: TypeAlias = Union["Model", "ExportedRecognizer", str, Path]
"""A model, or the name of what `wav2vec2.load` reads or `wav2vec2 export` writes: a directory, a file, a hub id."""


@dataclass(frozen=True)
class AcousticOutput:
    """The model's output for one recording.

    best_path: the most probable symbol of each frame. path_scores: their log-probabilities in nats, (T,). log_probs:
    (T, V) in nats, None if they were not asked for.
    """

    recording: AnyRecording
    best_path: list[int]
    path_scores: NDArray[np.float32]
    log_probs: Emissions | None


class AcousticModel:
    """A CTC model with its vocabulary, in evaluation mode on its device.

    vocabulary: replaces the model's own. language: of a multilingual model. tuned: how recordings are cut, where the
    options do not say it. On a CPU, an exported file that lies beside the model is used in its place, unless a
    precision, windows over everything or statistics of the recording are asked for; see `exported_beside`.

    Raises UserError for a model that cannot be read, or has no CTC head or no vocabulary, and for a precision that the
    device or an exported file does not have.
    """

    def __init__(
        self,
        model: ModelSource,
        *,
        vocabulary: Vocabulary | None = None,
        compute: ComputeOptions | None = None,
        tuned: PieceSettings | None = None,
        language: str | None = None,
    ) -> None:
        compute = compute or ComputeOptions()
        self._sizes, self._pieces = compute.sizes, compute.piece_settings.over(tuned or PieceSettings())
        self.source = model if isinstance(model, str | Path) else None
        """What names the model, if it was read from somewhere."""
        self.device = usable_device(compute.device)
        # An exported file computes the statistics of the first layer by itself, of each waveform that it gets.
        own_statistics = self._pieces.pieces == "speech" and self._pieces.statistics != "recording"
        beside = compute.precision == "auto" and self.device.type == "cpu" and own_statistics and language is None
        self.model, self.vocabulary = _model_and_vocabulary(model, vocabulary, beside, language)
        self.architecture = self.model.architecture
        self.model.to(self.device)
        self.model.eval()
        self._precision, self._told = compute.precision, False
        if not isinstance(self.model, torch.nn.Module):
            if compute.precision != "auto":
                raise UserError("precision: an exported file computes as it was exported; leave the option out")
            self._precision = "float32"
        product_type(self._precision, self.device)  # refuses an impossible one before any audio is read

    def language_model_folder(self) -> Path | None:
        """Return the folder of the language model that lies beside the model, downloaded if need be; None without one.

        Raises UserError if the hub has it and it cannot be downloaded.
        """
        if self.source is None or is_exported(self.source):
            return None
        from wav2vec2.checkpoints.load import language_model_folder

        return language_model_folder(self.source)

    @property
    def longest_heard(self) -> float | None:
        """Seconds that 95 % of the training utterances did not exceed; None if it is not known."""
        longest: float | None = getattr(self.model, "longest_heard", None)
        return longest

    @property
    def half(self) -> torch.dtype | None:
        """The type of matrix products, None for float32."""
        return product_type(self._precision, self.device)

    @property
    def windows(self) -> tuple[int, int]:
        """Frames of a window, and of the context at either end of it."""
        return self._sizes.in_frames(self.architecture)

    def pools(
        self, recordings: Iterable[AnyRecording | Failure], *, log_probs: bool, advance: Advance = no_progress
    ) -> Iterator[list[AcousticOutput | Failure]]:
        """Yield all frames of the recordings, in order, one list for each pool that is computed together.

        A recording that cannot be read gives a Failure, and the others go on. log_probs: whether to keep them, V floats
        a frame. `advance` is called after each batch.
        """
        pools = frame_outputs(
            recordings,
            self.architecture,
            self.batch_function(log_probs=log_probs),
            sizes=self._sizes,
            device=self.device,
            pool_batches=_POOL_BATCHES,
            pool_recordings=_POOL_RECORDINGS,
            advance=advance,
        )
        for pool in pools:
            yield [outputs if isinstance(outputs, Failure) else self._output(outputs, log_probs) for outputs in pool]

    def cut_pools(
        self,
        recordings: Iterable[AnyRecording | Failure],
        *,
        log_probs: bool,
        tuned: PieceSettings | None = None,
        advance: Advance = no_progress,
    ) -> Iterator[list[Computed | Ended | Failure]]:
        """Yield the cuts of the recordings with their outputs (`_batch`), and their ends, one list for each pool.

        Nothing depends on the length of a recording but the time. tuned: how to cut, where the options do not say it.
        """
        settings = self._pieces.over(tuned or PieceSettings())
        rules = CutRules(self.architecture, self._sizes, self.piece_rules(settings), settings.statistics or "piece")
        events = itertools.chain.from_iterable(cuts(recording, rules) for recording in recordings)
        batch = self._sizes.batch_samples(self.device.type)
        samples = batch * (_POOL_BATCHES if self.device.type != "cpu" else _CPU_POOL_BATCHES)
        if log_probs:
            frames = _MOST_BYTES // (4 * len(self.vocabulary))
            samples = max(batch, min(samples, frames * self.architecture.stride))
        sizes = PoolSizes(batch, samples, _POOL_RECORDINGS)
        compute = self.batch_function(log_probs=log_probs)
        yield from computed_pools(events, self.architecture, compute, sizes=sizes, device=self.device, advance=advance)

    def piece_rules(self, tuned: PieceSettings) -> PieceRules | None:
        """Return how recordings are cut, None for windows over everything. tuned: where the options do not say it."""
        return self._pieces.over(tuned).rules(self.longest_heard, self._sizes)

    def batch_function(self, *, log_probs: bool) -> BatchFunction:
        """Return what computes a batch, in the precision that was chosen: see `_batch`."""
        return in_precision(partial(self._batch, log_probs=log_probs), self._precision, self.device)

    def _output(self, outputs: FrameOutputs, log_probs: bool) -> AcousticOutput:
        none = [torch.empty(0), torch.empty(0), torch.empty(0, len(self.vocabulary))]  # shorter than one frame
        symbols, scores, *emissions = outputs.tensors or none[: 2 + log_probs]
        of_all = emissions[0].numpy() if emissions else None
        return AcousticOutput(outputs.recording, symbols.tolist(), scores.numpy(), of_all)

    @torch.inference_mode()
    def _batch(
        self, waveforms: Tensor, lengths: Tensor, moments: Moments, *, log_probs: bool
    ) -> list[tuple[Tensor, ...]]:
        """For each row the best path and its log-probabilities (T,), then all log-probabilities (T, V) if wanted."""
        if moments is not None and isinstance(self.model, SharedEncoder):
            logits, frame_lengths = self.model(waveforms, lengths, moments=moments)
        else:
            if moments is not None and not self._told:  # an exported model has its own statistics inside
                self._told = True
                print_notice(_OWN_STATISTICS)
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
    source: ModelSource, vocabulary: Vocabulary | None, beside: bool, language: str | None = None
) -> tuple["Wav2Vec2ForCTC | ExportedRecognizer", Vocabulary]:
    """Return the model, or the exported file that may stand `beside` it and be used in its place."""
    name = str(source) if isinstance(source, str | Path) else "model"
    model: Any = source
    if isinstance(source, str | Path):
        path = locate_recognizer(source, language)
        model = _exported_beside(path) if beside and vocabulary is None else None
        model = model or load_recognizer(path, language)
    elif language is not None:
        raise UserError("language: give the name of a multilingual model; this one is loaded already")
    if not hasattr(model, "vocabulary"):
        raise UserError(f"{name}: {_why_no_text(source)}")
    vocabulary = vocabulary or model.vocabulary
    if vocabulary is None:
        raise UserError(f"{name}: has no vocabulary; pass one, or use a model directory with vocab.json")
    return model, vocabulary


def _exported_beside(path: Path) -> "ExportedRecognizer | None":
    if not (path / "model.onnx").exists():
        return None  # before modules are imported that only few need
    from wav2vec2.inference.exported_beside import exported_beside

    return exported_beside(path, print_notice)


def _why_no_text(source: ModelSource) -> str:
    """Return why a model cannot write text, and the remedy: another head that its file holds, or none."""
    if isinstance(source, str | Path):
        from wav2vec2.checkpoints.load import describe

        if head := describe(source).head:
            return f"holds {head}, which cannot write text; fine-tune its encoder (wav2vec2 finetune --init)"
    return "has no CTC head and cannot write text; fine-tune it first"


def is_exported(source: str | Path) -> bool:
    """Whether a name is that of a file which `wav2vec2 export` writes."""
    return Path(source).suffix in _EXPORTED


def locate_recognizer(source: str | Path, language: str | None = None) -> Path:
    """Return the local path of what `load_recognizer` reads; files of the hub are downloaded into its cache.

    Raises UserError if nothing is there.
    """
    if is_exported(source):
        return Path(source)
    from wav2vec2.checkpoints.load import locate

    return locate(source, language=language)


def vocabulary_and_architecture(source: str | Path, language: str | None = None) -> tuple[Vocabulary, Architecture]:
    """What is known of a recogniser, without reading its weights unless it is an exported file. Raises UserError."""
    if is_exported(source):
        model, vocabulary = _model_and_vocabulary(source, None, beside=False)
        return vocabulary, model.architecture
    from wav2vec2.checkpoints.load import describe

    about = describe(source, language=language)
    if about.vocabulary is None:
        raise UserError(f"{source}: {_why_no_text(source)}")
    return about.vocabulary, about.architecture


def load_recognizer(source: str | Path, language: str | None = None) -> "Model | ExportedRecognizer":
    """Return what `source` holds: an exported file (.onnx or .pt2), or what `wav2vec2.load` reads.

    Raises UserError if it cannot be read.
    """
    if is_exported(source):
        if language is not None:
            raise UserError(f"{source}: an exported model has the one language that it was exported with")
        from wav2vec2.inference.exported import OnnxModel
        from wav2vec2.inference.torch_program import TorchProgram

        return OnnxModel(source) if Path(source).suffix == ".onnx" else TorchProgram(source)
    from wav2vec2.checkpoints.load import load

    return load(source, language=language)
