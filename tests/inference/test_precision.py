"""Recognition in half precision: the same text, on a CPU that stands in for a GPU."""

import numpy as np
import pytest
import torch
from tests.inference.spoken_symbols import VOCABULARY
from tests.small_models import FAMILIES, recognizer

from wav2vec2.audio.recordings import open_recording
from wav2vec2.errors import UserError
from wav2vec2.inference.acoustic_model import AcousticModel, AcousticOutput
from wav2vec2.inference.frame_outputs import ComputeOptions
from wav2vec2.inference.transcribe import Transcriber


def heard(model: AcousticModel, samples: np.ndarray) -> AcousticOutput:
    ((output,),) = model.pools([open_recording(samples)], log_probs=True)
    assert isinstance(output, AcousticOutput)
    return output


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_hears_the_same(family: str, precision: str) -> None:
    model = recognizer(FAMILIES[family], VOCABULARY)
    samples = np.random.default_rng(0).standard_normal(48_000).astype(np.float32) * 0.1
    exact = heard(AcousticModel(model, compute=ComputeOptions("cpu")), samples)
    half = heard(AcousticModel(model, compute=ComputeOptions("cpu", precision=precision)), samples)  # type: ignore[arg-type]
    assert exact.log_probs is not None
    assert half.log_probs is not None
    assert half.log_probs.dtype == np.float32
    difference = np.abs(half.log_probs - exact.log_probs)
    assert difference.max() > 1e-6
    assert np.median(difference) < (0.1 if precision == "bf16" else 0.02)
    assert (np.array(exact.best_path) == np.array(half.best_path)).mean() > 0.95


def test_the_default_on_a_cpu_is_float32() -> None:
    model = recognizer(FAMILIES["group"], VOCABULARY)
    samples = np.random.default_rng(0).standard_normal(16_000).astype(np.float32) * 0.1
    assert Transcriber(model, device="cpu")(samples) == Transcriber(model, device="cpu", precision="float32")(samples)


def test_an_exported_file_keeps_its_own_precision() -> None:
    class Exported:
        """What `OnnxModel` looks like from outside."""

        architecture, vocabulary = FAMILIES["group"], VOCABULARY

        def to(self, device: torch.device) -> "Exported":
            return self

        def eval(self) -> "Exported":
            return self

    with pytest.raises(UserError, match=r"^precision: an exported file computes as it was exported"):
        AcousticModel(Exported(), compute=ComputeOptions("cpu", precision="bf16"))  # type: ignore[arg-type]
