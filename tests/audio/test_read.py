import io
import pickle
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from wav2vec2.audio.encoded_file import AudioError
from wav2vec2.audio.normalize import normalize_waveform
from wav2vec2.audio.read import SAMPLE_RATE, audio_info, read_audio


def tone(seconds: float, rate: int = SAMPLE_RATE, hertz: float = 440.0) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def speech_like(seconds: float, rate: int = SAMPLE_RATE) -> np.ndarray:
    random = np.random.default_rng(0)
    noise = np.convolve(random.standard_normal(round(seconds * rate)), np.hanning(64), mode="same")
    return (0.3 * noise / np.abs(noise).max()).astype(np.float32)


@pytest.mark.parametrize(
    ("suffix", "subtype"), [("wav", "PCM_16"), ("flac", "PCM_16"), ("wav", "FLOAT"), ("aiff", "PCM_24")]
)
def test_lossless_formats_give_the_samples_back(tmp_path: Path, suffix: str, subtype: str) -> None:
    path = tmp_path / f"a.{suffix}"
    signal = tone(0.5)
    soundfile.write(path, signal, SAMPLE_RATE, subtype=subtype)
    read = read_audio(path)
    assert read.dtype == np.float32
    assert read.flags.c_contiguous
    np.testing.assert_allclose(read, signal, atol=1e-4)
    np.testing.assert_array_equal(read_audio(path.read_bytes()), read)
    assert audio_info(path).samples == len(signal)


def test_stereo_is_mixed_down_and_the_rate_converted(tmp_path: Path) -> None:
    left, right = tone(1.0, 44_100), tone(1.0, 44_100, hertz=880)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), 44_100, subtype="FLOAT")
    expected = (tone(1.0) + tone(1.0, hertz=880)) / 2
    read = read_audio(tmp_path / "a.wav")
    assert len(read) == SAMPLE_RATE == audio_info(tmp_path / "a.wav").samples
    np.testing.assert_allclose(read[500:-500], expected[500:-500], atol=2e-3)


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000])
def test_a_piece_has_the_values_of_the_whole(tmp_path: Path, rate: int) -> None:
    soundfile.write(tmp_path / "a.flac", speech_like(2.0, rate), rate)
    whole = read_audio(tmp_path / "a.flac")
    assert len(whole) == audio_info(tmp_path / "a.flac").samples
    for start, samples in ((0, 1), (1, 400), (9_999, 12_345), (len(whole) - 7, 7)):
        piece = read_audio(tmp_path / "a.flac", start=start, samples=samples)
        np.testing.assert_allclose(piece, whole[start : start + samples], atol=0 if rate == SAMPLE_RATE else 2e-4)
    np.testing.assert_allclose(read_audio(tmp_path / "a.flac", start=20_000), whole[20_000:], atol=2e-4)


@pytest.mark.parametrize(
    ("name", "kind"), [("a.wav", "FLAC"), ("a.gsm", "WAV"), ("a.mp3", "WAV"), ("a.raw", "FLAC"), ("a", "OGG")]
)
def test_the_content_decides_not_the_extension(tmp_path: Path, name: str, kind: str) -> None:
    with (tmp_path / name).open("wb") as file:
        soundfile.write(file, tone(0.3), SAMPLE_RATE, format=kind)
    assert len(read_audio(tmp_path / name)) == audio_info(tmp_path / name).samples == round(0.3 * SAMPLE_RATE)
    assert audio_info(tmp_path / name).container.startswith(kind)


