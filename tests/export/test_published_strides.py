"""The published seven convolutions (stride 320) in both formats, at small width, with any batch and time."""

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.export.conftest import VOCABULARY
from tests.small_models import FAMILIES, noise, recognizer

from wav2vec2.errors import UserError
from wav2vec2.export import onnx_graph
from wav2vec2.export.formats import write_onnx, write_program
from wav2vec2.inference.exported import ExportMetadata, OnnxModel, Precision
from wav2vec2.inference.torch_program import TorchProgram
from wav2vec2.model.ctc import Wav2Vec2ForCTC

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

VARIANTS = {
    "group": {},
    "layer": {},
    "group, bias": {"conv_bias": True},
    "layer, stacked positions": {"pos_conv_depth": 3, "pos_conv_kernel": 12},
    "layer, adapters": {"adapter_size": 4, "layers": 2},
}
BATCHES = [(16_000,), (900, 1, 12_345, 399, 400, 720)]


@functools.cache
def made(variant: str) -> Wav2Vec2ForCTC:
    sizes = {"layers": 1, "conv_channels": (8, 16, 16, 16, 16, 24, 24), **VARIANTS[variant]}
    return recognizer(replace(FAMILIES[variant.split(",")[0]], **sizes), VOCABULARY)


def described(model: Wav2Vec2ForCTC, precision: Precision = "float32") -> ExportMetadata:
    return ExportMetadata(model.architecture, VOCABULARY, log_softmax=False, precision=precision)


def largest_difference(model: Wav2Vec2ForCTC, run: Callable[..., tuple[torch.Tensor, torch.Tensor]]) -> float:
    """Of the graph itself, on padded batches, relative to the largest output."""
    worst = 0.0
    for samples in BATCHES:
        waveforms, lengths = noise(*samples)
        with torch.inference_mode():
            expected, frames = model(waveforms, lengths)
        logits, counts = run(waveforms, lengths)
        assert counts.tolist() == frames.tolist()
        assert logits.shape == expected.shape
        assert not any(row[count:].any() for row, count in zip(logits, counts.tolist(), strict=True))
        worst = max(worst, float((logits - expected).abs().max() / expected.abs().max()))
    return worst


@pytest.mark.parametrize("variant", VARIANTS)
def test_onnx(variant: str, tmp_path: Path) -> None:
    write_onnx(made(variant), tmp_path / "model.onnx", described(made(variant)))
    assert largest_difference(made(variant), OnnxModel(tmp_path / "model.onnx").run) < 2e-5


@pytest.mark.parametrize("precision", ["int8", "int8 with convolutions"])
@pytest.mark.parametrize("variant", ["group", "layer, adapters"])
def test_onnx_in_int8(variant: str, precision: Precision, tmp_path: Path) -> None:
    write_onnx(made(variant), tmp_path / "model.onnx", described(made(variant), precision))
    assert 1e-5 < largest_difference(made(variant), OnnxModel(tmp_path / "model.onnx").run) < 0.1


def test_quiet_frames_keep_their_precision_in_int8_convolutions(tmp_path: Path) -> None:
    """A loud second beside quiet ones, ten thousand times as loud: each window has a scale of its own."""
    model = made("layer")
    waveforms = noise(16_000)[0]
    waveforms[:, 4000:] *= 1e-2
    write_onnx(model, tmp_path / "model.onnx", described(model, "int8 with convolutions"))
    write_onnx(model, tmp_path / "linear.onnx", described(model, "int8"))
    with torch.inference_mode():
        expected = model(waveforms)[0]
    errors = [
        float((OnnxModel(tmp_path / name)(waveforms)[0] - expected)[:, 15:].abs().max())
        for name in ("linear.onnx", "model.onnx")
    ]
    assert errors[1] < 3 * errors[0]


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["group", "layer"])
def test_torch_export(variant: str, tmp_path: Path) -> None:
    write_program(made(variant), tmp_path / "model.pt2", described(made(variant)))
    assert largest_difference(made(variant), TorchProgram(tmp_path / "model.pt2").run) < 2e-5


def test_weights_beyond_one_file_lie_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = made("group")
    write_onnx(model, tmp_path / "whole.onnx", described(model))
    monkeypatch.setattr(onnx_graph, "LARGEST_FILE", 50_000)
    write_onnx(model, tmp_path / "model.onnx", described(model))
    assert {path.name for path in tmp_path.iterdir()} == {"whole.onnx", "model.onnx", "model.onnx.data"}
    assert (tmp_path / "model.onnx").stat().st_size < 70_000 < (tmp_path / "model.onnx.data").stat().st_size
    batch = noise(5000, 3000)
    whole, beside = (OnnxModel(tmp_path / name).run(*batch)[0] for name in ("whole.onnx", "model.onnx"))
    assert np.array_equal(whole, beside)
    (tmp_path / "model.onnx.data").unlink()
    with pytest.raises(UserError, match="cannot open it") as caught:
        OnnxModel(tmp_path / "model.onnx")
    assert "\n" not in str(caught.value)


def test_a_part_that_has_no_onnx_form_is_refused(tmp_path: Path) -> None:
    class Other(torch.nn.LayerNorm):
        pass

    model = recognizer(made("group").architecture, VOCABULARY)
    model.encoder.context.layers[0].ffn_norm = Other(32)
    with pytest.raises(UserError, match=r"ffn_norm \(Other\) has no ONNX form; use --to torch-export"):
        write_onnx(model, tmp_path / "model.onnx", described(model))
    assert not list(tmp_path.iterdir())
