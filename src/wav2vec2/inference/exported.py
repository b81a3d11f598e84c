"""Exported recognisers: what a file says about itself, and running an ONNX file (`torch_program` runs .pt2 files).

An exported recogniser is used like a `Wav2Vec2ForCTC`: it has `architecture`, `blank` and `vocabulary`, and is called
with padded waveforms. It runs each utterance alone: nothing is computed for padding, and where activations are
quantized dynamically an utterance has the same output in any batch.

Legend: B utterances, S samples, T frames, V symbols.
"""

import json
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from wav2vec2.audio.normalize import FAIRSEQ_EPSILON
from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.config import from_plain
from wav2vec2.device import compute_threads
from wav2vec2.errors import UserError, cause, quoted
from wav2vec2.input_file import parse_json, refuse_special
from wav2vec2.model.architecture import Architecture
from wav2vec2.text.vocabulary import Vocabulary

Precision = Literal["float32", "int8", "int8 with convolutions"]
FORMAT = "wav2vec2_export"
VERSION = "1"
# Files from before `input_epsilon` was stored were normalised with fairseq's.
_OLDEST = Architecture(input_epsilon=FAIRSEQ_EPSILON)
METADATA_FILE = "wav2vec2.json"  # inside a .pt2 archive


@dataclass(frozen=True)
class ExportMetadata:
    """What is needed to use the graph. precision: how its weights are stored. weights: a hash of the files that it was
    made from, empty if they are no model directory.
    """

    architecture: Architecture
    vocabulary: Vocabulary
    log_softmax: bool
    precision: Precision
    weights: str = ""
    longest_heard: float | None = None

    @property
    def minimum_samples(self) -> int:
        """The shortest waveforms that the graph takes: two frames. The values of `lengths` may be smaller."""
        return self.architecture.receptive_field + self.architecture.stride

    def as_strings(self) -> dict[str, str]:
        """Return flat pairs of strings, as ONNX files and torch programs store them."""
        facts = {
            "architecture": asdict(self.architecture),
            "vocabulary": asdict(self.vocabulary),
            "blank": self.vocabulary.blank,
            "outputs": "log-probabilities" if self.log_softmax else "logits",
            "precision": self.precision,
            "sample_rate": SAMPLE_RATE,
            "normalize_input": self.architecture.normalize_input,
            "input_epsilon": self.architecture.input_epsilon,
            "stride": self.architecture.stride,
            "receptive_field": self.architecture.receptive_field,
            "minimum_samples": self.minimum_samples,
            "weights": self.weights,
            "longest_heard": self.longest_heard,
        }
        plain = {key: fact if isinstance(fact, str) else json.dumps(fact) for key, fact in facts.items()}
        return {FORMAT: VERSION, **plain}

    @classmethod
    def from_strings(cls, facts: Mapping[str, str], source: str) -> "ExportMetadata":
        """Read the result of `as_strings`. Raises UserError, naming the file `source`, if it is anything else."""
        if facts.get(FORMAT) != VERSION:
            raise UserError(f"{source}: was not written by this version of wav2vec2 export; export the model again")
        try:
            return cls(
                from_plain(Architecture, parse_json(facts["architecture"]), source="architecture", base=_OLDEST),
                Vocabulary.from_plain(parse_json(facts["vocabulary"])),
                facts["outputs"] == "log-probabilities",
                cast(Precision, facts["precision"]),
                facts.get("weights", ""),
                _seconds(parse_json(facts.get("longest_heard", "null"))),
            )
        except (KeyError, TypeError, ValueError, AttributeError, UserError) as error:
            raise UserError(f"{source}: its metadata is damaged ({cause(error)}); export the model again") from None


def _seconds(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ValueError(f"longest_heard is {quoted(str(value))}")
    return float(value)


class ExportedRecognizer(ABC):
    """A recogniser without a torch model."""

    def __init__(self, metadata: ExportMetadata) -> None:
        self.metadata = metadata
        self.architecture, self.longest_heard = metadata.architecture, metadata.longest_heard
        self.vocabulary, self.blank = metadata.vocabulary, metadata.vocabulary.blank

    @abstractmethod
    def run(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Run the graph: (B, S >= `minimum_samples`) float32, (B,) int64 -> (B, T, V), (B,)."""

    def __call__(self, waveforms: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(B, S) waveforms, (B,) samples (None: all full) -> (B, T, V), zero beyond each end, and (B,) frame counts."""
        samples = [waveforms.shape[1]] * len(waveforms) if lengths is None else lengths.tolist()
        frames = [self.architecture.frame_length(length) for length in samples]
        out = torch.zeros(len(samples), max(frames, default=0), len(self.vocabulary))
        for row, (length, count) in enumerate(zip(samples, frames, strict=True)):
            if count:
                waveform = waveforms[row, :length].float().cpu()
                waveform = F.pad(waveform, (0, max(0, self.metadata.minimum_samples - length)))
                out[row, :count] = self.run(waveform[None], torch.tensor([length]))[0][0, :count]
        return out, torch.tensor(frames, dtype=torch.int64)

    def to(self, device: Any) -> "ExportedRecognizer":
        """Return itself: whatever the device, the graph runs on the CPU."""
        return self

    def eval(self) -> "ExportedRecognizer":
        """Return itself: there is no training mode."""
        return self


class OnnxModel(ExportedRecognizer):
    """An ONNX file of `wav2vec2 export`, run by ONNX Runtime on `threads` threads.

    threads: by default as many as torch uses, and no more than this process has cores.

    Raises UserError if the file is missing, damaged or of another origin, or if ONNX Runtime is not installed.
    """

    def __init__(self, path: str | Path, *, threads: int | None = None) -> None:
        refuse_special(path)
        if not Path(path).is_file():
            raise UserError(f"{path}: no such file; give one that wav2vec2 export wrote")
        self._path = path
        runtime = onnx_runtime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads or min(torch.get_num_threads(), compute_threads())
        options.log_severity_level = 4  # errors become UserErrors instead
        try:
            # With its fallback, ONNX Runtime prints the error and tries again.
            providers = ["CPUExecutionProvider"]
            self._session = runtime.InferenceSession(str(path), options, providers=providers, enable_fallback=0)
            facts = self._session.get_modelmeta().custom_metadata_map
        except Exception as error:  # the exceptions of ONNX Runtime have no common class
            raise UserError(f"{path}: ONNX Runtime cannot open it ({cause(error)}); export the model again") from None
        super().__init__(ExportMetadata.from_strings(facts, str(path)))

    def run(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """See `ExportedRecognizer.run`."""
        feeds = {"waveforms": waveforms.numpy(), "lengths": lengths.numpy()}
        try:
            outputs, frames = self._session.run(None, feeds)
        except Exception as error:  # the exceptions of ONNX Runtime have no common class
            raise UserError(f"{self._path}: its graph does not run ({cause(error)}); export the model again") from None
        return torch.from_numpy(outputs), torch.from_numpy(frames)


def onnx_runtime() -> Any:
    """Return the module `onnxruntime`. Raises UserError, naming the extra to install, if it is missing.

    It is told to collect nothing: when imported, it would write an identifier of the device and a database of telemetry
    into the user's cache folder.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError:
        raise UserError("ONNX Runtime is not installed: pip install 'wav2vec2[export]'") from None
    return onnxruntime
