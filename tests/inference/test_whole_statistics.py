"""With windows over all of a recording, the feature encoder gives what it gives in one pass."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from wav2vec2.audio.normalize import normalize_waveform
from wav2vec2.audio.recordings import Recording
from wav2vec2.inference.frame_outputs import FrameOutputs, frame_outputs
from wav2vec2.inference.pools import Moments
from wav2vec2.inference.windows import WindowSizes
from wav2vec2.model.architecture import Architecture
from wav2vec2.model.encoder import Wav2Vec2Encoder

GROUP = Architecture(
    conv_channels=(8,) * 7, conv_bias=True, hidden_size=16, layers=1, ffn_size=16, heads=2, pos_conv_groups=2
)
KINDS = {
    "group": GROUP,
    "group, normalised": replace(GROUP, normalize_input=True),
    "layer": replace(GROUP, conv_norm="layer", normalize_input=True),
}


@pytest.fixture(scope="module", params=KINDS)
def encoder(request: pytest.FixtureRequest) -> Wav2Vec2Encoder:
    torch.manual_seed(0)
    return Wav2Vec2Encoder(KINDS[request.param]).eval()


@settings(max_examples=15, deadline=None)
@given(
    seconds=st.floats(0.01, 12.0),
    window=st.floats(0.7, 4.0),
    context=st.floats(0.0, 0.3),
    seed=st.integers(0, 99),
    packed=st.booleans(),
)
def test_features_of_windows_are_those_of_one_pass(
    encoder: Wav2Vec2Encoder, seconds: float, window: float, context: float, seed: int, packed: bool
) -> None:
    random, samples = np.random.default_rng(seed), round(16_000 * seconds)
    # louder and louder, and off centre, so that the statistics of a part are far from those of the whole
    waveform = (0.05 + random.standard_normal(samples) * np.linspace(0.001, 0.3, samples)).astype(np.float32)
    recording = Recording("noise", samples, lambda start, count: waveform[start : start + count])
    encoder.encoder.packed = packed

    def raw(waveforms: Tensor, lengths: Tensor, moments: Moments) -> list[tuple[Tensor, ...]]:
        with torch.inference_mode():
            features = encoder.encoder.features(waveforms, lengths, None, moments=moments)
        return [(row,) for row in features.layout.pad(features.raw)]

    sizes, a = WindowSizes(batch=5.0, window=window, context=context), encoder.architecture
    pools = frame_outputs([recording], a, raw, sizes=sizes, device=torch.device("cpu"))
    (found,) = [output for pool in pools for output in pool]
    assert isinstance(found, FrameOutputs)
    assert found.recording.samples == samples
    frames = a.frame_length(samples)
    assert bool(found.tensors) == bool(frames)
    if not frames:
        return
    epsilon = a.normalization_epsilon
    shown = waveform if epsilon is None else normalize_waveform(waveform, epsilon)
    (expected,) = raw(torch.from_numpy(shown)[None], torch.tensor([samples]), None)
    assert len(found.tensors[0]) == frames
    torch.testing.assert_close(found.tensors[0], expected[0][:frames], atol=1e-5, rtol=1e-5)
