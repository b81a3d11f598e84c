"""LARGE with all its 24 layers of full width, ours in transformers and theirs in ours."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.parity.closeness import FLOAT32_DEEP, assert_close
from tests.small_models import noise
from torch import Tensor, nn

import wav2vec2
from wav2vec2.model.architecture import ARCHITECTURES
from wav2vec2.model.ctc import Wav2Vec2ForCTC

transformers = pytest.importorskip("transformers")


def layer_outputs(layers: nn.ModuleList) -> list[Tensor]:
    """A list that the next forward pass fills with the (T, d) output of every layer, for one utterance."""
    found: list[Tensor] = []
    for layer in layers:
        layer.register_forward_hook(
            lambda _module, _inputs, output: found.append(
                (output[0] if isinstance(output, tuple) else output).flatten(0, -2)
            )
        )
    return found


@pytest.mark.slow
@pytest.mark.parametrize("size", ["large", "large_lv60k"])
def test_large_at_full_depth_both_ways(size: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    ours = Wav2Vec2ForCTC(ARCHITECTURES[size], 32).eval()
    wav2vec2.save(ours, tmp_path / "ours")
    theirs = transformers.Wav2Vec2ForCTC.from_pretrained(tmp_path / "ours").eval()
    waveforms = noise(8000)[0]
    mine, other = layer_outputs(ours.encoder.context.layers), layer_outputs(theirs.wav2vec2.encoder.layers)
    with torch.inference_mode():
        logits, expected = ours(waveforms)[0], theirs(waveforms).logits
    assert len(mine) == len(other) == 24
    for layer, pair in enumerate(zip(mine, other, strict=True)):
        assert_close(*pair, FLOAT32_DEEP, f"layer {layer}")
    assert_close(logits, expected, FLOAT32_DEEP, "logits")
    del ours
    theirs.save_pretrained(tmp_path / "theirs")
    again = wav2vec2.load(tmp_path / "theirs")
    assert replace(again.architecture, name=size) == ARCHITECTURES[size]
    with torch.inference_mode():
        assert torch.equal(again(waveforms)[0], logits)
