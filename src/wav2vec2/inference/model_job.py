"""What the jobs of `bulk` that run a model over recordings have in common."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wav2vec2.bulk.job import plain_options
from wav2vec2.decode.presets import fingerprint
from wav2vec2.inference.acoustic_model import locate_recognizer
from wav2vec2.inference.frame_outputs import ComputeOptions

_SPEED_ONLY = ("device", "batch_seconds")  # options of `ComputeOptions` that do not change results


@dataclass(frozen=True)
class ModelJob:
    """A model, of a multilingual one the language, and where and how it computes."""

    model: str
    compute: ComputeOptions = field(default_factory=ComputeOptions)
    language: str | None = field(default=None, kw_only=True)

    @property
    def uses_gpu(self) -> bool:
        """See `Job`."""
        return self.compute.device != "cpu"

    def identity(self) -> Mapping[str, Any]:
        """See `Job.identity`."""
        return {
            "model": fingerprint(locate_recognizer(self.model, self.language)),
            "compute": plain_options(self.compute, without=_SPEED_ONLY),
            **({} if self.language is None else {"language": self.language}),
        }
