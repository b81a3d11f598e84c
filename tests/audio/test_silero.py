"""The Silero network itself, on real speech and on noise, whole and in blocks."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from wav2vec2.audio.read import read_audio
from wav2vec2.audio.silero import SileroDetector, load_silero, speech_by_silero
from wav2vec2.audio.speech_activity import EnergyDetector
from wav2vec2.errors import UserError
from wav2vec2.inference.live.settings import LiveSettings
from wav2vec2.serve.command import ServeOptions, server_options


def noise_burst() -> np.ndarray:
    """Six seconds of noise at -60 dB, of which two are at -20 dB."""
    rng = np.random.default_rng(0)
    audio = 1e-3 * rng.standard_normal(96_000)
    audio[48_000:80_000] += 0.1 * rng.standard_normal(32_000)
    return audio.astype(np.float32)


def test_loud_noise_is_no_speech_to_the_network_as_it_is_to_energy() -> None:
    assert not SileroDetector().push(noise_burst())[0].any()
    assert EnergyDetector().push(noise_burst())[0][310:490].all()
    assert not speech_by_silero(noise_burst(), load_silero()).any()


@pytest.mark.speech
def test_real_speech_as_a_stream_in_blocks_and_as_a_whole(speech_root: Path) -> None:
    chapter = min((speech_root / "test-clean").glob("*/*"))
    audio = np.concatenate([read_audio(path) for path in sorted(chapter.glob("*.flac"))[:2]])
    speech, energies = SileroDetector().push(audio)
    assert len(speech) == len(energies) >= len(audio) // 160 - 4
    assert np.allclose(energies, EnergyDetector().push(audio)[1][: len(energies)])
    assert (speech == speech_by_silero(audio, load_silero())[: len(speech)]).mean() > 0.9
    detector = SileroDetector()
    parts = [detector.push(audio[begin : begin + 777]) for begin in range(0, len(audio), 777)]
    assert np.array_equal(np.concatenate([part for part, _ in parts]), speech)


def test_threads_of_the_process_stay_what_they_were() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        SileroDetector().push(np.zeros(2_000, np.float32))
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


def test_the_extra_is_named_when_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "silero_vad", None)
    for call in (load_silero, SileroDetector, lambda: server_options(ServeOptions(vad="silero"))):
        with pytest.raises(UserError, match=r"wav2vec2\[silero\]"):
            call()


def test_a_detector_that_is_not_there_is_refused() -> None:
    with pytest.raises(UserError, match="'webrtc' is not one of energy, silero"):
        LiveSettings(vad="webrtc")  # type: ignore[arg-type]
