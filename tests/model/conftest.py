"""Small models of both families."""

from dataclasses import replace

import pytest
import torch

from wav2vec2.model.architecture import Architecture, Masking, Regularization
from wav2vec2.model.pretraining import Wav2Vec2ForPretraining

GROUP = Architecture(
    name="test-group",
    conv_channels=(16,) * 7,
    hidden_size=48,
    layers=2,
    ffn_size=96,
    heads=4,
    pos_conv_groups=4,
    codebook_entries=12,
    codevector_size=16,
    final_size=16,
    negatives=20,
)
LAYER = replace(
    GROUP, name="test-layer", conv_norm="layer", conv_bias=True, layer_norm_first=True, normalize_input=True
)
PLAIN = Regularization(
    dropout=0.0, attention_dropout=0.0, input_dropout=0.0, feature_dropout=0.0, layerdrop=0.0, feature_grad_mult=1.0
)


@pytest.fixture(params=[GROUP, LAYER], ids=["group", "layer"])
def architecture(request: pytest.FixtureRequest) -> Architecture:
    return request.param


def make_model(
    architecture: Architecture, regularization: Regularization = PLAIN, dtype: torch.dtype = torch.float64
) -> Wav2Vec2ForPretraining:
    """A model whose every parameter is off its trivial starting value."""
    torch.manual_seed(0)
    model = Wav2Vec2ForPretraining(architecture, regularization, Masking()).to(dtype)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    return model
