from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.small_models import noise

import wav2vec2

SIZES = [(4000,), (500, 5000, 1, 49, 1234), (7000, 7000)]


@pytest.fixture(scope="module")
def program(exported: Callable[..., Path]) -> torch.nn.Module:
    with exported("torch-export", log_softmax=True).open("rb") as file:
        return torch.export.load(file).module()


@pytest.mark.parametrize("samples", SIZES)
def test_torch_loads_it_and_it_equals_the_model(
    directory: Path, program: torch.nn.Module, samples: tuple[int, ...]
) -> None:
    batch = noise(*samples)
    with torch.inference_mode():
        logits, frames = program(*batch)
        expected, expected_frames = wav2vec2.load(directory)(*batch)
    assert torch.equal(frames, expected_frames)
    for row, count in enumerate(frames.tolist()):
        np.testing.assert_allclose(logits[row, :count], expected[row, :count].log_softmax(-1), atol=1e-4)
        assert not logits[row, count:].any()


def test_transcriber_runs_it(directory: Path, exported: Callable[..., Path]) -> None:
    waveform = 0.1 * noise(9000)[0][0].numpy()
    ours, theirs = (
        wav2vec2.Transcriber(m, device="cpu")(waveform) for m in (directory, exported("torch-export", log_softmax=True))
    )
    assert ours.text == theirs.text
    assert [(word.text, word.start, word.end) for word in ours.words] == [
        (word.text, word.start, word.end) for word in theirs.words
    ]
    confidences = [[word.confidence for word in result.words] for result in (ours, theirs)]
    assert confidences[0] == pytest.approx(confidences[1], abs=1e-3)
