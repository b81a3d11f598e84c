"""The detector of a stream: causal, independent of blocks, and in agreement with the one of whole recordings."""

import numpy as np

from wav2vec2.audio.pauses import frame_energies, speech_by_energy
from wav2vec2.audio.speech_activity import EnergyDetector, _percentiles


def speech_like(seed: int = 0) -> np.ndarray:
    """Twenty seconds of noise at -60 dB with bursts of half a second to a second at -20 dB."""
    rng = np.random.default_rng(seed)
    audio = 1e-3 * rng.standard_normal(20 * 16_000)
    for second in range(1, 20, 2):
        length = rng.integers(8_000, 16_000)
        audio[second * 16_000 : second * 16_000 + length] += 0.1 * rng.standard_normal(length)
    return audio.astype(np.float32)


def test_blocks_change_nothing() -> None:
    audio = speech_like()
    whole, energies = EnergyDetector().push(audio)
    detector = EnergyDetector()
    parts = [detector.push(audio[begin : begin + 777]) for begin in range(0, len(audio), 777)]
    assert np.array_equal(np.concatenate([speech for speech, _ in parts]), whole)
    assert np.array_equal(np.concatenate([energy for _, energy in parts]), energies)


def test_energies_and_speech_are_those_of_the_whole_recording() -> None:
    audio = speech_like()
    speech, energies = EnergyDetector().push(audio)
    whole = frame_energies(audio)
    assert np.allclose(energies, whole[: len(energies)], atol=1e-3)
    expected = speech_by_energy(whole)[: len(speech)]
    assert (speech == expected).mean() > 0.99


def test_speech_from_the_first_sample_on_is_heard() -> None:
    audio = speech_like()[16_000:24_000]
    speech, _ = EnergyDetector().push(audio)
    assert speech[12:].all()


def test_a_quiet_room_is_silence_before_and_long_after_speech() -> None:
    rng = np.random.default_rng(1)
    room = (10 ** (-65 / 20) * rng.standard_normal(90 * 16_000)).astype(np.float32)
    room[8_000:24_000] += 0.1 * rng.standard_normal(16_000).astype(np.float32)
    speech, _ = EnergyDetector().push(room)
    assert not speech[:40].any()
    assert not speech[200:].any()
    assert EnergyDetector().push(np.zeros(16_000, np.float32))[0].sum() == 0


def test_percentiles_are_those_of_numpy_to_the_bit() -> None:
    rng = np.random.default_rng(2)
    for count in (*range(1, 120), 2_999, 3_000, 5_999):
        values = (15 * rng.standard_normal(count) - 50).astype(np.float32)
        assert _percentiles(values, (5, 95)) == np.percentile(values, [5, 95]).tolist()