@pytest.mark.parametrize("kind", ["m4a", "webm"])
def test_other_containers_are_read_by_ffmpeg(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    signal = speech_like(15.0, 48_000)
    with av.open(str(path), "w") as container:
        stream = container.add_stream({"m4a": "aac", "webm": "libopus"}[kind], rate=48_000)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(signal[None], format="fltp", layout="mono")
        frame.rate = 48_000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    whole = read_audio(path)
    assert abs(len(whole) - 15 * SAMPLE_RATE) < 2_000
    assert len(whole) == audio_info(path).samples
    np.testing.assert_allclose(read_audio(path.read_bytes()), whole)
    early, late = read_audio(path, start=1_000, samples=5_000), read_audio(path, start=13 * SAMPLE_RATE, samples=5_000)
    np.testing.assert_allclose(early, whole[1_000:6_000], atol=1e-3)
    near = whole[13 * SAMPLE_RATE - 48 : 13 * SAMPLE_RATE + 5_048]
    assert min(np.abs(late - near[shift : shift + 5_000]).max() for shift in range(97)) < 0.02


def _bad_files(folder: Path) -> dict[str, str]:
    flac = io.BytesIO()
    soundfile.write(flac, speech_like(3.0), SAMPLE_RATE, format="FLAC")
    (folder / "beginning.flac").write_bytes(flac.getvalue()[:500])
    (folder / "empty.wav").touch()
    soundfile.write(folder / "zero.wav", np.zeros(0), SAMPLE_RATE)
    soundfile.write(folder / "nan.wav", np.array([0.1, np.nan]), SAMPLE_RATE, subtype="FLOAT")
    soundfile.write(folder / "inf.wav", np.array([0.1, -np.inf]), SAMPLE_RATE, subtype="FLOAT")
    soundfile.write(folder / "integers.wav", np.array([0.1, 20_000.0]), SAMPLE_RATE, subtype="FLOAT")
    (folder / "text.mp3").write_text("this is not audio " * 50)
    (folder / "folder.wav").mkdir()
    return {
        "beginning.flac": "corrupt", "empty.wav": "empty file", "zero.wav": "no samples", "nan.wav": "not finite",
        "inf.wav": "not finite", "integers.wav": "out of range", "text.mp3": "unreadable", "folder.wav": "unreadable",
        "nowhere.wav": "missing",
    }  # fmt: skip


def test_bad_files_are_user_errors_of_one_line_that_name_the_file(tmp_path: Path) -> None:
    for name, reason in _bad_files(tmp_path).items():
        with pytest.raises(AudioError) as caught:
            read_audio(tmp_path / name)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)
        assert caught.value.reason == reason, name
        assert pickle.loads(pickle.dumps(caught.value)).reason == reason


def test_a_piece_beyond_the_end_is_an_error(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(1.0), SAMPLE_RATE)
    for start, samples in ((15_000, 1_001), (16_000, 1), (16_000, None), (0, 0), (-1, 5)):
        with pytest.raises(AudioError, match=r"a\.wav"):
            read_audio(tmp_path / "a.wav", start=start, samples=samples)


def test_slight_overs_are_clipped(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.array([1.5, -2.0, 0.5]), SAMPLE_RATE, subtype="FLOAT")
    np.testing.assert_array_equal(read_audio(tmp_path / "a.wav"), np.array([1.0, -1.0, 0.5], np.float32))


def test_normalised_waveform_has_zero_mean_and_unit_variance() -> None:
    normal = normalize_waveform(speech_like(1.0) + 0.2, 1e-5)
    assert normal.dtype == np.float32
    assert abs(normal.mean()) < 1e-5
    assert abs(normal.var() - 1) < 2e-3
    assert np.abs(normalize_waveform(np.full(5, 0.3, np.float32), 1e-7)).max() < 1e-6


@pytest.mark.speech
def test_pieces_of_real_speech_in_lossy_formats(speech_root: Path) -> None:
    for pattern in ("train/*/*/*.opus", "dev/*/*/*.mp3", "test-clean/*/*/*.flac"):
        path = next(speech_root.glob(pattern))
        whole = read_audio(path)
        assert len(whole) == audio_info(path).samples
        middle = len(whole) // 2
        piece = read_audio(path, start=middle, samples=16_000)
        assert np.abs(piece - whole[middle : middle + 16_000]).max() < 1e-3
