"""Pauses that are noisier than others, and where speech begins and ends in them."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.made_up_speech import voice

from wav2vec2.audio.background import Widener, steady_noise, widened
from wav2vec2.audio.pauses import HOP, INAUDIBLE, frame_energies, loud_parts, speech_by_energy
from wav2vec2.audio.pieces import PieceFinder, PieceRules
from wav2vec2.audio.read import read_audio
from wav2vec2.audio.speech_activity import EnergyDetector

LEVELS = (-62.0, -40.0, -55.0, -38.0, -60.0, -42.0)
"""dB of the noise in the pauses; the threshold of the half minute lies between the third and the quarter."""


def noise(seconds: float, decibels: float, seed: int = 0) -> np.ndarray:
    samples = np.random.default_rng(seed).standard_normal(int(seconds * 16_000))
    return (10 ** (decibels / 20) * samples).astype(np.float32)


def with_pauses(spoken: list[np.ndarray], pause: float) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Speech with pauses of changing level between; and which samples are speech, as (begin, end)."""
    parts, places, at = [], [], 0
    for number, one in enumerate(spoken):
        parts += [one, noise(pause, LEVELS[number % len(LEVELS)], number)]
        places.append((at, at + len(one)))
        at += len(one) + len(parts[-1])
    return np.concatenate(parts), places


def test_each_pause_is_found_whatever_its_noise() -> None:
    waveform, places = with_pauses([voice(1.0, seed=seed) for seed in range(12)], 0.6)
    finder = PieceFinder(PieceRules(longest=15.0, margin=0.0))
    pieces = [*finder.push(waveform), *finder.finish()]
    assert len(pieces) == len(places)
    for piece, (begin, end) in zip(pieces, places, strict=True):
        assert abs(piece.start - begin) <= 3 * HOP
        assert abs(piece.start + piece.samples - end) <= 3 * HOP


@pytest.mark.parametrize(("pause", "pieces"), [(0.31, 2), (0.26, 1)])
def test_a_pause_ends_a_piece_from_its_full_length_on(pause: float, pieces: int) -> None:
    waveform = np.concatenate([voice(1.0), noise(pause, -60.0), voice(1.0, seed=1), noise(2.0, -60.0)])
    finder = PieceFinder(PieceRules(longest=15.0, pause=0.3))
    assert len([*finder.push(waveform), *finder.finish()]) == pieces


def test_a_quiet_beginning_is_part_of_the_word() -> None:
    fades = np.concatenate([noise(2.0, -40.0), voice(1.0), noise(2.0, -40.0)])
    fades[32_000 - 1_280 : 32_000] += noise(0.08, -36.0, 1)  # 5.5 dB more than the noise
    fades[48_000 : 48_000 + 1_280] += noise(0.08, -36.0, 2)
    speech = np.flatnonzero(speech_by_energy(frame_energies(fades)))
    assert abs(speech[0] - 192) <= 3
    assert abs(speech[-1] - 308) <= 3


def test_a_vowel_that_is_held_is_no_noise() -> None:
    waveform = np.concatenate([noise(1.0, -60.0), voice(1.0), noise(1.0, -24.0), noise(1.0, -60.0)])
    energies = frame_energies(waveform)
    assert speech_by_energy(energies)[100:300].mean() > 0.97
    assert not steady_noise(energies, loud_parts(energies))[105:295].any()


def test_live_noise_that_begins_is_silence_after_a_moment() -> None:
    waveform, places = with_pauses([voice(1.0, seed=seed) for seed in range(6)], 1.0)
    speech, _ = EnergyDetector().push(waveform)
    for begin, end in places[1:]:
        assert speech[begin // HOP + 3 : end // HOP - 3].mean() > 0.9
        assert not speech[end // HOP + 32 : end // HOP + 96].any()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 90), st.integers(1, 120)), max_size=10), st.integers(1, 200))
def test_marks_that_come_one_after_another_grow_as_all_at_once(runs: list[tuple[int, int]], block: int) -> None:
    marks = np.concatenate([np.zeros(0, bool), *(np.repeat([True, False], run) for run in runs)])
    random = np.random.default_rng(len(marks))
    energies = (np.where(marks, -20.0, -60.0) + 9 * random.standard_normal(len(marks))).astype(np.float32)
    widener = Widener(INAUDIBLE)
    grown = [widener.push(marks[at : at + block], energies[at : at + block]) for at in range(0, len(marks), block)]
    expected = widened(marks, energies, INAUDIBLE)
    assert np.array_equal(np.concatenate([np.zeros(0, bool), *grown, widener.finish()]), expected)
    assert (expected >= marks).all()


@pytest.mark.speech
def test_real_speech_between_noisy_pauses_is_still_speech(speech_root: Path) -> None:
    chapter = min((speech_root / "test-clean").glob("*/*"))
    spoken = [read_audio(path) for path in sorted(chapter.glob("*.flac"))[:8]]
    waveform, places = with_pauses(spoken, 1.0)
    marks = speech_by_energy(frame_energies(waveform))
    alone = [np.flatnonzero(speech_by_energy(frame_energies(one))) for one in spoken]
    for (begin, end), own in zip(places, alone, strict=True):
        assert marks[begin // HOP + own].mean() > 0.9
        assert marks[end // HOP + 5 : end // HOP + 95].mean() < 0.05
