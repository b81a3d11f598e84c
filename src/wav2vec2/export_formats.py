"""A CTC model written as a torch program or as an ONNX file, in float32 or with int8 matrix products.

Batch and time are dynamic in both: inputs `waveforms` (B, S) float32 and `lengths` (B,) int64, outputs `logits`
(B, T, V), zero beyond each utterance's end, and `frame_lengths` (B,).
"""

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from wav2vec2.errors import UserError
from wav2vec2.exported import ExportMetadata
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.model.traceable import TraceableCTC
from wav2vec2.onnx_model import onnx_runtime
from wav2vec2.torch_program import METADATA_FILE

OPSET = 20
"""The first with Gelu and the last that needs nothing newer than ONNX Runtime 1.17."""
_LARGEST_FILE = (1 << 31) - (1 << 20)  # protobuf's limit, less the graph


def traced(model: Wav2Vec2ForCTC, metadata: ExportMetadata, *, matrix_convolutions: bool = False) -> Any:
    """The model as a `torch.export.ExportedProgram` with dynamic batch and time."""
    network = TraceableCTC(model, log_softmax=metadata.log_softmax, matrix_convolutions=matrix_convolutions)
    samples = 9 * metadata.minimum_samples + 7
    example = (torch.zeros(3, samples), torch.tensor([samples, samples // 2, 1]))
    batch, time = torch.export.Dim("batch"), torch.export.Dim("samples", min=metadata.minimum_samples)
    with _quietly():
        # What cannot be proven about sizes (a floor of a floor) is checked when the program runs.
        return torch.export.export(
            network.eval(),
            example,
            dynamic_shapes=({0: batch, 1: time}, {0: batch}),
            prefer_deferred_runtime_asserts_over_guards=True,
        )


def write_program(model: Wav2Vec2ForCTC, path: str, metadata: ExportMetadata) -> None:
    """Write a .pt2 file."""
    program = traced(model, metadata)
    buffer = io.BytesIO()  # torch complains about every file name that does not end in .pt2
    with _quietly():
        torch.export.save(program, buffer, extra_files={METADATA_FILE: json.dumps(metadata.as_strings())})
    Path(path).write_bytes(buffer.getvalue())


def write_onnx(
    model: Wav2Vec2ForCTC, path: str, metadata: ExportMetadata, *, int8: bool = False, int8_convolutions: bool = False
) -> None:
    """Write an ONNX file; `int8` quantizes linear layers, `int8_convolutions` the encoder's convolutions as well.

    Raises UserError if the extra `export` is not installed or the float32 weights exceed one ONNX file.
    """
    onnx = _onnx()
    size = 4 * sum(parameter.numel() for parameter in model.parameters())
    if size > _LARGEST_FILE:
        raise UserError(f"the weights are {size / 2**30:.1f} GiB and ONNX files end at 2; use --to torch-export")
    program = traced(model, metadata, matrix_convolutions=int8_convolutions)
    with _quietly():
        exported = torch.onnx.export(
            program,
            (),
            None,
            dynamo=True,
            opset_version=OPSET,
            input_names=["waveforms", "lengths"],
            output_names=["logits", "frame_lengths"],
            verbose=False,
        )
        assert exported is not None
        proto = exported.model_proto
    if int8 or int8_convolutions:
        proto = _quantized(onnx, proto, model.head.out_features)
    onnx.helper.set_model_props(proto, metadata.as_strings())
    onnx.save(proto, path)


def _quantized(onnx: Any, proto: Any, vocabulary_size: int) -> Any:
    """Matrix products with constant weights in int8, activations by their range at run time; the head stays float32.

    Weights keep to 7 bits: on CPUs without VNNI the sum of two 8 x 8 bit products overflows 16 bits and saturates.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    constants = {tensor.name: tuple(tensor.dims) for tensor in proto.graph.initializer}
    head = [
        node.name
        for node in proto.graph.node
        if node.op_type in ("MatMul", "Gemm") and vocabulary_size in constants.get(node.input[1], ())[-2:]
    ]
    with TemporaryDirectory() as folder, _quietly():
        source, target = f"{folder}/float32.onnx", f"{folder}/int8.onnx"
        onnx.save(proto, source)
        quantize_dynamic(
            source,
            target,
            op_types_to_quantize=["MatMul", "Gemm"],
            nodes_to_exclude=head[-1:],
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
        )
        return onnx.load(target)


def _onnx() -> Any:
    """The module `onnx`, once everything that writing needs is known to be there."""
    onnx_runtime()
    try:
        import onnx
        import onnxscript  # noqa: F401  # torch.onnx needs it
    except ImportError as error:
        raise UserError(f"{error.name} is not installed: pip install 'wav2vec2[export]'") from None
    return onnx


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without what the exporters tell about themselves."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
