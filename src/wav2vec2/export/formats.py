"""Write a CTC model as a torch.export program (float32) or as an ONNX file (float32 or int8).

Both take any batch size and length: inputs `waveforms` (B, S) float32 and `lengths` (B,) int64, outputs `logits`
(B, T, V), zero beyond the end of each utterance, and `frame_lengths` (B,).
"""

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from wav2vec2.errors import UserError
from wav2vec2.export.onnx_graph import Graph
from wav2vec2.export.onnx_network import INPUTS, OUTPUTS, build
from wav2vec2.export.traceable import TraceableCTC
from wav2vec2.inference.exported import METADATA_FILE, ExportMetadata
from wav2vec2.model.ctc import Wav2Vec2ForCTC


def traced(model: Wav2Vec2ForCTC, metadata: ExportMetadata) -> Any:
    """Return the model as a `torch.export.ExportedProgram` with dynamic batch size and length."""
    network = TraceableCTC(model, log_softmax=metadata.log_softmax)
    samples = 9 * metadata.minimum_samples + 7
    example = (torch.zeros(3, samples), torch.tensor([samples, samples // 2, 1]))
    batch, time = torch.export.Dim("batch"), torch.export.Dim("samples", min=metadata.minimum_samples)
    with _quietly():
        # The exporter cannot prove everything about sizes (a floor of a floor): let the program check at run time.
        return torch.export.export(
            network.eval(),
            example,
            dynamic_shapes=({0: batch, 1: time}, {0: batch}),
            prefer_deferred_runtime_asserts_over_guards=True,
        )


def write_program(model: Wav2Vec2ForCTC, path: str | Path, metadata: ExportMetadata) -> None:
    """Write the model as a .pt2 file."""
    program = traced(model, metadata)
    buffer = io.BytesIO()  # torch warns about every file name that does not end in .pt2
    with _quietly():
        torch.export.save(program, buffer, extra_files={METADATA_FILE: json.dumps(metadata.as_strings())})
    Path(path).write_bytes(buffer.getvalue())


def write_onnx(model: Wav2Vec2ForCTC, path: str | Path, metadata: ExportMetadata) -> None:
    """Write the model as an ONNX file in `metadata.precision`; weights above 2 GiB go to a file beside it
    (`data_file`).

    Raises UserError if the extra `export` is not installed, or if a part of the model has no ONNX form.
    """
    graph = Graph(_onnx())
    build(graph, model, log_softmax=metadata.log_softmax, precision=metadata.precision)
    graph.save(Path(path), INPUTS, OUTPUTS, metadata.as_strings())


def _onnx() -> Any:
    """Import the module `onnx`. Raises UserError if it is not installed."""
    try:
        import onnx
    except ImportError:
        raise UserError("onnx is not installed: pip install 'wav2vec2[export]'") from None
    return onnx


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Silence the exporter's messages."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
