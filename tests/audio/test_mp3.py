"""MP3 files of real encoders: they are as long as what decodes, and as FFmpeg decodes them."""

import shutil
import subprocess
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from wav2vec2.audio.encoded_file import open_encoded
from wav2vec2.audio.mp3_header import complete_mp3
from wav2vec2.audio.read import SAMPLE_RATE, audio_info, read_audio
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.prepare.command import run
from wav2vec2.data.prepare.published import PrepareCommonVoice


def decoded_by_ffmpeg(path: Path) -> tuple[np.ndarray, int]:
    """The whole stream at its own rate, mono."""
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray().mean(axis=0) for frame in container.decode(audio=0)]
        return np.concatenate(frames), int(container.streams.audio[0].rate)


def assert_reads_as_ffmpeg_does(path: Path) -> None:
    waveform = read_audio(path)
    theirs, rate = decoded_by_ffmpeg(path)
    assert audio_info(path).samples == len(waveform)
    assert abs(len(waveform) / SAMPLE_RATE - len(theirs) / rate) < 1e-3
    with soundfile.SoundFile(path) as file:
        native = file.read(dtype="float32", always_2d=True).mean(axis=1)
    assert np.abs(native - theirs).max() < 1e-3  # the encoder's delay is removed alike
    start = len(waveform) // 2
    piece = read_audio(path, start=start, samples=len(waveform) - start)
    assert np.abs(piece - waveform[start:]).max() < 1e-3


def test_clips_of_a_common_voice_release_are_read_to_their_end(common_voice_root: Path) -> None:
    clips = sorted((common_voice_root / "fr" / "clips").glob("*.mp3"))[::60]
    assert clips
    for clip in clips:
        assert_reads_as_ffmpeg_does(clip)


def test_a_common_voice_release_is_prepared_whole(common_voice_root: Path, tmp_path: Path) -> None:
    release = tmp_path / "fr"
    (release / "clips").mkdir(parents=True)
    for table in ("train.tsv", "dev.tsv", "test.tsv"):
        lines = (common_voice_root / "fr" / table).read_text(encoding="utf-8").splitlines()[:9]
        (release / table).write_text("\n".join(lines) + "\n", encoding="utf-8")
        place = lines[0].split("\t").index("path")
        for line in lines[1:]:
            clip = line.split("\t")[place]
            (release / "clips" / clip).symlink_to(common_voice_root / "fr" / "clips" / clip)
    manifest = Manifest.open(run(PrepareCommonVoice(root=release, out=tmp_path / "data")))
    assert len(manifest) == 24
    for utterance in manifest:
        assert utterance.samples == len(read_audio(utterance.path))


@pytest.mark.skipif(shutil.which("lame") is None, reason="no lame on PATH")
@pytest.mark.parametrize("options", [["-b", "64"], ["-V", "4"], ["--abr", "96"], ["-b", "64", "--resample", "16"]])
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_what_lame_writes(tmp_path: Path, options: list[str], rate: int) -> None:
    seconds = 3.0
    noise = np.random.default_rng(0).normal(0, 0.1, round(seconds * rate)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", noise, rate)
    subprocess.run(["lame", "--quiet", *options, tmp_path / "a.wav", tmp_path / "a.mp3"], check=True)
    assert_reads_as_ffmpeg_does(tmp_path / "a.mp3")
    assert audio_info(tmp_path / "a.mp3").samples == pytest.approx(seconds * SAMPLE_RATE, abs=0.05 * SAMPLE_RATE)


@pytest.mark.skipif(shutil.which("lame") is None, reason="no lame on PATH")
@pytest.mark.parametrize(
    ("options", "trusted"), [(["-b", "64"], True), (["-t", "-b", "64"], True), (["-t", "-V", "4"], False)]
)
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_libsndfile_is_trusted_with_a_counted_length_or_a_constant_rate(
    tmp_path: Path, options: list[str], trusted: bool, rate: int
) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 3 * rate).astype(np.float32)
    noise[rate : 2 * rate] = 0.0  # so that a variable rate varies
    soundfile.write(tmp_path / "a.wav", noise, rate)
    subprocess.run(["lame", "--quiet", *options, tmp_path / "a.wav", tmp_path / "a.mp3"], check=True)
    content = (tmp_path / "a.mp3").read_bytes()
    (tmp_path / "tagged.mp3").write_bytes(content + b"TAG" + bytes(125))
    (tmp_path / "cut.mp3").write_bytes(content[:-100])
    (tmp_path / "joined.mp3").write_bytes(content + content)
    trust = {}
    for name in ("a", "tagged", "cut", "joined"):
        with open_encoded(tmp_path / f"{name}.mp3") as file:
            trust[name] = complete_mp3(file)[0]
    counted = "-t" not in options
    # two files of one constant rate without headers are one file; 100 bytes are less than what a header may be off
    assert trust == {"a": trusted, "tagged": trusted, "cut": counted, "joined": trusted and not counted}
