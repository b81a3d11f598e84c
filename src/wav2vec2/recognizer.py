"""One door for everything that writes text: models with a CTC head, and exported files that need no model code."""

from pathlib import Path
from typing import Any


def load_recognizer(source: str | Path) -> Any:
    """Return what `source` holds: an `OnnxModel` (.onnx), a `ProgramModel` (.pt2), or what `wav2vec2.load` reads.

    Raises UserError if it cannot be read.
    """
    suffix = Path(source).suffix
    if suffix == ".onnx":
        from wav2vec2.onnx_model import OnnxModel

        return OnnxModel(source)
    if suffix == ".pt2":
        from wav2vec2.torch_program import ProgramModel

        return ProgramModel(source)
    from wav2vec2.checkpoints.load import load

    return load(source)
