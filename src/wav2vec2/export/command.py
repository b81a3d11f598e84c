"""``wav2vec2 export MODEL OUT``: a recogniser as one file that other runtimes run, behind a gate that compares both."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from wav2vec2.errors import UserError
from wav2vec2.export.formats import write_onnx, write_program
from wav2vec2.export.gate import Limits, check_export
from wav2vec2.export.onnx_graph import data_file
from wav2vec2.inference.exported import ExportedRecognizer, ExportMetadata, OnnxModel, Precision, TorchProgram
from wav2vec2.inference.transcribe import Transcriber
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.output_file import writing_together

_SUFFIXES = {"onnx": ".onnx", "torch-export": ".pt2"}


@dataclass(frozen=True)
class ExportOptions:
    """Write a recogniser as an ONNX file or a torch program with dynamic batch and time, once it agrees with the model.

    Inputs: waveforms (batch, samples) float32 and lengths (batch,) int64. Outputs: logits (batch, frames, symbols) and
    frame_lengths (batch,). The file's metadata tell the vocabulary, the blank, whether the input is to be normalised,
    sample rate, stride and receptive field; `wav2vec2 transcribe` runs the file as it runs a model.
    """

    model: Annotated[str, Positional, arg(metavar="MODEL")]
    """A model directory or checkpoint file with a CTC head and a vocabulary."""
    out: Annotated[Path, Positional, arg(metavar="OUT")]
    """The file to write: OUT.onnx, or OUT.pt2 for torch-export."""
    to: Literal["onnx", "torch-export"] = "onnx"
    """onnx: for ONNX Runtime and its like. torch-export: for torch.export.load."""
    int8: bool = False
    """Linear layers in int8 (onnx only), convolutions in float32. Needs --check."""
    int8_convolutions: bool = False
    """The feature encoder's convolutions in int8 as well, all but the first."""
    log_softmax: bool = False
    """Log-probabilities in place of logits."""
    check: str | None = None
    """Audio file, folder of audio, or manifest (its transcripts are then the measure) that the gate compares on;
    without it made-up noise."""
    split: str | None = None
    """Only this split of the manifest, or several: dev+test."""
    tolerance: float = 1e-4
    """Largest difference of float32 outputs, relative to max(1, largest output)."""
    max_error_increase: float = 0.3
    """Percent points of word error rate (of characters for scripts without spaces) that the file may have more than
    the model, on a manifest."""
    max_text_difference: float = 1.0
    """Percent of characters that may differ from the model's text, on audio without transcripts."""


def run(options: ExportOptions) -> None:
    """Write the file and say how it compares; raises UserError, and leaves OUT as it was, where it does not agree."""
    _validate(options)
    transcriber = Transcriber(options.model, device="cpu")
    model = transcriber.model
    if isinstance(model, ExportedRecognizer):
        raise UserError(f"{options.model}: is an exported file already; give the model that it was made of")
    precision: Precision = (
        "int8 with convolutions" if options.int8_convolutions else "int8" if options.int8 else "float32"
    )
    metadata = ExportMetadata(
        transcriber.architecture, transcriber.vocabulary, log_softmax=options.log_softmax, precision=precision
    )
    limits = Limits(options.tolerance, options.max_error_increase, options.max_text_difference)
    started = time.monotonic()
    out = options.out.resolve()  # a link stays a link
    weights = data_file(out)
    with writing_together(out.parent, last=out.name, obsolete=[weights.name]) as folder:
        exported = _writer(options, model, metadata)(folder / out.name)
        agreement = check_export(transcriber, exported, options.check, options.split, limits)
    size = sum(file.stat().st_size for file in (out, weights) if file.exists()) / 1e6
    print(f"{options.out}: {precision}, {size:.1f} MB, {time.monotonic() - started:.0f} s; {agreement}")


def _writer(
    options: ExportOptions, model: Wav2Vec2ForCTC, metadata: ExportMetadata
) -> Callable[[Path], ExportedRecognizer]:
    """Write to a path and open what was written."""

    def onnx(path: Path) -> ExportedRecognizer:
        write_onnx(model, path, metadata)
        return OnnxModel(path)

    def program(path: Path) -> ExportedRecognizer:
        write_program(model, path, metadata)
        return TorchProgram(path)

    return onnx if options.to == "onnx" else program


def _validate(options: ExportOptions) -> None:
    suffix = _SUFFIXES[options.to]
    quantized = options.int8 or options.int8_convolutions
    if options.out.suffix != suffix:
        raise UserError(f"{options.out}: a file for --to {options.to} must be named {options.out.stem}{suffix}")
    if options.out.is_dir():
        raise UserError(f"{options.out}: is a folder; name the file to write")
    if quantized and options.to != "onnx":
        raise UserError("--int8 is for --to onnx; export the torch program in float32")
    if quantized and options.check is None:
        raise UserError("--int8 changes outputs, which is judged on speech: give audio or a manifest by --check")
    if options.split is not None and options.check is None:
        raise UserError("--split chooses from the manifest of --check; give one")
    for name, value in (
        ("tolerance", options.tolerance),
        ("max-error-increase", options.max_error_increase),
        ("max-text-difference", options.max_text_difference),
    ):
        if not value >= 0:
            raise UserError(f"--{name} {value}: must be 0 or more")
