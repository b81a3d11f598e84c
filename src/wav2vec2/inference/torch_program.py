"""An exported torch program (.pt2): a graph that PyTorch runs without this package's model code."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wav2vec2.errors import UserError
from wav2vec2.inference.exported import ExportedRecognizer, ExportMetadata

METADATA_FILE = "wav2vec2.json"


class ProgramModel(ExportedRecognizer):
    """`wav2vec2 export --to torch-export` read back. Raises UserError for a missing, damaged or foreign file."""

    def __init__(self, path: str | Path) -> None:
        if not Path(path).is_file():
            raise UserError(f"{path}: no such file; give one that wav2vec2 export has written")
        extra = {METADATA_FILE: ""}
        try:
            if not zipfile.is_zipfile(path):
                raise ValueError("not a .pt2 archive")
            program = torch.export.load(io.BytesIO(Path(path).read_bytes()), extra_files=extra)
            facts = json.loads(extra[METADATA_FILE] or "{}")
        except Exception as error:  # whatever a damaged archive makes torch raise
            reason = " ".join(str(error).split())[:160]
            raise UserError(f"{path}: torch.export cannot open it ({reason}); export the model again") from None
        super().__init__(ExportMetadata.from_strings(facts, str(path)))
        self._graph: Any = program.module()

    @torch.inference_mode()
    def run(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """See `ExportedRecognizer.run`."""
        logits, frames = self._graph(waveforms, lengths)
        return logits, frames
