"""Layer outputs, LayerDrop, masks over channels, and the scaled gradient of the feature encoder."""

from dataclasses import replace

import pytest
import torch
from tests.model.conftest import make_model
from tests.small_models import DETERMINISTIC, GROUP, LAYER, noise

from wav2vec2.model.architecture import Architecture, Masking, Regularization
from wav2vec2.model.context_network import ContextNetwork
from wav2vec2.model.encoder import Encoder
from wav2vec2.model.layout import Packed
from wav2vec2.model.randomness import Draw


def test_several_layers_in_one_pass_are_those_asked_for_one_by_one(architecture: Architecture) -> None:
    model = make_model(architecture)
    batch = noise(9000, 4000, dtype=torch.float64)
    outputs, lengths = model.encode_layers(*batch, [2, 0, 1])
    for layer, output in zip((2, 0, 1), outputs, strict=True):
        alone, frames = model.encode(*batch, layer=layer)
        assert torch.equal(output, alone)
        assert torch.equal(lengths, frames)
        assert not output[1, frames[1] :].any()
    (closed,), _ = model.encode_layers(*batch, [2], closing_norm=True)
    assert torch.equal(closed, model.encode(*batch)[0])
    assert torch.equal(closed, outputs[0]) == (not architecture.layer_norm_first)


def test_layers_and_lengths_out_of_range_are_named() -> None:
    model, waveforms = make_model(GROUP), torch.zeros(2, 4000, dtype=torch.float64)
    for layers in ([], [3], [-1, 1]):
        with pytest.raises(ValueError, match=r"layers must be between 0 and 2"):
            model.encode_layers(waveforms, None, layers)
    with pytest.raises(ValueError, match=r"waveforms must be \(batch, samples\)"):
        model.encode(waveforms[0])
    with pytest.raises(ValueError, match=r"lengths must be \(2,\)"):
        model.encode(waveforms, torch.tensor([4000]))


def dropped(network: ContextNetwork, draw: Draw | None) -> list[bool]:
    """Which blocks leave the frames as they are; positions and norms are switched off."""
    seen: list[torch.Tensor] = []
    x, layout = torch.randn(5, 32), Packed((5,))
    for index in range(len(network.layers)):
        seen.append(network._run_layer(index, x, layout, None, draw))
    return [torch.equal(y, x) for y in seen]


def test_layerdrop_skips_the_right_share_of_blocks_by_seed_and_step_alone() -> None:
    network = ContextNetwork(replace(GROUP, layers=20), replace(DETERMINISTIC, layerdrop=0.25))
    drops = {step: dropped(network, Draw(1, step, torch.tensor([4]))) for step in range(40)}
    assert 0.2 < sum(map(sum, drops.values())) / (40 * 20) < 0.3
    assert len(set(map(tuple, drops.values()))) == 40
    assert dropped(network, Draw(1, 3, torch.tensor([9, 2]))) == drops[3]
    assert dropped(network, Draw(1, torch.tensor(3), torch.tensor([4]))) == drops[3]
    assert dropped(network, Draw(2, 3, torch.tensor([4]))) != drops[3]
    assert not any(dropped(network, None))


@pytest.mark.parametrize("packed", [True, False])
def test_channels_are_masked_in_whole_utterances_and_only_in_training(packed: bool) -> None:
    torch.manual_seed(0)
    masking = Masking(time_start=0.0, min_spans=0, channel_start=0.1, channel_span=4)
    encoder = Encoder(LAYER, DETERMINISTIC, masking).double()
    encoder.packed = packed
    seen: list[torch.Tensor] = []
    encoder.context.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    batch, hidden = noise(9000, 6000, dtype=torch.float64), []
    for rows, training in (([4, 9], True), ([9, 4], True), ([4, 9], False)):
        encoder.train(training)
        draw = Draw(1, 3, torch.tensor(rows))
        features = encoder.features(*batch, draw)
        encoder.context_vectors(features, None, draw)
        frames = features.layout.pad(seen[-1])
        zero = [frames[row, :length] == 0 for row, length in enumerate((27, 18))]
        assert all(torch.equal(one.any(0), one.all(0)) for one in zero)
        hidden.append([one.all(0) for one in zero])
    first, swapped, evaluated = hidden
    assert all(4 <= int(one.sum()) < 32 for one in first)
    assert torch.equal(first[0], swapped[1])
    assert torch.equal(first[1], swapped[0])
    assert not torch.equal(first[0], first[1])
    assert not any(one.any() for one in evaluated)


@pytest.mark.parametrize("scale", [1.0, 0.1, 0.0])
def test_the_gradient_into_the_feature_encoder_is_scaled_in_training_alone(scale: float) -> None:
    def gradient(factor: float, training: bool) -> torch.Tensor | None:
        model = make_model(GROUP, replace(DETERMINISTIC, feature_grad_mult=factor)).train(training)
        model.encode(*noise(4000, dtype=torch.float64))[0].sum().backward()
        return model.encoder.feature_encoder.layers[0].conv.weight.grad

    whole, scaled = gradient(1.0, training=True), gradient(scale, training=True)
    assert whole is not None
    assert (scaled is None) == (scale == 0.0)
    if scaled is not None:
        torch.testing.assert_close(scaled, scale * whole)
    torch.testing.assert_close(gradient(scale, training=False), gradient(1.0, training=False))


def test_the_gumbel_temperature_falls_to_its_floor() -> None:
    r = Regularization()
    assert r.temperature(0) == 2.0
    assert r.temperature(1) == 2.0 * 0.999995
    assert r.temperature(100_000) == pytest.approx(2.0 * 0.999995**100_000)
    assert r.temperature(10**6) == 0.5
    model = make_model(GROUP)
    for step in (0, 1, 100_000, 10**6):
        assert model._temperature(step) == pytest.approx(float(model._temperature(torch.tensor(step))), rel=1e-6)
