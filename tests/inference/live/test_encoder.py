"""A frame that the stream encoder computes once is the frame of one pass over the same audio."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.small_models import FAMILIES, noise, recognizer

from wav2vec2.inference.live.encoder import LiveEncoder
from wav2vec2.inference.live.settings import LiveSettings
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.model.window_moments import WindowMoments
from wav2vec2.text.vocabulary import Vocabulary

VOCABULARY = Vocabulary.from_transcripts(["A DOG"])
CPU = torch.device("cpu")


def encoder_of(model: Wav2Vec2ForCTC, settled: float = 0.5) -> LiveEncoder:
    return LiveEncoder(model, CPU, replace(LiveSettings(), settled=settled))


def audio_of(waveform: np.ndarray, first: int, end: int) -> np.ndarray:
    return waveform[320 * first : 320 * (end - 1) + 400]


def one_pass(model: Wav2Vec2ForCTC, waveform: np.ndarray, settled: np.ndarray) -> torch.Tensor:
    """Log-probabilities of a waveform, normalised as `settled` would be."""
    a = model.architecture
    mean, deviation = 0.0, 1.0
    if a.normalization_epsilon is not None:
        mean, deviation = settled.mean(), np.sqrt(settled.var() + a.normalization_epsilon)
    moments = WindowMoments.of(torch.from_numpy((settled - mean) / deviation), a)
    heard = torch.from_numpy(((waveform - mean) / deviation).astype(np.float32))
    with torch.no_grad():
        return model(heard[None], moments=[moments])[0][0].log_softmax(-1)  # type: ignore[no-any-return]


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("family", list(FAMILIES))
def test_frames_computed_once_are_those_of_one_pass(family: str, packed: bool) -> None:
    model = recognizer(FAMILIES[family], VOCABULARY)
    model.encoder.packed = packed
    waveform = (noise(320 * 120 + 80)[0][0].numpy() * np.linspace(0.1, 1, 320 * 120 + 80)).astype(np.float32)
    live = encoder_of(model)
    edges = [0, 10, 30, 31, 60, 120]
    for first, end in itertools.pairwise(edges):
        live.extend(first, audio_of(waveform, first, end))
        numbers, log_probs = live.log_probs(0)
        assert numbers.tolist() == list(range(end))
        # half a second was heard at frame 30: the normalisation does not change any more
        settled = audio_of(waveform, 0, min(end, 30))
        expected = one_pass(model, audio_of(waveform, 0, end), settled)
        torch.testing.assert_close(log_probs, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", list(FAMILIES))
def test_the_view_begins_where_it_is_asked_to_and_forgets_what_came_before(family: str) -> None:
    model = recognizer(FAMILIES[family], VOCABULARY)
    waveform = noise(320 * 100 + 80)[0][0].numpy()
    live = encoder_of(model)
    live.extend(0, audio_of(waveform, 0, 40))
    live.log_probs(0)
    live.forget(35)
    live.extend(40, audio_of(waveform, 40, 100))
    numbers, log_probs = live.log_probs(50)
    expected = one_pass(model, audio_of(waveform, 50, 100), audio_of(waveform, 0, 40))
    assert numbers.tolist() == list(range(50, 100))
    torch.testing.assert_close(log_probs, expected, rtol=1e-4, atol=5e-5)  # AVX-512 sums in another order


def test_stretches_follow_one_another_without_the_silence_between() -> None:
    model = recognizer(FAMILIES["group"], VOCABULARY)
    waveform = noise(320 * 100 + 80)[0][0].numpy()
    live = encoder_of(model, settled=30)
    live.extend(0, audio_of(waveform, 0, 30))
    live.extend(70, audio_of(waveform, 70, 100))
    numbers, log_probs = live.log_probs(0)
    assert numbers.tolist() == [*range(30), *range(70, 100)]
    with torch.no_grad():
        moments = sum(
            (WindowMoments.of(torch.from_numpy(audio_of(waveform, 70, 100)), model.architecture),),
            WindowMoments.of(torch.from_numpy(audio_of(waveform, 0, 30)), model.architecture),
        )
        parts = [
            model.encoder.feature_encoder(
                torch.from_numpy(audio_of(waveform, a, b))[None],
                torch.tensor([30 * 320 + 80]),
                False,
                moments=[moments],
            )[0][0]
            for a, b in ((0, 30), (70, 100))
        ]
        layout = model.encoder.feature_encoder(noise(320 * 60 + 80)[0], torch.tensor([320 * 60 + 80]), False)[1]
        features = model.encoder.normed_features(torch.cat(parts)[None], layout)
        expected = model.head(model.encoder.context_vectors(features, None, None))[0].log_softmax(-1)
    torch.testing.assert_close(log_probs, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("settled", [0.5, 30])
@pytest.mark.parametrize("back", [0, 20, 40, 55, 60, 70])
def test_what_was_taken_back_was_never_heard(back: int, settled: float) -> None:
    model = recognizer(FAMILIES["layer"], VOCABULARY)
    waveform = noise(320 * 90 + 80)[0][0].numpy()
    live, other = encoder_of(model, settled=settled), encoder_of(model, settled=settled)
    for one, end in ((live, 60), (other, min(back, 60))):
        one.extend(0, audio_of(waveform, 0, min(end, 40)))
        if settled < 1:
            one.log_probs(0)
        if end > 40:
            one.extend(40, audio_of(waveform, 40, end))
            one.log_probs(0)
    live.take_back(back)
    if back == 0:
        assert live.end == 0
        return
    assert live.end == min(back, 60)
    if settled < 1 and back < 40:
        return  # the normalisation is that of what was heard by then
    for one in (live, other):
        one.extend(one.end, audio_of(waveform, one.end, 90))
    torch.testing.assert_close(live.log_probs(0)[1], other.log_probs(0)[1], rtol=1e-4, atol=5e-5)


def test_a_look_ahead_changes_nothing() -> None:
    model = recognizer(FAMILIES["group"], VOCABULARY)
    waveform = noise(320 * 60 + 80)[0][0].numpy()
    live, other = encoder_of(model), encoder_of(model)
    for one in (live, other):
        one.extend(0, audio_of(waveform, 0, 40))
        one.log_probs(0)
    numbers, _ = live.look(0, 40, audio_of(waveform, 40, 60))
    assert numbers.tolist() == list(range(60))
    assert live.end == 40
    torch.testing.assert_close(live.log_probs(0)[1], other.log_probs(0)[1])


def test_without_audio_there_are_no_frames() -> None:
    numbers, log_probs = encoder_of(recognizer(FAMILIES["group"], VOCABULARY)).log_probs(0)
    assert (len(numbers), tuple(log_probs.shape)) == (0, (0, len(VOCABULARY)))
