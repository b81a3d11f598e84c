import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.made_up_speech import voice

from wav2vec2.audio.pauses import HOP, frame_energies, loud_parts, speech_by_energy
from wav2vec2.audio.pieces import GRID, Piece, PieceFinder, PieceRules
from wav2vec2.audio.read import read_audio
from wav2vec2.audio.speech_stream import EnergyMeter, SpeechDetector
from wav2vec2.errors import UserError


def found(waveform: np.ndarray, rules: PieceRules, block: int = 1 << 30) -> list[Piece]:
    finder = PieceFinder(rules)
    pieces = [piece for at in range(0, len(waveform), block) for piece in finder.push(waveform[at : at + block])]
    return pieces + finder.finish()


def speech_in_noise(runs: list[tuple[int, int]], seed: int = 0) -> np.ndarray:
    """Alternating speech and noise, lengths in tens of milliseconds."""
    random = np.random.default_rng(seed)
    parts = []
    for spoken, silent in runs:
        parts += [0.2 * random.standard_normal(spoken * HOP), 0.001 * random.standard_normal(silent * HOP)]
    return np.concatenate([np.zeros(0), *parts]).astype(np.float32)


RUNS = st.lists(st.tuples(st.integers(1, 400), st.integers(0, 400)), max_size=12)


@settings(max_examples=40, deadline=None)
@given(RUNS, st.floats(0.5, 6.0), st.floats(0.0, 0.4), st.integers(2_000, 90_000))
def test_pieces_are_short_in_order_and_the_same_in_any_blocks(
    runs: list[tuple[int, int]], longest: float, margin: float, block: int
) -> None:
    waveform, rules = speech_in_noise(runs), PieceRules(longest=longest, margin=margin)
    pieces = found(waveform, rules)
    assert found(waveform, rules, block) == pieces
    for piece in pieces:
        assert piece.before % GRID == piece.after % GRID == 0
        assert 0 < piece.before + piece.samples + piece.after <= longest * 16_000 + GRID
        assert piece.start - piece.before >= 0
        assert piece.start + piece.samples + piece.after <= len(waveform)
    for first, second in itertools.pairwise(pieces):
        end = first.start + first.samples
        assert second.start == end if second.joined else second.start >= end
        assert bool(first.after) == second.joined
        if second.joined:
            assert first.samples % GRID == 0


@settings(max_examples=20, deadline=None)
@given(RUNS, st.floats(0.5, 6.0))
def test_all_speech_is_in_a_piece(runs: list[tuple[int, int]], longest: float) -> None:
    waveform = speech_in_noise(runs)
    inside = np.zeros(len(waveform), bool)
    for piece in found(waveform, PieceRules(longest=longest)):
        inside[piece.start : piece.start + piece.samples] = True
    at, spoken = 0, np.zeros(len(waveform), bool)
    for length, silent in runs:
        spoken[at : at + length * HOP] = length >= 10
        at += (length + silent) * HOP
    if 0 < spoken.sum() < 0.9 * len(waveform):
        assert inside[spoken].mean() > 0.97


def test_long_silence_is_left_out_and_the_margin_kept() -> None:
    waveform = speech_in_noise([(100, 3000), (150, 500)])
    first, second = found(waveform, PieceRules(longest=10.0, margin=0.1))
    assert abs(first.samples - 1.1 * 16_000) <= 3 * HOP  # there is nothing before it
    assert abs(second.start - (31.0 - 0.1) * 16_000) <= 3 * HOP
    assert abs(second.samples - (1.5 + 0.2) * 16_000) <= 4 * HOP
    assert not second.joined


def test_a_click_is_no_speech() -> None:
    assert len(found(speech_in_noise([(100, 200), (2, 200), (100, 200)]), PieceRules(longest=3.0))) == 2


def test_without_a_pause_the_seam_has_context_on_both_sides() -> None:
    waveform = speech_in_noise([(1000, 300)])
    waveform[4 * 16_000 : 4 * 16_000 + 640] *= 0.1  # a dip that is no pause
    pieces = found(waveform, PieceRules(longest=6.0, context=1.0))
    assert [piece.joined for piece in pieces] == [False, True, True]
    seam = pieces[1].start
    assert abs(seam - (4 * 16_000 + 320)) <= GRID
    assert (pieces[0].after, pieces[1].before) == (16_000, 16_000)


def test_a_short_pause_is_a_better_place_than_a_dip() -> None:
    waveform = speech_in_noise([(380, 20), (500, 300)])
    first, second, *_ = found(waveform, PieceRules(longest=6.0, context=1.0))
    assert not second.joined
    assert abs(first.samples - 3.85 * 16_000) <= 3 * HOP


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 5_000), st.lists(st.integers(1, 2_000), max_size=8))
def test_energies_are_those_of_the_whole(samples: int, cuts: list[int]) -> None:
    waveform = np.random.default_rng(samples).standard_normal(samples).astype(np.float32)
    meter, blocks = EnergyMeter(), np.split(waveform, np.minimum(np.cumsum(cuts), samples)) if cuts else [waveform]
    energies = np.concatenate([*(meter.push(block) for block in blocks), meter.finish()])
    np.testing.assert_allclose(energies, frame_energies(waveform), rtol=1e-5, atol=1e-5)


def test_speech_is_marked_as_in_the_whole_recording_when_its_loudness_is_known() -> None:
    random = np.random.default_rng(3)
    energies = (-60 + 40 * (random.random(400) > 0.5).repeat(40) + random.standard_normal(16_000)).astype(np.float32)
    loud = loud_parts(energies)
    for known, most in ((loud, 0), (None, 0.001)):
        detector = SpeechDetector(known)
        marks = [detector.push(energies[at : at + 700]) for at in range(0, len(energies), 700)]
        assert (np.concatenate([*marks, detector.finish()]) != speech_by_energy(energies)).mean() <= most


def test_what_is_kept_does_not_grow() -> None:
    finder = PieceFinder(PieceRules(longest=5.0))
    minute = np.concatenate([voice(30.0), np.zeros(30 * 16_000, np.float32)])
    heard = 0
    for _ in range(10):
        finder.push(minute)
        heard += len(minute)
        assert heard - finder.needed_from < 90 * 16_000


@pytest.mark.parametrize("wrong", [{"longest": 0.1}, {"margin": -1.0}, {"pause": 0.0}, {"context": float("nan")}])
def test_impossible_rules_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UserError, match=r"^pieces: "):
        PieceRules(**wrong)


@pytest.mark.speech
def test_real_speech_is_cut_in_its_pauses(speech_root: Path) -> None:
    chapter = min((speech_root / "test-clean").glob("*/*"))
    waveform = np.concatenate([read_audio(path) for path in sorted(chapter.glob("*.flac"))[:6]])
    pieces = found(waveform, PieceRules(longest=15.0))
    assert len(pieces) > 3
    assert not any(piece.joined for piece in pieces)
    assert 0.6 * len(waveform) < sum(piece.samples for piece in pieces) < 0.98 * len(waveform)
