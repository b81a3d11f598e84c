"""Both families, by a fixture, and a pre-training model of one."""

import pytest
import torch
from tests.small_models import DETERMINISTIC, FAMILIES, perturbed

from wav2vec2.model.architecture import Architecture, Masking, Regularization
from wav2vec2.model.pretraining import Wav2Vec2ForPretraining
from wav2vec2.model.variants.pretraining import pretraining_model


@pytest.fixture(params=FAMILIES.values(), ids=FAMILIES.keys())
def architecture(request: pytest.FixtureRequest) -> Architecture:
    return request.param


def make_model(
    architecture: Architecture, regularization: Regularization = DETERMINISTIC, dtype: torch.dtype = torch.float64
) -> Wav2Vec2ForPretraining:
    """A pre-training model in evaluation mode, no parameter at its initial value."""
    torch.manual_seed(0)
    return perturbed(pretraining_model(architecture, regularization, Masking()).to(dtype), 0.02)
