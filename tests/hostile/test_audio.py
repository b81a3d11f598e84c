"""Audio files that claim the impossible, name other files, or make a decoder print or crash."""

import io
import os
import shutil
import struct
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tests.data.made_up_speech import voice

from wav2vec2.audio.encoded_file import AudioError
from wav2vec2.audio.read import SAMPLE_RATE, audio_info, read_audio
from wav2vec2.audio.recordings import Failure, open_recording

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg on PATH")


def wav(*, rate: int = SAMPLE_RATE, channels: int = 1, samples: int = 8_000) -> bytes:
    data = (voice(samples / SAMPLE_RATE) * 32_000).astype("<i2").tobytes()
    block = 2 * channels
    header = struct.pack("<HHIIHH", 1, channels, rate, (rate * block) & 0xFFFFFFFF, block & 0xFFFF, 16)
    chunks = b"fmt " + struct.pack("<I", 16) + header + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def flac(samples: int) -> bytes:
    """Half a second of FLAC that claims another length."""
    file = io.BytesIO()
    soundfile.write(file, voice(0.5), SAMPLE_RATE, format="FLAC")
    content = bytearray(file.getvalue())
    kept = int.from_bytes(content[21:26], "big") >> 36 << 36
    content[21:26] = (kept | samples).to_bytes(5, "big")
    return bytes(content)


@contextmanager
def less_memory_than(most: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("rate", [0, 1, 999, 2_000_000, 0x7FFFFFFF, 0xFFFFFFFF])
def test_an_absurd_rate_is_refused(rate: int, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav(rate=rate))
    with less_memory_than(1 << 26), pytest.raises(AudioError, match=r"^[^\n]*a\.wav: [^\n]*$"):
        read_audio(tmp_path / "a.wav")
    with pytest.raises(AudioError, match=r"a\.wav"):
        audio_info(tmp_path / "a.wav")


@pytest.mark.parametrize("samples", [0, 1 << 31, (1 << 36) - 1])
def test_a_length_that_is_only_claimed_takes_no_memory(samples: int, tmp_path: Path) -> None:
    (tmp_path / "a.flac").write_bytes(flac(samples))
    with less_memory_than(1 << 26):
        assert len(read_audio(tmp_path / "a.flac")) == 8_000
        info = audio_info(tmp_path / "a.flac")
        assert info.samples == len(read_audio(tmp_path / "a.flac", start=0, samples=8_000)) == 8_000
    assert ("its header promises" in info.warning) == (samples > 0)


@pytest.mark.parametrize("channels", [0, 100, 1_025, 65_535])
def test_many_channels_are_read_or_refused(channels: int, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav(channels=channels))
    opened = open_recording(tmp_path / "a.wav")
    assert isinstance(opened, Failure) or 0 < opened.samples <= 8_000


@needs_ffmpeg
@pytest.mark.parametrize("codec", ["-c:a libopus -mapping_family 255", "-c:a pcm_s16le", "-c:a pcm_f32le"])
def test_sixteen_channels_do_not_end_the_process(codec: str, tmp_path: Path) -> None:
    source = ["-f", "lavfi", "-i", "sine=440:duration=1:sample_rate=48000", "-af", "pan=16c|c0=c0|c15=c0"]
    subprocess.run(["ffmpeg", "-v", "error", *source, *codec.split(), tmp_path / "a.mkv"], check=True)
    script = f"from wav2vec2.audio.read import read_audio; print(len(read_audio({str(tmp_path / 'a.mkv')!r})))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "16000", "")


@pytest.mark.parametrize(
    "content",
    [
        "ffconcat version 1.0\nfile secret.wav\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:1,\nsecret.wav\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:1,\nhttp://127.0.0.1:{port}/a.wav\n#EXT-X-ENDLIST\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=a\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 0 RTP/AVP 0\n",
        "[playlist]\nFile1=secret.wav\n",
        '<?xml version="1.0"?><MPD><Period><AdaptationSet><BaseURL>secret.wav</BaseURL></AdaptationSet></Period></MPD>',
    ],
)
def test_a_file_that_names_another_reads_nothing_but_itself(content: str, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "secret.wav", voice(1.0), SAMPLE_RATE)
    with _listening() as (port, connected):
        for name in ("a.wav", "a.m3u8", "a.ffconcat", "a.sdp", "a.mpd"):
            (tmp_path / name).write_text(content.replace("{port}", str(port)))
            with pytest.raises(AudioError, match=name):
                read_audio(tmp_path / name)
        assert not connected


@contextmanager
def _listening() -> Iterator[tuple[int, list[int]]]:
    """A port of this machine, and a list that is not empty once somebody has connected to it."""
    import socket

    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(0.2)
    connected: list[int] = []

    def wait() -> None:
        try:
            connected.append(server.accept()[0].fileno())
        except OSError:
            return

    thread = threading.Thread(target=wait)
    thread.start()
    try:
        yield server.getsockname()[1], connected
    finally:
        thread.join()
        server.close()


def midi_dump() -> bytes:
    """A MIDI sample dump whose packets are damaged: libsndfile complains about each."""
    header = b"\xf0\x7e\x00\x01\x00\x00\x10" + b"\x20\x1e\x00" + b"\x00\x10\x00" + bytes(8) + b"\xf7"
    return header + (b"\xf0\x7e\x00\x02\x00" + bytes(120) + b"\x55\xf7") * 80


@pytest.mark.parametrize("source", ["path", "bytes"])
def test_nothing_but_our_line_is_printed(source: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    good = io.BytesIO()
    soundfile.write(good, voice(3.0), SAMPLE_RATE, format="MP3")
    content = good.getvalue()
    cases = [midi_dump(), wav()[:50], flac(1 << 31)[:3_000], content[:5_000] + os.urandom(4_000) + content[9_000:]]
    for number, case in enumerate(cases):
        (tmp_path / f"{number}.wav").write_bytes(case)
        with suppress(AudioError):
            read_audio(case if source == "bytes" else tmp_path / f"{number}.wav")
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "")


def test_a_codec_that_nobody_knows_is_one_line(tmp_path: Path) -> None:
    import av

    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libopus", rate=48_000)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 960), np.float32), format="fltp", layout="mono")
        frame.rate = 48_000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    path.write_bytes(path.read_bytes().replace(b"A_OPUS", b"A_NONE"))
    with pytest.raises(AudioError, match=r"a\.mkv: [^\n]*codec"):
        read_audio(path)


@needs_ffmpeg
def test_a_stream_that_begins_later_is_no_traceback(tmp_path: Path) -> None:
    tone = ["-f", "lavfi", "-i", "sine=440:duration=2"]
    subprocess.run(["ffmpeg", "-v", "error", *tone, tmp_path / "a.ts"], check=True)
    other = ["-mpegts_start_pid", "512", "-mpegts_pmt_start_pid", "4112", "-mpegts_service_id", "2"]
    subprocess.run(["ffmpeg", "-v", "error", *tone, *other, tmp_path / "b.ts"], check=True)
    long = (tmp_path / "a.ts").read_bytes() * 40
    (tmp_path / "c.ts").write_bytes(long + (tmp_path / "b.ts").read_bytes())
    assert len(read_audio(tmp_path / "c.ts")) >= 80 * SAMPLE_RATE


@pytest.mark.parametrize("padding", [0, 2])
def test_an_mp3_of_a_free_bit_rate_has_an_end(padding: int, tmp_path: Path) -> None:
    (tmp_path / "a.mp3").write_bytes(bytes([0xFF, 0xFB, padding, 0xC4]) * 500)
    with suppress(AudioError):
        audio_info(tmp_path / "a.mp3")
