"""Published sizes, to the digit, without allocating them."""

import pytest
import torch

from wav2vec2.model.architecture import ARCHITECTURES
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.model.pretraining import Wav2Vec2ForPretraining

ENCODER_AND_TOTAL = {
    "base": (94_371_712, 95_044_608),
    "large": (315_428_992, 317_380_864),
    "large_lv60k": (315_438_720, 317_390_592),
    "300m": (315_438_720, 317_390_592),
    "1b": (962_497_408, 965_514_752),
    "2b": (2_159_259_648, 2_162_932_352),
    "3b": (3_060_320_896, 3_064_124_672),
    "7b": (6_484_683_392, 6_488_487_168),
}


@pytest.mark.parametrize("name", ENCODER_AND_TOTAL)
def test_parameters(name: str) -> None:
    with torch.device("meta"):
        model = Wav2Vec2ForPretraining(ARCHITECTURES[name])
    encoder = sum(p.numel() for p in model.encoder.parameters())
    assert (encoder, sum(p.numel() for p in model.parameters())) == ENCODER_AND_TOTAL[name]


def test_ctc_model_with_9812_symbols() -> None:
    """Omnilingual's CTC-300M counts no mask embedding."""
    architecture = ARCHITECTURES["300m"]
    with torch.device("meta"):
        model = Wav2Vec2ForCTC(architecture, 9812)
    assert sum(p.numel() for p in model.parameters()) - architecture.hidden_size == 325_494_996
