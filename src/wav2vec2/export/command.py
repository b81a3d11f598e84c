"""``wav2vec2 export MODEL OUT``: a recogniser as one file for other runtimes, kept only if it agrees with the model."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from wav2vec2.decode.build import NO_LM
from wav2vec2.errors import UserError
from wav2vec2.export.formats import write_onnx, write_program
from wav2vec2.export.gate import Limits, check_export
from wav2vec2.export.onnx_graph import data_file
from wav2vec2.inference.acoustic_model import is_exported, locate_recognizer
from wav2vec2.inference.exported import ExportedRecognizer, ExportMetadata, OnnxModel, Precision
from wav2vec2.inference.exported_beside import weights_print
from wav2vec2.inference.torch_program import TorchProgram
from wav2vec2.inference.transcribe import Transcriber
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.output_file import writing_together

_SUFFIXES = {"onnx": ".onnx", "torch-export": ".pt2"}


@dataclass(frozen=True)
class ExportOptions:
    """Write a recogniser as an ONNX file or a torch.export program that takes any batch size and length. The file is
    first compared with the model, and is discarded if they disagree.

    Inputs: waveforms (batch, samples) float32 and lengths (batch,) int64. Outputs: logits (batch, frames, symbols) and
    frame_lengths (batch,). The metadata holds the vocabulary, the blank, sample rate, stride, receptive field, and
    whether the input must be normalised. `wav2vec2 transcribe` accepts the file in place of a model.
    """

    model: Annotated[str, Positional, arg(metavar="MODEL")]
    """A recogniser: a model directory or checkpoint file with a CTC head and a vocabulary."""
    out: Annotated[Path, Positional, arg(metavar="OUT")]
    """The file to write: NAME.onnx, or NAME.pt2 with --to torch-export. MODEL/model.onnx is used by itself in place of
    the model on a CPU, until the model changes."""
    language: str | None = None
    """Language of a multilingual model such as facebook/mms-1b-all, by its code of three letters, such as swh."""
    to: Literal["onnx", "torch-export"] = "onnx"
    """onnx: for ONNX Runtime and others. torch-export: for torch.export.load."""
    int8: bool = False
    """Store and compute linear layers in int8 (onnx only), and convolutions in float32. Needs --check."""
    int8_convolutions: bool = False
    """As --int8, with all convolutions of the feature encoder except the first in int8, too. Needs --check."""
    log_softmax: bool = False
    """Output log-probabilities instead of logits."""
    check: str | None = None
    """Speech to compare the file and the model on: an audio file, a folder of audio, or a manifest, whose transcripts
    then give error rates. By default they are compared on noise."""
    split: str | None = None
    """Use only these splits of the manifest, such as dev or dev+test."""
    tolerance: float = 1e-4
    """Largest allowed difference of float32 outputs, relative to max(1, largest output)."""
    max_error_increase: float = 0.3
    """With a manifest: largest allowed increase of the word error rate (of the character error rate for scripts without
    spaces), in percentage points."""
    max_text_difference: float = 1.0
    """With audio: largest allowed character error rate against the model's own text, in percent."""


def run(options: ExportOptions) -> None:
    """Write the file and print how it compares with the model. Raises UserError, and leaves OUT unchanged, if they
    disagree.
    """
    _validate(options)
    if is_exported(options.model):
        raise UserError(f"{options.model}: is already an exported file; give the model that it was made from")
    transcriber = Transcriber(options.model, device="cpu", lm=NO_LM, precision="float32", language=options.language)
    model = transcriber.model
    assert not isinstance(model, ExportedRecognizer)
    precision: Precision = (
        "int8 with convolutions" if options.int8_convolutions else "int8" if options.int8 else "float32"
    )
    metadata = ExportMetadata(
        transcriber.architecture,
        transcriber.vocabulary,
        log_softmax=options.log_softmax,
        precision=precision,
        # A file of one language must not stand for the model of all.
        weights="" if options.language else weights_print(locate_recognizer(options.model)),
        longest_heard=model.longest_heard,
    )
    limits = Limits(options.tolerance, options.max_error_increase, options.max_text_difference)
    started = time.monotonic()
    out = options.out.resolve()  # write through a symbolic link
    weights = data_file(out)
    with writing_together(out.parent, last=out.name, obsolete=[weights.name]) as folder:
        exported = _writer(options, model, metadata)(folder / out.name)
        agreement = check_export(transcriber, exported, options.check, options.split, limits)
    size = sum(file.stat().st_size for file in (out, weights) if file.exists()) / 1e6
    print(f"{options.out}: {precision}, {size:.1f} MB, {time.monotonic() - started:.0f} s; {agreement}")


def _writer(
    options: ExportOptions, model: Wav2Vec2ForCTC, metadata: ExportMetadata
) -> Callable[[Path], ExportedRecognizer]:
    """Return the function that writes the file to a path and opens it."""

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
        raise UserError(
            f"{options.out}: a file for --to {options.to} must end in {suffix}, such as {options.out.stem}{suffix}"
        )
    if options.out.is_dir():
        raise UserError(f"{options.out}: is a folder; give the name of the file to write")
    if quantized and options.to != "onnx":
        raise UserError("--int8 is only for --to onnx; a torch program is exported in float32")
    if quantized and options.check is None:
        raise UserError(
            "--int8 changes the outputs, so they must be compared on speech: give audio or a manifest with --check"
        )
    if options.split is not None and options.check is None:
        raise UserError("--split selects from a manifest: give one with --check")
    for name, value in (
        ("tolerance", options.tolerance),
        ("max-error-increase", options.max_error_increase),
        ("max-text-difference", options.max_text_difference),
    ):
        if not value >= 0:
            raise UserError(f"--{name} {value}: must be 0 or more")
