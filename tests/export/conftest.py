"""Small recognisers of both families as model directories, each exported once for all tests."""

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import wav2vec2
from wav2vec2.model.architecture import ARCHITECTURES, Architecture
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.text.normalize import TextNormalization
from wav2vec2.text.vocabulary import Vocabulary

# Three convolutions where the published models have seven: tracing them takes most of the time.
SIZES = {
    "name": "custom",
    "conv_channels": (16, 24, 16),
    "conv_kernels": (10, 3, 2),
    "conv_strides": (5, 2, 2),
    "hidden_size": 32,
    "layers": 1,
    "ffn_size": 64,
    "heads": 2,
    "pos_conv_kernel": 16,
    "pos_conv_groups": 4,
    "codevector_size": 16,
    "final_size": 16,
}
VOCABULARY = Vocabulary.from_transcripts(["THE QUICK BROWN FOX"], normalization=TextNormalization(case="upper"))


def family(name: str) -> Architecture:
    return replace(ARCHITECTURES["base" if name == "group" else "large_lv60k"], **SIZES)


def recognizer(architecture: Architecture, seed: int = 0) -> Wav2Vec2ForCTC:
    """No bias or gain at its trivial start, and texts of many symbols."""
    torch.manual_seed(seed)
    model = Wav2Vec2ForCTC(architecture, VOCABULARY).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
        model.head.weight.mul_(4)
    return model


def audio(*samples: int, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Padded noise (B, S) and lengths (B,)."""
    generator = torch.Generator().manual_seed(seed)
    waveforms = torch.zeros(len(samples), max(samples))
    for row, count in enumerate(samples):
        waveforms[row, :count] = torch.randn(count, generator=generator)
    return waveforms, torch.tensor(samples)


@pytest.fixture(scope="session", params=["group", "layer"])
def directory(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory."""
    path = tmp_path_factory.mktemp(request.param)
    wav2vec2.save(recognizer(family(request.param)), path)
    return path


@pytest.fixture(scope="session")
def exported(directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """exported("onnx", int8=True, ...) runs the command once for each set of options."""
    from wav2vec2.export.command import ExportOptions, run

    folder = tmp_path_factory.mktemp("exported")

    @functools.cache
    def export(to: str, **options: object) -> Path:
        suffix = ".onnx" if to == "onnx" else ".pt2"
        out = folder / ("-".join([to, *options]) + suffix)
        run(ExportOptions(str(directory), out, to=to, **options))  # type: ignore[arg-type]
        return out

    return export
