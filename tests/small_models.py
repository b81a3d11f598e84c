"""Small models of both families, and noise for them to hear: tests of every room build on these."""

from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor, nn

from wav2vec2.model.architecture import Architecture, Regularization
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.text.vocabulary import Vocabulary

# No field of the pre-training head has its default value: what a file loses on its way shows.
GROUP = Architecture(
    name="custom",
    conv_channels=(16,) * 7,
    hidden_size=32,
    layers=2,
    ffn_size=48,
    heads=4,
    pos_conv_kernel=8,
    pos_conv_groups=4,
    codebook_entries=10,
    codevector_size=8,
    final_size=12,
    negatives=7,
    logit_temperature=0.2,
)
"""The family of BASE: group norm after the first convolution, post-LN."""
LAYER = replace(GROUP, conv_norm="layer", conv_bias=True, normalize_input=True, layer_norm_first=True)
"""The family of LV-60k: layer norm after every convolution, pre-LN, normalised input."""
FAMILIES = {"group": GROUP, "layer": LAYER}

SMALLEST = {
    "conv_channels": (8,) * 7,
    "hidden_size": 16,
    "layers": 1,
    "ffn_size": 16,
    "heads": 2,
    "pos_conv_kernel": 4,
    "pos_conv_groups": 2,
}
"""Sizes of an encoder that trains in a second."""

DETERMINISTIC = Regularization(
    dropout=0.0, attention_dropout=0.0, input_dropout=0.0, feature_dropout=0.0, layerdrop=0.0, feature_grad_mult=1.0
)
"""No dropout anywhere, and the full gradient into the feature encoder."""

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def perturbed(model: ModuleT, scale: float) -> ModuleT:
    """The model, in evaluation mode, with no parameter left at its initial value (zero biases, gains of one)."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * scale)
    return model.eval()


def recognizer(architecture: Architecture, vocabulary: Vocabulary, *, seed: int = 0) -> Wav2Vec2ForCTC:
    """A recogniser with random weights that writes many different symbols."""
    torch.manual_seed(seed)
    model = perturbed(Wav2Vec2ForCTC(architecture, vocabulary), 0.05)
    with torch.no_grad():
        model.head.weight.mul_(4)
    return model


def noise(
    *samples: int, seed: int = 1, dtype: torch.dtype = torch.float32, padding: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Waveforms (B, S) of white noise, filled with ``padding`` beyond their ends, and lengths (B,)."""
    generator = torch.Generator().manual_seed(seed)
    waveforms = torch.full((len(samples), max(samples)), padding, dtype=dtype)
    for row, count in enumerate(samples):
        waveforms[row, :count] = torch.randn(count, generator=generator, dtype=dtype)
    return waveforms, torch.tensor(samples)
