"""An exported ONNX file, run by ONNX Runtime."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wav2vec2.errors import UserError
from wav2vec2.inference.exported import ExportedRecognizer, ExportMetadata


class OnnxModel(ExportedRecognizer):
    """`wav2vec2 export --to onnx` read back; as many threads as torch uses, or `threads`.

    Raises:
        UserError: the file is missing, damaged or not ours, or ONNX Runtime is not installed.
    """

    def __init__(self, path: str | Path, *, threads: int | None = None) -> None:
        runtime = onnx_runtime()
        if not Path(path).is_file():
            raise UserError(f"{path}: no such file; give one that wav2vec2 export has written")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads or torch.get_num_threads()
        options.log_severity_level = 4  # what goes wrong becomes one line of ours
        try:
            self._session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            facts = self._session.get_modelmeta().custom_metadata_map
        except Exception as error:  # the runtime's exceptions share no class of their own
            reason = " ".join(str(error).split())[:160]
            raise UserError(f"{path}: ONNX Runtime cannot open it ({reason}); export the model again") from None
        super().__init__(ExportMetadata.from_strings(facts, str(path)))

    def run(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """See `ExportedRecognizer.run`."""
        feeds = {"waveforms": waveforms.numpy(), "lengths": lengths.numpy()}
        outputs, frames = self._session.run(None, feeds)
        return torch.from_numpy(outputs), torch.from_numpy(frames)


def onnx_runtime() -> Any:
    """The module `onnxruntime`; raises UserError naming the extra where it is not installed."""
    try:
        import onnxruntime
    except ImportError:
        raise UserError("ONNX Runtime is not installed: pip install 'wav2vec2[export]'") from None
    return onnxruntime
