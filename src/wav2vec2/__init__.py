"""wav2vec 2.0 (arXiv 2006.11477) whole: pre-training on raw speech, fine-tuning, decoding and evaluation.

``load``, ``save``, ``Transcriber`` and ``Aligner`` are found here; nothing heavy is imported before one of them is
asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wav2vec2.checkpoints.huggingface.directory import save
    from wav2vec2.checkpoints.load import load
    from wav2vec2.inference.align import Aligner
    from wav2vec2.inference.transcribe import Transcriber

__all__ = ["Aligner", "Transcriber", "load", "save"]
__version__ = "0.1.0"

_HOMES = {
    "load": "wav2vec2.checkpoints.load",
    "save": "wav2vec2.checkpoints.huggingface.directory",
    "Aligner": "wav2vec2.inference.align",
    "Transcriber": "wav2vec2.inference.transcribe",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its module at its first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'wav2vec2' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
