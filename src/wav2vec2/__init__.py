"""wav2vec 2.0 (arXiv 2006.11477): pre-training on raw speech, fine-tuning, decoding and evaluation.

    import wav2vec2

    model = wav2vec2.load("facebook/wav2vec2-base-960h")
    print(wav2vec2.Transcriber(model)("call.wav").text)
    wav2vec2.save(model, "model/")

A public name is imported from its module when it is first used, so that ``import wav2vec2`` does not wait for torch.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wav2vec2.audio.recordings import Failure
    from wav2vec2.bulk.results import read_results
    from wav2vec2.checkpoints.huggingface.directory import save
    from wav2vec2.checkpoints.load import load
    from wav2vec2.decode.build import DecodingOptions
    from wav2vec2.errors import UserError
    from wav2vec2.inference.align import Aligner
    from wav2vec2.inference.live.settings import LiveSettings
    from wav2vec2.inference.transcribe import Transcriber
    from wav2vec2.model.ctc import Wav2Vec2ForCTC
    from wav2vec2.model.encoder import Wav2Vec2Encoder
    from wav2vec2.model.pretraining import Wav2Vec2ForPretraining
    from wav2vec2.output.alignment import Alignment
    from wav2vec2.output.transcript import Transcript
    from wav2vec2.text.vocabulary import Vocabulary

__all__ = [
    "Aligner",
    "Alignment",
    "DecodingOptions",
    "Failure",
    "LiveSettings",
    "Transcriber",
    "Transcript",
    "UserError",
    "Vocabulary",
    "Wav2Vec2Encoder",
    "Wav2Vec2ForCTC",
    "Wav2Vec2ForPretraining",
    "load",
    "read_results",
    "save",
]
__version__ = "0.1.0"

_MODULES = {
    "Aligner": "inference.align",
    "Alignment": "output.alignment",
    "DecodingOptions": "decode.build",
    "Failure": "audio.recordings",
    "LiveSettings": "inference.live.settings",
    "Transcriber": "inference.transcribe",
    "Transcript": "output.transcript",
    "UserError": "errors",
    "Vocabulary": "text.vocabulary",
    "Wav2Vec2Encoder": "model.encoder",
    "Wav2Vec2ForCTC": "model.ctc",
    "Wav2Vec2ForPretraining": "model.pretraining",
    "load": "checkpoints.load",
    "read_results": "bulk.results",
    "save": "checkpoints.huggingface.directory",
}

if not TYPE_CHECKING:  # type checkers would accept any name

    def __getattr__(name: str) -> object:
        """Import a public name from its module at its first use (PEP 562)."""
        if name not in _MODULES:
            raise AttributeError(f"module 'wav2vec2' has no attribute {name!r}")
        return getattr(importlib.import_module(f"wav2vec2.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])
