"""An exported recogniser that lies beside the weights of its model, and is used in their place on a CPU.

``wav2vec2 export MODEL MODEL/model.onnx`` writes it. It is used only if it was made from exactly these weights, for the
same architecture and vocabulary. One line says that it is used, or why it is not.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

from wav2vec2.checkpoints.huggingface.weights import weight_files
from wav2vec2.checkpoints.load import open_checkpoint
from wav2vec2.errors import UserError, cause
from wav2vec2.inference.exported import ExportedRecognizer, OnnxModel
from wav2vec2.input_file import open_input

FILE = "model.onnx"
_BLOCK = 1 << 20


def weights_print(folder: Path) -> str:
    """Return a hash of everything in the files of a model directory's weights; empty if it is no such directory.

    Raises UserError if a file cannot be read.
    """
    files = weight_files(folder) if folder.is_dir() else []
    digest = hashlib.sha256()
    for path in files:
        try:
            with open_input(path) as file:
                while block := file.read(_BLOCK):
                    digest.update(block)
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({cause(error)}); copy the model directory again") from None
    return digest.hexdigest() if files else ""


def exported_beside(folder: Path, notice: Callable[[str], None]) -> ExportedRecognizer | None:
    """Open the exported file in a model directory, if there is one that was made from its weights.

    `notice` takes the line that says that it is used, or why it is not. Raises UserError as `open_checkpoint` does.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        exported = OnnxModel(path)
    except UserError as error:
        notice(f"the exported file beside the model is not used: {error}")
        return None
    own, found = exported.metadata, open_checkpoint(folder)
    theirs = found.architecture, found.vocabulary, found.longest_heard
    same = (own.architecture, own.vocabulary, own.longest_heard) == theirs
    if not same or not own.weights or own.weights != weights_print(folder):
        notice(f"{path}: not used, because it was made from other weights; export the model again, or remove it")
        return None
    notice(f"{path}: used ({own.precision}), because it lies beside the model; --precision float32 turns it off")
    return exported
