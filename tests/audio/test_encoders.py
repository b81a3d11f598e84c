"""Files of real encoders are read whole, beside FFmpeg's own decode; a file that was cut gives its words and a warning.

The oracle is the ffmpeg program of the system, another version than the libraries inside PyAV. It is not followed where
it is wrong: it leaves out AMR packets, and of joined streams it drops frames whose time stamps go back.
"""

import functools
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tests.audio.encoders import FAMILIES, Encoding, twice, write_all
from tests.audio.ffmpeg_decode import all_decoded_by_ffmpeg, delay
from tests.data.made_up_speech import voice

from wav2vec2.audio.encoded_file import AudioError
from wav2vec2.audio.read import SAMPLE_RATE, audio_info, read_audio
from wav2vec2.audio.recordings import open_recording
from wav2vec2.errors import FileWarning

SECONDS = 2.3
MILLISECOND = SAMPLE_RATE // 1000

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg on PATH")


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the WAV files to encode, and a picture."""
    folder = tmp_path_factory.mktemp("studio")
    soundfile.write(folder / "mono.wav", voice(SECONDS), SAMPLE_RATE)
    left = voice(SECONDS, rate=44_100)
    soundfile.write(folder / "stereo.wav", np.stack([left, 0.6 * left], axis=1), 44_100)
    picture = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "color=s=64x64", "-frames:v", "1", folder / "picture.jpg"]
    subprocess.run(picture, check=True)
    return folder


@pytest.fixture(scope="module")
def decoded(studio: Path) -> Callable[[int], dict[Path, np.ndarray]]:
    """Writes a family of files and returns FFmpeg's decode of those that it is right about."""

    @functools.cache
    def of(family: int) -> dict[Path, np.ndarray]:
        here = [encoding for encoding in FAMILIES[family] if encoding.available]
        write_all(here, studio, studio / "mono.wav", studio / "stereo.wav")
        comparable = [one.path(studio) for one in here if not one.refused and not one.known_wrong_in_ffmpeg]
        return all_decoded_by_ffmpeg(comparable, studio)

    return of


@pytest.mark.parametrize(
    ("family", "encoding"),
    [pytest.param(number, one, id=one.name) for number, family in enumerate(FAMILIES) for one in family],
)
def test_what_encoders_write_is_read_as_ffmpeg_decodes_it(
    family: int, encoding: Encoding, studio: Path, decoded: Callable[[int], dict[Path, np.ndarray]]
) -> None:
    if not encoding.available:
        pytest.skip(f"no {encoding.program} on PATH")
    oracle, path = decoded(family), encoding.path(studio)
    if encoding.refused:
        with pytest.raises(AudioError, match=encoding.refused):
            read_audio(path)
        return
    waveform = read_audio(path)
    info = audio_info(path)
    assert info.samples == len(waveform)
    assert bool(info.warning) == encoding.warned, info.warning
    if encoding.known_wrong_in_ffmpeg and not encoding.warned:
        whole = SECONDS * (2 if encoding.change is twice else 1)
        assert len(waveform) / SAMPLE_RATE == pytest.approx(whole, abs=0.05)
    elif not encoding.known_wrong_in_ffmpeg:
        theirs = oracle[path]
        assert abs(len(waveform) - len(theirs)) <= MILLISECOND
        assert abs(delay(waveform, theirs)) <= MILLISECOND
    if not encoding.warned and encoding.change is not twice:
        assert len(waveform) / SAMPLE_RATE == pytest.approx(SECONDS, abs=0.2)  # with what the encoder adds


@pytest.mark.parametrize("suffix", ["mp3", "ogg", "opus", "flac", "m4a", "webm", "wav", "aac"])
def test_pieces_of_a_long_file_are_those_of_the_whole(suffix: str, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", voice(75.0), SAMPLE_RATE)
    path = tmp_path / f"b.{suffix}"
    subprocess.run(["ffmpeg", "-v", "error", "-i", tmp_path / "a.wav", path], check=True)
    whole = read_audio(path)
    recording = open_recording(path)
    assert recording.samples == len(whole)
    # FFmpeg's AAC decoder fills bands with noise, which differs each time
    tolerance = 0.05 if suffix in ("m4a", "aac") else 2e-3
    for start in (0, 500_000, len(whole) - 3_000, 300_000):
        expected = whole[start : start + 3_000]
        np.testing.assert_allclose(read_audio(path, start=start, samples=3_000), expected, atol=tolerance)
        np.testing.assert_allclose(recording.read(start, 3_000), expected, atol=tolerance)


def test_a_cut_recording_names_both_lengths(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", voice(10.0), SAMPLE_RATE)
    content = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "b.wav").write_bytes(content[: 44 + 2 * 4 * SAMPLE_RATE])
    with pytest.warns(FileWarning, match="is cut short"):
        recording = open_recording(tmp_path / "b.wav")
    assert recording.samples == 4 * SAMPLE_RATE
    assert recording.warning == (
        f"{tmp_path / 'b.wav'}: is cut short: its header promises 10.0 s; the 4.0 s that are there are read; "
        "copy it again to have all of it"
    )


@pytest.mark.skipif(shutil.which("sox") is None, reason="no sox on PATH")
def test_the_last_block_of_gsm_may_be_short(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", voice(3.33), SAMPLE_RATE)
    subprocess.run(["sox", "-D", tmp_path / "a.wav", "-r", "8000", "-e", "gsm", tmp_path / "b.wav"], check=True)
    assert audio_info(tmp_path / "b.wav").warning == ""
