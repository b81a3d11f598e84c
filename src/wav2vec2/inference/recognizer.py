"""One door for everything that writes text: models with a CTC head, and exported files that need no model code."""

from pathlib import Path
from typing import Any

_EXPORTED = (".onnx", ".pt2")


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
        from wav2vec2.inference.onnx_model import OnnxModel

        return OnnxModel(source)
    if suffix == ".pt2":
        from wav2vec2.inference.torch_program import ProgramModel

        return ProgramModel(source)
    from wav2vec2.checkpoints.load import load

    return load(source)
