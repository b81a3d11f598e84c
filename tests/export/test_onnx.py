import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.export.conftest import VOCABULARY
from tests.small_models import noise

import wav2vec2
from wav2vec2.inference.exported import OnnxModel

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

Export = Callable[..., Path]
BATCHES = [(4000,), (60, 3000), (500, 5000, 1, 49, 1234), (7000, 7000)]


def session_outputs(path: Path, waveforms: torch.Tensor, lengths: torch.Tensor) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"waveforms": waveforms.numpy(), "lengths": lengths.numpy()})


@torch.inference_mode()
def eager(directory: Path, *batch: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    logits, frames = wav2vec2.load(directory)(*batch)
    return logits.numpy(), frames.numpy()


@pytest.mark.parametrize("samples", BATCHES)
def test_onnx_equals_the_model_in_a_padded_batch(directory: Path, exported: Export, samples: tuple[int, ...]) -> None:
    batch = noise(*samples)
    logits, frames = session_outputs(exported("onnx"), *batch)
    expected, expected_frames = eager(directory, *batch)
    assert frames.tolist() == expected_frames.tolist()
    # beyond each utterance's end both are zero
    np.testing.assert_allclose(logits, expected, atol=1e-4)


@settings(max_examples=15, deadline=None)
@given(samples=st.lists(st.integers(1, 3000), min_size=1, max_size=4), seed=st.integers(0, 99))
def test_any_lengths_through_the_runtime_object(
    directory: Path, exported: Export, samples: list[int], seed: int
) -> None:
    batch = noise(*samples, seed=seed)
    logits, frames = OnnxModel(exported("onnx"))(*batch)
    expected, expected_frames = eager(directory, *batch)
    assert frames.tolist() == expected_frames.tolist()
    assert logits.shape == expected.shape
    np.testing.assert_allclose(logits, expected, atol=1e-4)


def test_the_file_says_what_it_needs(directory: Path, exported: Export) -> None:
    architecture = wav2vec2.load(directory).architecture
    facts = {entry.key: entry.value for entry in onnx.load(str(exported("onnx"))).metadata_props}
    assert json.loads(facts["vocabulary"])["symbols"] == list(VOCABULARY.symbols)
    assert int(facts["blank"]) == VOCABULARY.blank
    assert json.loads(facts["normalize_input"]) == architecture.normalize_input
    numbers = {key: int(facts[key]) for key in ("sample_rate", "stride", "receptive_field")}
    assert numbers == {"sample_rate": 16_000, "stride": 20, "receptive_field": architecture.receptive_field}
    model = OnnxModel(exported("onnx"))
    assert model.vocabulary == VOCABULARY
    assert asdict(model.architecture) == asdict(architecture)


def test_transcriber_gives_the_model_s_text_and_times(directory: Path, exported: Export, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", 0.1 * noise(20_000)[0][0].numpy(), 16_000)
    sources = [tmp_path / "a.wav", 0.1 * noise(9_000, seed=3)[0][0].numpy(), np.zeros(30, np.float32)]
    # In windows the group norm takes the statistics of the whole piece, which an exported file cannot be given.
    group = wav2vec2.load(directory).architecture.conv_norm == "group"
    sizes = {} if group else {"window_seconds": 0.6, "context_seconds": 0.1}
    ours = wav2vec2.Transcriber(directory, device="cpu", **sizes)(sources)
    theirs = wav2vec2.Transcriber(exported("onnx"), **sizes)(sources)
    assert len(ours[0].text) > 20
    for mine, other in zip(ours, theirs, strict=True):
        assert (mine.text, mine.seconds) == (other.text, other.seconds)
        assert [(w.text, w.start, w.end) for w in mine.words] == [(w.text, w.start, w.end) for w in other.words]
        confidences = [[word.confidence for word in result.words] for result in (mine, other)]
        assert confidences[0] == pytest.approx(confidences[1], abs=1e-3)
        assert mine.score == pytest.approx(other.score, rel=1e-4, abs=1e-3)


@pytest.mark.slow
def test_int8_is_small_close_and_the_same_in_any_batch(directory: Path, exported: Export, tmp_path: Path) -> None:
    """Linear layers alone in the group family, convolutions too in the layer family."""
    check = tmp_path / "speech.wav"
    soundfile.write(check, 0.1 * noise(16_000)[0][0].numpy(), 16_000)
    convolutions = wav2vec2.load(directory).architecture.conv_norm == "layer"
    option = "int8_convolutions" if convolutions else "int8"
    path = exported("onnx", **{option: True}, check=str(check), max_text_difference=30.0)
    kinds = [node.op_type for node in onnx.load(str(path)).graph.node]
    # projection, query, key, value, out, two of the feed-forward block; two more convolutions as matrix products
    assert kinds.count("MatMulInteger") == (9 if convolutions else 7)
    model, batch = OnnxModel(path), noise(3000, 2000)
    logits, frames = model(*batch)
    expected, _ = eager(directory, *batch)
    assert 1e-5 < np.abs(logits.numpy() - expected).max() < 0.2 * np.abs(expected).max()
    alone, _ = model(batch[0][1:, :2000], batch[1][1:])
    assert torch.equal(alone[0], logits[1, : frames[1]])
