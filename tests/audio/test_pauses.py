from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.made_up_speech import voice

from wav2vec2.audio.pauses import (
    Segmentation,
    frame_energies,
    pause_segments,
    speech_by_energy,
)
from wav2vec2.audio.read import read_audio


def test_energies_are_those_of_the_frames() -> None:
    waveform = voice(0.1)
    energies = frame_energies(waveform)
    assert energies.shape == (10,)
    np.testing.assert_allclose(energies[3], 10 * np.log10(np.mean(waveform[480:880] ** 2)), rtol=1e-5)
    np.testing.assert_allclose(energies[9], 10 * np.log10(np.mean(waveform[1440:] ** 2)), rtol=1e-5)
    assert frame_energies(np.zeros(1, np.float32)).tolist() == [-100.0]


def test_speech_stands_out_of_noise() -> None:
    noise = 0.002 * np.random.default_rng(1).standard_normal(16_000 * 6).astype(np.float32)
    noise[16_000:32_000] += 0.1 * voice(1.0)
    noise[64_000:80_000] += 0.1 * voice(1.0, seed=1)
    speech = speech_by_energy(frame_energies(noise))
    expected = np.zeros(600, bool)
    expected[100:200] = expected[400:500] = True
    assert (speech != expected).mean() < 0.02
    assert speech_by_energy(np.zeros(0, np.float32)).shape == (0,)


def test_rare_speech_stands_out_of_noise() -> None:
    noise = 0.002 * np.random.default_rng(1).standard_normal(16_000 * 120).astype(np.float32)
    noise[16_000:32_000] += 0.1 * voice(1.0)
    speech = speech_by_energy(frame_energies(noise))
    assert speech[100:200].mean() > 0.9
    assert speech[200:].mean() < 0.01


def test_a_recording_without_pauses_is_all_speech() -> None:
    speech = speech_by_energy(frame_energies(voice(40.0)))
    assert speech.mean() > 0.9


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 900), st.integers(0, 300)), max_size=12), st.floats(1.0, 8.0), st.integers(0, 99)
)
def test_segments_are_in_order_within_the_file_and_hold_all_speech(
    runs: list[tuple[int, int]], longest: float, tail: int
) -> None:
    speech = np.concatenate([np.zeros(3, bool), *(np.repeat([True, False], run) for run in runs)])
    energies = np.where(speech, -20.0, -80.0).astype(np.float32)
    samples = max(1, len(speech) * 160 - tail)
    segments = pause_segments(speech, energies, samples, Segmentation(longest=longest))
    covered = np.zeros(len(speech), int)
    end = 0
    for start, length in segments:
        assert start >= end
        assert 0 < length <= longest * 16_000
        end = start + length
        covered[start // 160 : -(-end // 160)] += 1
    assert end <= samples
    assert covered.max(initial=0) <= 1
    edges = np.flatnonzero(np.diff(np.concatenate([[False], speech, [False]]).astype(int)))
    for begin, stop in zip(edges[::2], edges[1::2], strict=True):
        if stop - begin >= 5 and segments:
            assert covered[begin:stop].all()


def test_without_pauses_the_cut_falls_on_the_quietest_place() -> None:
    energies = np.full(1_000, -20.0, np.float32)
    energies[400:410] = -35.0
    segments = pause_segments(np.ones(1_000, bool), energies, 160_000, Segmentation(longest=6.0))
    assert len(segments) == 2
    assert 400 <= segments[0][1] // 160 <= 410


def test_silence_has_no_segments() -> None:
    energies = frame_energies(np.zeros(16_000, np.float32))
    assert pause_segments(speech_by_energy(energies), energies, 16_000) == []


@pytest.mark.speech
def test_real_speech_is_cut_in_its_pauses(speech_root: Path) -> None:
    chapter = min((speech_root / "test-clean").glob("*/*"))
    waveform = np.concatenate([read_audio(path) for path in sorted(chapter.glob("*.flac"))[:6]])
    energies = frame_energies(waveform)
    speech = speech_by_energy(energies)
    assert 0.5 < speech.mean() < 0.97
    segments = pause_segments(speech, energies, len(waveform), Segmentation(longest=10.0))
    assert sum(length for _, length in segments) > 0.9 * len(waveform)
    starts = [energies[start // 160] for start, _ in segments[1:]]
    assert np.mean(starts) < np.percentile(energies, 30)
