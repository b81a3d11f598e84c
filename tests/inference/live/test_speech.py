"""Where the stretches begin and end that a live session hears, in pauses with noise."""

import numpy as np
import pytest

from wav2vec2.audio.speech_activity import EnergyDetector
from wav2vec2.inference.live.settings import LiveSettings
from wav2vec2.inference.live.speech import SpeechTracker

RANDOM = np.random.default_rng(5)


def noise(seconds: float, decibels: float) -> np.ndarray:
    return (10 ** (decibels / 20) * RANDOM.standard_normal(int(16_000 * seconds))).astype(np.float32)


def heard(audio: np.ndarray, settings: LiveSettings) -> tuple[list[tuple[int, int]], int]:
    """The stretches, begin and end in hops, and the silence at the end."""
    tracker = SpeechTracker(settings)
    for speech, energy in zip(*EnergyDetector().push(audio), strict=True):
        tracker.step(bool(speech), float(energy))
    return [(stretch.begin, stretch.end) for stretch in tracker.stretches], tracker.silence


@pytest.mark.parametrize("pause", [0.2, 0.3, 0.6])
def test_noise_that_begins_after_a_word_is_not_part_of_it(pause: float) -> None:
    audio = np.concatenate([noise(1.0, -60), noise(1.0, -15), noise(0.6, -38), noise(1.0, -15), noise(0.6, -60)])
    stretches, silence = heard(audio, LiveSettings(pause=pause, margin=0.0))
    assert len(stretches) == 2
    (begin, end), (again, over) = stretches
    assert abs(begin - 100) <= 3
    # Noise is told after the shorter of a pause and 0.3 s, and is taken back as far.
    assert abs(end - (200 + max(0, 30 - round(100 * pause)))) <= 4
    assert abs(again - 260) <= 3
    assert abs(over - 360) <= 4
    assert abs(silence - 60) <= 5


def test_a_quiet_beginning_is_heard() -> None:
    audio = np.concatenate([noise(2.0, -60), noise(1.0, -15)])
    audio[32_000 - 1_280 : 32_000] += noise(0.08, -56)
    ((begin, _),), _ = heard(audio, LiveSettings(margin=0.0))
    assert abs(begin - 192) <= 3


@pytest.mark.parametrize(("between", "stretches", "begin"), [(0.7, 2, 270), (0.1, 1, 100)])
def test_what_the_model_hears_after_a_noise_is_speech_from_the_end_of_the_noise_on(
    between: float, stretches: int, begin: int
) -> None:
    tracker = SpeechTracker(LiveSettings(margin=0.0))
    parts = [noise(1.0, -60), noise(1.0, -15), noise(between, -60), *(noise(0.05, level) for level in (-57, -54, -50))]
    for speech, energy in zip(*EnergyDetector().push(np.concatenate(parts)), strict=True):
        tracker.step(bool(speech), float(energy))
    assert tracker.silence > 15
    tracker.hear_all()
    assert tracker.silence == 0
    assert tracker.stretches[-1].end == tracker.now
    assert len(tracker.stretches) == stretches
    assert abs(tracker.stretches[-1].begin - begin) <= 8
