"""Statistics of the group norm that come from elsewhere: of a whole recording, for a part of it."""

import pytest
import torch
from tests.small_models import FAMILIES, GROUP, noise, recognizer
from torch import Tensor

from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.model.window_moments import WindowMoments
from wav2vec2.text.vocabulary import Vocabulary

VOCABULARY = Vocabulary.from_transcripts(["A DOG"])


def features(model: Wav2Vec2ForCTC, waveform: Tensor, moments: WindowMoments | None, packed: bool) -> Tensor:
    lengths = torch.tensor([len(waveform)])
    given = None if moments is None else [moments]
    frames, layout = model.encoder.feature_encoder(waveform[None], lengths, packed, moments=given)
    return layout.pad(frames)[0]  # type: ignore[no-any-return]


def test_moments_of_parts_add_up() -> None:
    waveform = noise(4000)[0][0] + 0.3
    # a part begins where the next window would
    parts = [waveform[: 5 * 99 + 10], waveform[5 * 100 :]]
    total = WindowMoments.of(parts[0], GROUP) + WindowMoments.of(parts[1], GROUP)
    torch.testing.assert_close(total.products, WindowMoments.of(waveform, GROUP).products, rtol=1e-12, atol=1e-9)
    assert WindowMoments.of(waveform[:9], GROUP).products.abs().sum() == 0


def test_mean_and_variance_are_those_of_the_convolutions_output() -> None:
    waveform = noise(3000, dtype=torch.float64)[0][0] + 0.5
    kernel, bias = torch.randn(7, 1, 10, dtype=torch.float64), torch.randn(7, dtype=torch.float64)
    output = torch.nn.functional.conv1d(waveform[None, None], kernel, bias, stride=5)[0]
    mean, variance = WindowMoments.of(waveform, GROUP).channels(kernel, bias)
    torch.testing.assert_close(mean, output.mean(1))
    torch.testing.assert_close(variance, output.var(1, correction=0))


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("family", list(FAMILIES))
def test_a_part_with_the_moments_of_the_whole_gives_the_frames_of_the_whole(family: str, packed: bool) -> None:
    model = recognizer(FAMILIES[family], VOCABULARY)
    waveform = noise(9000)[0][0] * torch.linspace(0.2, 3.0, 9000)
    moments = WindowMoments.of(waveform, model.architecture)
    with torch.no_grad():
        whole = features(model, waveform, None, packed)
        part = features(model, waveform[320 * 5 : 320 * 14 + 400], moments, packed)
        alone = features(model, waveform[320 * 5 : 320 * 14 + 400], None, packed)
    torch.testing.assert_close(part, whole[5:15], rtol=1e-5, atol=1e-5)
    assert (family == "layer") == torch.allclose(alone, part, atol=1e-4)


def test_each_row_of_a_batch_has_its_own_moments() -> None:
    model = recognizer(GROUP, VOCABULARY)
    waveforms, lengths = noise(6000, 4000)
    moments = [WindowMoments.of(3 * waveforms[0], GROUP), WindowMoments.of(waveforms[1, :4000], GROUP)]
    with torch.no_grad():
        together, frames = model(waveforms, lengths, moments=moments)
        for row, length in enumerate(lengths.tolist()):
            alone, _ = model(waveforms[row : row + 1, :length], moments=moments[row : row + 1])
            torch.testing.assert_close(together[row, : frames[row]], alone[0], rtol=1e-5, atol=1e-4)
        plain, _ = model(waveforms, lengths)
    torch.testing.assert_close(together[1, : frames[1]], plain[1, : frames[1]], rtol=1e-5, atol=1e-4)
    assert not torch.allclose(together[0], plain[0], atol=1e-2)
