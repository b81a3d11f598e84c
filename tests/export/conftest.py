"""Small recognisers of both families as model directories, each exported once for all tests."""

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.small_models import FAMILIES, recognizer

import wav2vec2
from wav2vec2.text.normalize import TextNormalization
from wav2vec2.text.vocabulary import Vocabulary

# Three convolutions where the published models have seven: tracing them takes most of the time.
CONVOLUTIONS = {"conv_channels": (16, 24, 16), "conv_kernels": (10, 3, 2), "conv_strides": (5, 2, 2)}
VOCABULARY = Vocabulary.from_transcripts(["THE QUICK BROWN FOX"], normalization=TextNormalization(case="upper"))


@pytest.fixture(scope="session", params=["group", "layer"])
def directory(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory."""
    path = tmp_path_factory.mktemp(request.param)
    wav2vec2.save(recognizer(replace(FAMILIES[request.param], layers=1, **CONVOLUTIONS), VOCABULARY), path)
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
